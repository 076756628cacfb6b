"""The table of routed teachers: two tasks of one body, and one student that is told which."""

import pytest


@pytest.fixture(scope="module")
def text(trial):
    routed = trial.table("routed")
    runs = [r for r in routed.runs() if r.seed == 1 and r.arm != "routed-reward"]
    return trial.section(routed, runs)


def test_the_student_is_compared_with_the_teacher_of_each_task(trial, text):
    teachers = [
        trial.cells(text, f"teacher of {task}") for task in ("HalfCheetah", "HalfCheetah-back")
    ]
    parameters = [int(row[2].replace(" ", "")) for row in teachers]
    assert parameters == [18 * 128 + 129 * 128 + 129 * 6] * 2
    for arm in ("routed", "averaged"):
        row = trial.cells(text, arm)
        assert int(row[2].replace(" ", "")) == 20 * 128 + 129 * 64 + 65 * 6
        assert int(row[2].replace(" ", "")) <= sum(parameters) / 2
        each = [float(cell) for cell in row[6:8]]
        assert float(row[8]) == pytest.approx(sum(each) / 2, abs=2e-3)
        assert row[9] in ("yes, so far", "no, so far")


def test_backwards_is_rewarded_for_the_other_direction(trial):
    import numpy as np
    from harness.training import make_env

    env = make_env("HalfCheetah-both", 4)
    _, info = env.reset(seed=0)
    np.testing.assert_array_equal(info["student"][:, -2:].argmax(1), [0, 0, 1, 1])
    place = [one.simulations.qpos[:, 0].copy() for one in env.parts]
    action = np.zeros((4, 6), dtype=np.float32)
    reward = env.step(action)[1]
    moved = [one.simulations.qpos[:, 0] - old for one, old in zip(env.parts, place, strict=True)]
    np.testing.assert_allclose(reward, np.concatenate([moved[0], -moved[1]]) / env.period)
