"""The table of int8: the same weights rounded, on the same episodes."""

import numpy as np
import pytest
import torch
from retort.distill.students import Interface, StudentConfig, make_student

pytestmark = pytest.mark.usefixtures("bench_on_path")


def test_from_a_teacher_to_the_difference(trial):
    from harness.runs import go_on

    int8 = trial.table("int8")
    [run] = [r for r in int8.runs() if (r.task, r.arm, r.seed) == ("Hopper", "32-32", 1)]
    go_on(run.needs, trial.place, lambda text: None)
    text = trial.section(int8, [run])
    row = trial.cells(text, "Hopper", "32-32")
    assert row[4] == "2"
    assert "% to " in row[8]
    assert row[9].startswith("seed 1: ")
    assert row[10] in ("yes, so far", "no, so far")
    off, nearest = map(float, row[7].rstrip(")").split(" ("))
    assert 0 < off < nearest


def test_only_weights_are_rounded(trial):
    from harness.tables.int8 import to_nearest

    config = StudentConfig(hidden=(16, 8), quantise="int8")
    student = make_student(config, Interface.plain(5, 2))
    student.normaliser.mean += torch.rand(5)
    twin = to_nearest(student)
    torch.testing.assert_close(twin.normaliser.mean, student.normaliser.mean, rtol=0, atol=0)
    for ours, theirs in zip(twin.layers, student.layers, strict=True):
        torch.testing.assert_close(ours.bias, theirs.bias, rtol=0, atol=0)
        assert not torch.equal(ours.weight, theirs.weight)
        step = theirs.weight.abs().max() / 127
        assert (ours.weight - theirs.weight).abs().max() <= step / 2 * 1.001


@pytest.mark.parametrize(("width", "blocks"), [(0.0, 1), (0.5, 3)])
def test_episodes_are_added_while_the_interval_is_wide(trial, monkeypatch, width, blocks):
    from harness.tables import int8

    rng = np.random.default_rng(0)

    class Outcome:
        def __init__(self):
            self.returns = 100.0 + width * 100.0 * rng.standard_normal(4)

    monkeypatch.setattr(int8, "run_episodes", lambda env, actor, seed: Outcome())
    student = make_student(StudentConfig(hidden=(4,), quantise="int8"), Interface.plain(11, 3))
    found = int8.compare("Hopper", student, 4, 3, lambda text: None)
    assert found["episodes"] == 4 * blocks
    assert found["difference_low"] <= found["difference"] <= found["difference_high"]


def test_seeds_are_strata(trial):
    from harness.tables.int8 import over_seeds

    class Result:
        def __init__(self, value, half):
            self.figures = {
                "difference": value,
                "difference_low": value - half,
                "difference_high": value + half,
            }

    value, low, high = over_seeds([Result(0.01, 0.03), Result(0.03, 0.04)])
    assert value == pytest.approx(0.02)
    assert (low, high) == pytest.approx((0.02 - 0.025, 0.02 + 0.025))


def test_differences_of_opposite_signs_do_not_hide_each_other():
    from harness.tables import int8

    class Result:
        def __init__(self, seed, value):
            self.seed = seed
            self.figures = {
                "difference": value,
                "difference_low": value - 0.002,
                "difference_high": value + 0.002,
            }

    group = [Result(1, 0.012), Result(2, -0.012), Result(3, 0.0)]
    difference, furthest, met = int8._difference(group)
    assert difference.startswith("+0.00%")
    assert furthest.startswith(("seed 1: +1.20%", "seed 2: -1.20%"))
    assert met == "no"
    assert int8._difference([Result(s, 0.007) for s in (1, 2, 3)])[2] == "yes"
