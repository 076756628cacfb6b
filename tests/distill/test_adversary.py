"""A student that is lied to while it learns: within the box, to its harm, and truly labelled."""

import numpy as np
import pytest
import torch
from retort.distill.sources.adversary import AdversarialEnv, AdversaryConfig
from retort.distill.students import Interface, StudentConfig, make_student
from retort.hardware.checks import RangeError

EPSILON = 0.3


@pytest.fixture
def student():
    """It says what it sees first; one unit of that is the environment's deviation."""
    torch.manual_seed(0)
    student = make_student(StudentConfig(hidden=()), Interface.plain(2, 1))
    with torch.no_grad():
        student.layers[0].weight.copy_(torch.tensor([[1.0, 0.0]]))
        student.normaliser.variance.fill_(4.0 - 1e-5)
    return student


def adversary(tracking, student, n=64, steps=1, **config):
    made = AdversaryConfig(**{"epsilon": EPSILON, "warm_up": 0.0, **config})
    return AdversarialEnv(tracking(n, autoreset=True), student, made, steps, 3)


def change(env, ticks=1):
    """What is added to the student's normalised observation, (ticks, N, 2)."""
    _, info = env.reset(seed=1)
    rows = [info]
    for _ in range(ticks - 1):
        rows.append(env.step(np.zeros((env.num_envs, 1), dtype=np.float32))[-1])
    return np.stack([(row["student"] - row["teacher"]) / 2.0 for row in rows])


def test_the_teacher_s_group_stays_true_and_the_student_s_is_within_the_box(tracking, student):
    env = adversary(tracking, student)
    _, info = env.reset(seed=1)
    np.testing.assert_array_equal(info["teacher"], env.env.seen)
    moved = change(env, 20)
    assert np.abs(moved).max() <= EPSILON * 1.0001
    assert np.abs(moved).max() > 0.9 * EPSILON


def test_the_largest_change_of_the_action_goes_either_way_and_a_push_always_one(tracking, student):
    either = change(adversary(tracking, student, alone=0.0, mad=1.0, hold=1000))[0, :, 0]
    np.testing.assert_allclose(np.abs(either), EPSILON, rtol=1e-4)
    assert (either > 0).any()
    assert (either < 0).any()
    pushed = change(adversary(tracking, student, alone=0.0, mad=0.0, hold=10**6), 10)[:, :, 0]
    np.testing.assert_allclose(np.abs(pushed), EPSILON, rtol=1e-4)
    assert (np.sign(pushed) == np.sign(pushed[0])).all()
    assert (pushed[0] > 0).any()
    assert (pushed[0] < 0).any()


def test_an_episode_that_is_cut_off_ends_under_the_attack_that_it_was_under(tracking, student):
    env = adversary(tracking, student, alone=0.0, mad=0.0, hold=10**6)
    env.reset(seed=1)
    before = env._direction.copy()
    for _ in range(env.env.episode_ticks):
        *_, truncated, info = env.step(np.zeros((64, 1), dtype=np.float32))
    assert truncated.all()
    assert (env._direction != before).any()  # drawn anew for what begins
    moved = (info["final_student"] - info["final_teacher"])[:, 0] / 2.0
    np.testing.assert_allclose(moved, EPSILON * before[:, 0], rtol=1e-4)


def test_a_share_of_the_time_is_left_alone(tracking, student):
    moved = change(adversary(tracking, student, n=400, alone=0.25, mad=0.25))[0]
    assert np.mean((moved == 0.0).all(axis=1)) == pytest.approx(0.25, abs=0.07)


@pytest.mark.parametrize(("alone", "mad"), [(0.8, 0.2), (0.7, 0.3), (0.1, 0.9), (1.0, 0.0)])
def test_shares_of_one_whole_may_leave_nothing_to_push(tracking, student, alone, mad):
    moved = change(adversary(tracking, student, n=400, alone=alone, mad=mad))[0]
    assert np.mean((moved == 0.0).all(axis=1)) == pytest.approx(alone, abs=0.07)


def test_the_box_grows_from_nothing_over_the_warm_up(tracking, student):
    env = adversary(tracking, student, n=10, steps=100, warm_up=0.5)
    env.reset(seed=1)
    sizes = []
    for _ in range(8):
        sizes.append(env.epsilon)
        env.step(np.zeros((10, 1), dtype=np.float32))
    np.testing.assert_allclose(sizes, EPSILON * np.minimum(np.arange(8) / 5.0, 1.0))


def test_the_same_seed_tells_the_same_lies(tracking, student):
    one, other = (change(adversary(tracking, student), 10) for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_what_it_cannot_do_is_refused(tracking):
    remembers = make_student(StudentConfig(kind="gru"), Interface.plain(2, 1))
    with pytest.raises(ValueError, match="without memory"):
        adversary(tracking, remembers)
    with pytest.raises(ValueError, match="shares of one whole"):
        AdversaryConfig(alone=0.6, mad=0.6)
    with pytest.raises(RangeError, match="epsilon"):
        AdversaryConfig(epsilon=-0.1)
