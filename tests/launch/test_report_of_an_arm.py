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
    assert np.ptp(followed[:, :2], axis=0).max() > 0.005
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
    np.testing.assert_array_equal(np.delete(followed, range(40, 60), 0)[:40], whole[:40])


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
