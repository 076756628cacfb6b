"""Evaluation of any environment: the same episodes for all, returns, early ends, statistics."""

import numpy as np
import pytest
import torch
from retort.distill.evaluation import (
    actor_of,
    mean_interval,
    random_actor,
    random_scores,
    ratio_interval,
    run_episodes,
)
from retort.distill.networks import GaussianActor
from retort.distill.students import Interface, StudentConfig, make_student
from retort.sim import RobotEnv
from retort.sim.gymnasium_tasks import GymnasiumTaskEnv
from retort.sim.wrapped import WrappedEnv


def still(groups, state, reset):
    return torch.zeros(len(reset), 3), None, state


def hopper(n, **keywords):
    return GymnasiumTaskEnv("Hopper", n, dtype="float32", autoreset=False, threads=1, **keywords)


def test_returns_are_the_sums_of_rewards_up_to_each_episodes_end():
    env = hopper(4)
    outcome = run_episodes(env, still, seed=3)
    _, _ = env.reset(seed=3)
    expected, alive = np.zeros(4), np.ones(4, dtype=bool)
    for _ in range(1000):
        _, reward, terminated, _, _ = env.step(np.zeros((4, 3), dtype=np.float32))
        expected += reward * alive
        alive &= ~terminated
        if not alive.any():
            break
    np.testing.assert_allclose(outcome.returns, expected)
    np.testing.assert_allclose(outcome.score, expected / 1000)
    assert outcome.fell.all()
    assert outcome.squared_error.shape == (4, 0)


def test_nobody_goes_on_after_the_last_episode_has_ended():
    env, steps = hopper(2), []
    step = env.step
    env.step = lambda actions: steps.append(1) or step(actions)
    outcome = run_episodes(env, still, seed=0)
    assert len(steps) == outcome.standing.max() + 1 < 1000


def test_the_same_seed_gives_the_same_episodes():
    first, again, other = (run_episodes(hopper(3), still, seed).returns for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_a_task_with_commands_has_an_error_for_each():
    env = RobotEnv(num_envs=2, episode_seconds=0.2, autoreset=False)
    size = env.action_space.shape[1]

    def nothing(groups, state, reset):
        return torch.zeros(len(reset), size), None, state

    outcome = run_episodes(env, nothing, seed=0)
    assert outcome.tracking_rmse.shape == (len(env.task.command),)
    assert (outcome.tracking_rmse > 0).all()
    np.testing.assert_allclose(outcome.returns, outcome.score * env.episode_ticks)


def test_discrete_tasks_of_gymnasium_are_evaluated_too():
    env = WrappedEnv("CartPole-v1", 3, autoreset=False)

    def left(groups, state, reset):
        return torch.zeros(len(reset), dtype=torch.int64), None, state

    outcome = run_episodes(env, left, seed=0)
    assert ((outcome.returns >= 8) & (outcome.returns <= 11)).all()  # it falls at once


def test_an_environment_that_resets_by_itself_is_refused():
    with pytest.raises(ValueError, match="autoreset=False"):
        run_episodes(GymnasiumTaskEnv("Hopper", 1, threads=1), still, seed=0)


@pytest.mark.parametrize("kind", ["mlp", "gru"])
def test_policies_act_by_their_mode_and_students_keep_their_state(kind):
    torch.manual_seed(0)
    student = make_student(StudentConfig(kind=kind, hidden=(8,)), Interface.plain(11, 3))
    act = actor_of(student)
    groups = {"student": torch.randn(2, 11), "teacher": torch.randn(2, 11)}
    begin = torch.ones(2, dtype=torch.bool)
    first, _, state = act(groups, torch.zeros(2, 0), begin)
    assert state.shape == (2, student.state_size)
    again, _, _ = act(groups, torch.zeros(2, 0), begin)
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    second, _, _ = act(groups, state, ~begin)
    assert torch.equal(first, second) == (kind == "mlp")


def test_an_actor_sees_its_own_group():
    torch.manual_seed(0)
    actor = GaussianActor(4, 2, (8,))
    groups = {"student": torch.randn(3, 5), "teacher": torch.randn(3, 4)}
    got, _, _ = actor_of(actor)(groups, torch.zeros(3, 0), torch.ones(3, dtype=torch.bool))
    torch.testing.assert_close(got, actor(groups["teacher"]).mean)


def test_intervals_hold_the_value_and_pairing_narrows_a_ratio():
    rng = np.random.default_rng(0)
    theirs = rng.uniform(1.0, 3.0, 40)
    ours = 0.9 * theirs
    found = ratio_interval(ours, theirs, np.random.default_rng(1))
    np.testing.assert_allclose([found.value, found.low, found.high], 0.9)
    unpaired = ratio_interval(rng.permutation(ours), theirs, np.random.default_rng(1))
    assert unpaired.high - unpaired.low > 0.05
    average = mean_interval(theirs, np.random.default_rng(1))
    assert average.value == pytest.approx(theirs.mean())
    assert average.low < average.value < average.high


def test_a_random_policy_takes_every_choice_and_its_score_is_known_without_axes():
    env = WrappedEnv("CartPole-v1", 200, autoreset=False)
    act = random_actor(env, torch.Generator().manual_seed(0))
    action, _, _ = act({}, torch.zeros(200, 0), torch.zeros(200, dtype=torch.bool))
    assert action.shape == (200,)
    assert set(action.tolist()) == {0, 1}
    [score] = random_scores(lambda level: env, 0, seed=5)
    assert 15 / 500 < score < 30 / 500  # a pole left to chance falls after some 22 ticks


def test_a_ratio_to_less_than_nothing_is_undefined_and_the_normalised_one_is_not():
    ours, theirs, chance = (np.full(10, x) for x in (-5.0, -3.0, -9.0))
    rng = np.random.default_rng(0)
    assert ratio_interval(ours, theirs, rng) is None
    assert ratio_interval(ours, np.zeros(10), rng) is None
    found = ratio_interval(ours, theirs, rng, chance=chance)
    assert (found.value, found.low, found.high) == pytest.approx((4 / 6,) * 3)
    assert ratio_interval(ours, theirs, rng, chance=theirs) is None


def test_a_random_policy_uses_the_whole_box_and_its_score_is_known_level_by_level():
    env = hopper(500)
    low, high = env.single_action_space.low, env.single_action_space.high
    act = random_actor(env, torch.Generator().manual_seed(0))
    action, _, _ = act({}, torch.zeros(500, 0), torch.zeros(500, dtype=torch.bool))
    assert (action >= torch.from_numpy(low)).all()
    assert (action <= torch.from_numpy(high)).all()
    assert ((action.amax(0) - action.amin(0)).numpy() > 0.9 * (high - low)).all()
    made = []

    def make_env(level):
        made.append(level)
        return RobotEnv(num_envs=8, level=level, episode_seconds=0.5, autoreset=False)

    scores = random_scores(make_env, 2, seed=5)
    assert made == [0.0, 0.5, 1.0]
    actor = random_actor(make_env(1.0), torch.Generator().manual_seed(2))
    assert scores[2] == run_episodes(make_env(1.0), actor, 7).score.mean()
