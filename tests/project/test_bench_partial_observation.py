"""The table of partial observation: who sees what, and what its numbers mean."""

import dataclasses

import numpy as np
import pytest
import torch

from .conftest import quiet


@pytest.fixture
def table(hopper_place):
    from harness.tables import partial_observation

    return partial_observation


def chosen(table, *arms):
    return [r for r in table.runs() if (r.task, r.seed) == ("Hopper", 1) and r.arm in arms]


def cells(text, arm, noise):
    [row] = [line for line in text.splitlines() if f"| Hopper | {noise} | {arm} |" in line]
    return [cell.strip() for cell in row.split("|")][1:-1]


@pytest.fixture(scope="module")
def done(hopper_place):
    """Ours, which is taught, and P, which is not; the other arms are these with other terms."""
    from harness import results, runs
    from harness.tables import partial_observation as table

    assert runs.go_on(chosen(table, "ours 0", "ours 0.1", "ppo 0.1"), hopper_place, quiet) == (
        3,
        [],
    )
    return results.read_results(hopper_place.results, table.TABLE)


def test_from_teacher_to_table(table, hopper_place, done):
    text = table.report(hopper_place.results, hopper_place.results / "figures")
    assert (hopper_place.results / "figures" / "partial-observation.svg").exists()
    for arm in ("ours", "ppo"):
        _, _, _, seeds, parameters, steps, queries, *_ = cells(text, arm, "0.1")
        assert seeds == "1"
        assert int(parameters.replace(" ", "")) > 0
        assert int(steps.replace(" ", "")) >= 6000
        assert (queries == "0") == (arm == "ppo")
    assert cells(text, "ours", "0.1")[-1] in ("yes, so far", "no, so far", "")
    assert "| Hopper | student | " in text


def test_both_have_the_same_student_and_the_same_steps(done):
    rows = [r for r in done if r.arm.endswith("0.1")]
    assert len({r.figures["parameters"] for r in rows}) == 1
    assert len({r.figures["steps"] for r in rows}) == 1


def test_no_reports_are_made_of_nothing(table, tmp_path):
    assert table.report(tmp_path, tmp_path) == ""


def like(results, **means):
    """Results of the given mean returns by arm, one seed per number."""
    made = []
    for arm, values in means.items():
        made += [
            dataclasses.replace(results[0], arm=arm, seed=seed, final=[value])
            for seed, value in enumerate(values, 1)
        ]
    return made


def test_closure_is_the_share_of_the_gap_that_is_closed(table, done):
    ours, alone, taught = (like(done, a=v) for v in ([950, 900], [500, 0], [1000, 1000]))
    assert table._closure(ours, alone, taught).value == pytest.approx(0.9)
    assert table._closure(ours, alone[:1], taught).value == pytest.approx(0.9)
    assert table._closure(ours, [], taught) is None


@pytest.mark.parametrize(
    ("noise", "ours", "met"),
    [
        (0.0, [100, 95, 102], "yes"),  # about as good
        (0.0, [50, 51, 52], "no"),
        (0.2, [120, 130, 125], "yes"),
        (0.2, [99, 120, 130], "not shown"),
        (0.2, [90, 80, 95], "no"),
        (0.2, [90, 80], "no, so far"),
        (0.2, [120], "one seed"),
        (0.0, [100], "one seed"),
    ],
)
def test_what_is_wanted_is_judged_by_paired_differences(table, done, noise, ours, met):
    groups = {
        "ours": like(done, a=ours),
        "dagger": like(done, a=[100, 100, 100]),
        "asymmetric-ppo": like(done, a=[90, 90, 90]),
    }
    assert table._met(noise, None, groups) == met


