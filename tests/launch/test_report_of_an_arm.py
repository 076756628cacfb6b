"""A robot that stands still while its joints move has a report, too."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import mujoco
import numpy as np
import pytest
from retort.hardware import load_robot
from retort.launch.animation import put
from retort.launch.figures import figures
from retort.launch.followed import achieved
from retort.launch.report import build_page
from retort.launch.results import Results, load_results


@pytest.fixture
def results(flown_arm: Path) -> Results:
    return load_results(flown_arm)


def test_what_its_joints_achieved_stands_beside_the_commands(results: Results) -> None:
    followed = achieved(results)
    assert results.bus is not None
    assert followed is not None
    assert followed.shape == results.bus.command.shape
    # Its default pose, from which it sags by two centimetres and the push moved it a little.
    np.testing.assert_allclose(np.median(followed, axis=0), [0.212, 0.0, 0.145, 0.2], atol=0.025)
    assert np.ptp(followed[:, :2], axis=0).min() > 0.002
    page = build_page(results, figures(results), animate=False)
    assert page.count(">by its joints<") == 4
    assert "Pitch" not in page


def test_a_missed_reading_is_that_of_before(results: Results) -> None:
    assert results.bus is not None
    position = results.bus.joint_position.copy()
    position[40:60] = np.nan
    gap = dataclasses.replace(
        results, bus=dataclasses.replace(results.bus, joint_position=position)
    )
    followed, whole = achieved(gap), achieved(results)
    assert followed is not None
    assert whole is not None
    np.testing.assert_array_equal(followed[40:60], np.tile(whole[39], (20, 1)))
    rest = np.delete(np.arange(len(whole)), range(40, 60))
    np.testing.assert_array_equal(followed[rest], whole[rest])


@pytest.mark.parametrize("recipe", [{}, {"robot": "arm6"}, {"robot": "gone", "task": "reach"}])
def test_it_is_left_out_where_nobody_can_tell(results: Results, recipe: dict[str, str]) -> None:
    assert achieved(dataclasses.replace(results, recipe=recipe)) is None


def test_of_a_base_that_moves_joints_tell_nothing(whole: Path) -> None:
    assert achieved(load_results(whole)) is None


def test_pushes_wait_for_torque_and_nothing_that_cannot_be_is_logged(results: Results) -> None:
    assert results.bus is not None
    kinds = [event["event"] for event in results.events]
    assert kinds[:1] == ["has torque"]
    assert "pose" not in kinds
    assert not results.notes
    [torque], [push] = results.event_times("has torque"), results.event_times("push")
    assert push - torque == pytest.approx(4.0, abs=0.05)
    assert results.endured_pushes() == [push]


def test_the_animation_has_its_poses(results: Results) -> None:
    assert results.bus is not None
    model = mujoco.MjModel.from_xml_path(str(load_robot("arm6").model_path))
    data = mujoco.MjData(model)
    tick = results.bus.flight.ticks[-1]
    put(data, [9.0, 9.0, 9.0], tick, results.bus.joints)
    np.testing.assert_allclose(data.qpos, tick["joint_position"])


def test_pushes_before_the_policy_took_over_are_not_wanted(results: Results) -> None:
    def pushed(*times: float) -> str:
        recipe = {**results.recipe, "run": {"seconds": 4.0}, "virtual": {"push_times": times}}
        rows = figures(dataclasses.replace(results, recipe=recipe))
        return next(row.target for row in rows if row.name.startswith("Pushes"))

    assert pushed(1.0) == "at least 0"  # while it moved to its default pose
    assert pushed(1.0, 4.0) == "at least 1"
    assert pushed(1.0, 4.0, 60.0) == "at least 1"


def test_a_task_that_fails_costs_no_panel(results: Results, tmp_path: Path) -> None:
    task = tmp_path / "mine.py"
    task.write_text(
        "from retort.sim.tasks.reach import Reach\n"
        "class Mine(Reach):\n    def measure(self, physics, rows):\n        return {}['x']\n"
        "TASK = Mine()\n"
    )
    mine = dataclasses.replace(results, recipe={"robot": "arm6", "task": str(task)})
    assert achieved(mine) is None
    assert "Joint velocity" in build_page(mine, figures(mine), animate=False)
    task.write_text(
        task.read_text()
        .replace("measure(self, physics, rows)", "tracking(self, measured)")
        .replace("return {}['x']", "return measured.place")
    )
    assert achieved(mine) is None  # three of what were four commands when it was recorded
