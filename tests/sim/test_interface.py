"""What learning needs, of whoever simulates; and any Gymnasium environment for learning."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode
from retort.distill.evaluation import random_actor, run_episodes
from retort.sim import RobotEnv
from retort.sim.arguments import EnvError
from retort.sim.gymnasium_tasks import GymnasiumTaskEnv
from retort.sim.interface import LearningEnv
from retort.sim.several import SeveralEnv
from retort.sim.wrapped import WrapError, WrappedEnv

from .gymnasium_envs import assert_same, hard


@pytest.mark.parametrize(
    "make",
    [
        lambda: RobotEnv(num_envs=2, episode_seconds=0.5),
        lambda: GymnasiumTaskEnv("Hopper", 2, dtype="float32", max_episode_steps=200),
        lambda: hard("Ant", num_envs=2, dtype="float32"),
        lambda: WrappedEnv("CartPole-v1", 2),
        lambda: WrappedEnv("Pendulum-v1", 2),
        lambda: SeveralEnv([WrappedEnv("Pendulum-v1", 1), WrappedEnv("Pendulum-v1", 1)]),
    ],
)
def test_whatever_simulates_learning_finds_what_it_needs(make):
    env = make()
    assert isinstance(env, LearningEnv)
    _, info = env.reset(seed=0, options={"stagger": True})
    ended = 0
    for _ in range(env.episode_ticks):
        assert env.levels.shape == (2, len(env.axes))
        _, reward, terminated, truncated, info = env.step(env.action_space.sample())
        assert reward.shape == terminated.shape == truncated.shape == (2,)
        for group, size in env.groups.items():
            assert info[group].shape == (2, size)
            assert info[group].dtype == np.float32
        done = terminated | truncated
        assert ("_final_obs" in info) == done.any()
        if done.any():
            assert all(info[f"final_{group}"].shape == info[group].shape for group in env.groups)
            assert info["final_obs"].shape == (2, *env.single_observation_space.shape)
            assert info["episode_score"].shape == info["episode_length"].shape == (2,)
            assert info["episode_levels"].shape == env.levels.shape
            assert (env.elapsed[done] == 0).all()
            ended += 1
    assert ended
    assert env.period > 0


@pytest.mark.parametrize(
    "make",
    [
        lambda **k: RobotEnv(num_envs=4, level=0.0, episode_seconds=2.0, **k),
        lambda **k: GymnasiumTaskEnv("Hopper", 4, dtype="float32", **k),
        lambda **k: WrappedEnv("CartPole-v1", 4, **k),
    ],
)
def test_without_autoreset_who_failed_earns_nothing_and_stays_failed_whatever_comes(make):
    env = make(autoreset=False)
    env.reset(seed=0)
    failed = np.zeros(4, dtype=bool)
    for tick in range(200):
        if tick == 150 and not isinstance(env, WrappedEnv):  # as if a hand put it upright again
            simulations = env.physics if isinstance(env, RobotEnv) else env.simulations
            simulations.reset(np.arange(4))
            simulations.settle(np.arange(4))
        _, reward, terminated, truncated, _ = env.step(np.ones_like(env.action_space.sample()))
        assert (reward[failed] == 0).all()
        assert terminated[failed].all()
        assert not truncated[failed].any()
        failed = terminated
    assert failed.all()


def test_any_gymnasium_environment_can_be_learnt_on():
    env = WrappedEnv("CartPole-v1", 8, max_episode_steps=30)
    assert isinstance(env, LearningEnv)
    _, info = env.reset(seed=0, options={"stagger": True})
    assert info["student"].dtype == np.float32
    assert len(np.unique(env.elapsed)) > 1
    total, whole, ended = np.zeros(8), env.elapsed == 0, 0
    rng = np.random.default_rng(0)
    for _ in range(80):
        before = env.elapsed.copy()
        _, reward, terminated, truncated, info = env.step(rng.integers(0, 2, 8))
        total += reward
        done = terminated | truncated
        np.testing.assert_array_equal(env.elapsed, np.where(done, 0, before + 1))
        if done.any():
            assert (np.abs(info["student"][done]) <= 0.05).all()
            assert (info["final_student"][done] != info["student"][done]).any()
            rows = done & whole
            np.testing.assert_allclose(info["episode_score"][rows] * 30, total[rows])
            ended += rows.sum()
            total[done], whole = 0.0, whole | done
    assert ended > 0


def test_a_wrapped_environment_repeats_itself_and_goes_on_from_a_loaded_seed():
    env, other = WrappedEnv("Pendulum-v1", 2), WrappedEnv("Pendulum-v1", 2)
    first, _ = env.reset(seed=4)
    assert_same([first], [other.reset(seed=4)[0]])
    state = env.state_dict()
    expected, _ = env.reset()
    other.reset(seed=77)
    other.load_state_dict(state)
    assert_same([expected], [other.reset()[0]])
    assert not env.resumable


def test_without_autoreset_a_wrapped_environment_scores_one_episode_each():
    env = WrappedEnv("CartPole-v1", 6, max_episode_steps=40, autoreset=False)
    env.reset(seed=0)
    for _ in range(60):
        _, _, terminated, truncated, _ = env.step(np.ones(6, dtype=np.int64))
    assert terminated.all()
    assert not truncated.any()
    assert (env.score < 15).all()


class Strict(gymnasium.Env):
    """Takes nothing but actions of its own space, rewards them as they are, and shows the time."""

    def __init__(self, actions):
        self.action_space, self.observation_space = actions, Discrete(4, start=-1)
        self.ticks = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.ticks = 0
        return -1, {}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.ticks += 1
        return self.ticks - 1, float(np.sum(action)), False, False, {}


def strict(actions, **keywords):
    def make():
        return gymnasium.vector.SyncVectorEnv(
            [lambda: Strict(actions)] * 3, autoreset_mode=AutoresetMode.DISABLED
        )

    return WrappedEnv(make, max_episode_steps=3, **keywords)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_wrapped_environment_gets_actions_clipped_to_its_box(dtype):
    env = strict(Box(0.0, 0.1, (1,), dtype))
    env.reset(seed=0)
    for kind in (np.float32, np.float64):
        actions = np.array([[-3.0], [0.05], [7.0]], kind)
        _, reward, *_ = env.step(actions)
        np.testing.assert_allclose(reward, [0.0, 0.05, 0.1], rtol=1e-6)
        np.testing.assert_array_equal(actions, np.array([[-3.0], [0.05], [7.0]], kind))


def test_choices_count_from_0_whatever_the_environment_calls_them():
    env = strict(Discrete(3, start=-1))
    assert env.single_action_space == Discrete(3)
    env.reset(seed=0)
    _, reward, *_ = env.step(np.array([0, 1, 2]))
    assert reward.tolist() == [-1.0, 0.0, 1.0]
    env.step(env.action_space.sample())


def test_a_random_policy_scores_within_what_an_environment_takes():
    for space, most in (
        (Box(0.0, 0.1, (1,), np.float32), 0.1),
        (Discrete(3, start=-1), 1.0),
    ):
        env = strict(space, autoreset=False)
        outcome = run_episodes(env, random_actor(env, torch.Generator().manual_seed(0)), seed=0)
        assert (np.abs(outcome.score) <= most).all()


def test_a_discrete_observation_is_1_at_the_value_it_is():
    env = strict(Discrete(2))
    assert env.groups == {"student": 4, "teacher": 4}
    seen, _ = env.reset(seed=0)
    np.testing.assert_array_equal(seen, np.eye(4, dtype=np.float32)[[0, 0, 0]])
    assert seen.dtype == np.float32
    for tick in (1, 2, 3):
        seen, *_, info = env.step(np.zeros(3, dtype=np.int64))
        np.testing.assert_array_equal(seen, np.eye(4)[[tick % 3] * 3])
    np.testing.assert_array_equal(info["final_student"], np.eye(4)[[3, 3, 3]])


def test_what_cannot_be_wrapped_says_why():
    with pytest.raises(WrapError, match=r"observations are Tuple.*FlattenObservation around it"):
        WrappedEnv("Blackjack-v1", 2)
    with pytest.raises(WrapError, match="DISABLED"):
        WrappedEnv(lambda: gymnasium.make_vec("CartPole-v1", 2, vectorization_mode="sync"))


def test_environments_of_others_begin_anew_at_once_or_not_at_all():
    with pytest.raises(EnvError, match="autoreset is 'next_step'; use one of True, False"):
        WrappedEnv("CartPole-v1", 2, autoreset="next_step")