def test_the_view_hides_velocities_and_is_as_noisy_as_a_sweep_of_the_same_deviation(
    table, hopper_place
):
    """The noise that students meet in training, and that of the sweep below the table."""
    from harness.teaching import load_teacher, teacher_run
    from harness.training import make_env
    from retort.distill.evaluation.sweeps import noisy

    teacher = load_teacher(hopper_place, teacher_run("Hopper", 1))
    n, noise = 3000, 0.2
    env = make_env("Hopper", n, view=table.student_view(teacher, noise))
    _, info = env.reset(seed=1)
    clean = info["teacher"][:, :5]  # height and angles
    met = (info["student"][:, :5] - clean).std(0)
    seen = {}

    def look(groups, state, reset):
        seen.update(groups)
        return torch.zeros(n, 3), None, state

    deviation = teacher.actor.normaliser.std.numpy()[:5]
    act = noisy(look, {"student": deviation}, noise, 1)
    act({"student": torch.from_numpy(clean)}, torch.zeros(n, 0), torch.ones(n, dtype=torch.bool))
    swept = (seen["student"].numpy() - clean).std(0)
    assert info["student"].shape == (n, 5 + 3)  # and what it did last
    np.testing.assert_allclose(met, noise * deviation, rtol=0.06)
    np.testing.assert_allclose(swept, noise * deviation, rtol=0.06)


def test_untrained_policies_meet_noise_in_the_unit_of_the_table(table, hopper_place, monkeypatch):
    from harness.teaching import load_teacher, teacher_run
    from harness.training import make_env
    from retort.distill.students import Interface, make_student

    swept = {}

    class Nothing:
        trials = ()

    def look(env, policies, deviation, seed, *, levels):
        swept.update(deviation)
        return Nothing()

    monkeypatch.setattr(table, "noise_sweep", look)
    teacher = load_teacher(hopper_place, teacher_run("Hopper", 1))
    env = make_env("Hopper", 1, view=table.student_view(teacher, 0.0))
    student = make_student(table.student_config("dagger", "Hopper"), Interface.of_env(env))
    table._under_noise("Hopper", teacher, student)
    unit = teacher.actor.normaliser.std.numpy()
    np.testing.assert_array_equal(swept["teacher"], unit)
    np.testing.assert_array_equal(swept["student"], [*unit[:5], 0.0, 0.0, 0.0])


def test_the_page_names_the_unit_of_its_noise(table, hopper_place, done):
    text = " ".join(table.report(hopper_place.results, hopper_place.results / "figures").split())
    assert "in the unit of the table above" in text
    assert "`retort eval --noise` has another unit" in text


def test_a_student_begins_behind_its_teachers_statistics_and_none_of_its_own_actions(
    table, hopper_place
):
    from harness.distilling import _student
    from harness.teaching import load_teacher, teacher_run
    from harness.training import make_env

    teacher = load_teacher(hopper_place, teacher_run("Hopper", 1))
    view = table.student_view(teacher, 0.1)
    config = table.student_config("dagger", "Hopper")
    student = _student(make_env("Hopper", 1, view=view), config, teacher)
    own, known = student.normaliser, teacher.actor.normaliser
    for name, blank in (("mean", 0.0), ("variance", 1.0)):
        values = getattr(own, name)
        assert torch.equal(values[:5], getattr(known, name)[:5])
        assert torch.equal(values[5:], torch.full((3,), blank))
    assert own.count == known.count > 0


def test_a_window_holds_the_last_frames_and_ends_with_its_episode(hopper_place):
    from harness.training import make_env
    from harness.windows import WindowEnv
    from retort.sim.gymnasium_tasks import StudentView

    env = WindowEnv(make_env("Hopper", 6, view=StudentView(mask=("velocities",))), 3)
    assert env.groups == {"student": 5, "teacher": 15}
    _, info = env.reset(seed=1)
    np.testing.assert_array_equal(info["teacher"], np.tile(info["student"], 3))
    rng, ended = np.random.default_rng(0), 0
    before = info
    for _ in range(60):
        kept = before["teacher"].copy()
        action = rng.uniform(-1, 1, (6, 3)).astype(np.float32)
        *_, terminated, truncated, info = env.step(action)
        over = terminated | truncated
        np.testing.assert_array_equal(info["teacher"][~over, :10], before["teacher"][~over, 5:])
        np.testing.assert_array_equal(info["teacher"][:, 10:], info["student"])
        if over.any():
            ended += 1
            first = np.tile(info["student"][over], 3)
            np.testing.assert_array_equal(info["teacher"][over], first)
            final = np.concatenate([before["teacher"][:, 5:], info["final_student"]], axis=1)
            np.testing.assert_array_equal(info["final_teacher"][over], final[over])
        np.testing.assert_array_equal(before["teacher"], kept)  # nobody writes to it afterwards
        before = info
    assert ended
