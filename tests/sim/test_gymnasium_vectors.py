"""Gymnasium's tasks in vectors: declared spaces, reproducibility, ends of episodes."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from retort.sim.gymnasium_tasks import TASKS, GymnasiumTaskEnv

from .gymnasium_envs import assert_same, gymnasiums, hard, random_actions, trace

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.mark.filterwarnings("ignore:.*Box:UserWarning")  # infinite spaces are Gymnasium's own
@pytest.mark.parametrize("name", TASKS)
def test_make_passes_gymnasiums_environment_checker(name):
    env = gymnasium.make(f"retort/{name}-v5")
    check_env(env.unwrapped, skip_render_check=True)
    theirs = gymnasiums(name)
    assert env.spec.max_episode_steps == theirs.spec.max_episode_steps
    assert env.spec.reward_threshold == theirs.spec.reward_threshold


@pytest.mark.parametrize("name", TASKS)
def test_vectors_match_their_declared_spaces(name):
    env = gymnasium.make_vec(f"retort/{name}-v5", num_envs=3, dtype="float32")
    observation, info = env.reset(seed=0)
    assert env.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    assert env.observation_space.contains(observation)
    observation, reward, terminated, truncated, info = env.step(random_actions(env, 0))
    assert env.observation_space.contains(observation)
    assert reward.shape == terminated.shape == truncated.shape == (3,)
    sizes = env.unwrapped.groups
    assert info["student"].shape == (3, sizes["student"])
    assert info["teacher"].shape == (3, sizes["teacher"])


def test_one_seed_gives_the_same_bits_at_any_thread_count():
    runs = []
    for threads in (1, 2):
        env = hard(threads=threads)
        env.reset(seed=3, options={"stagger": True})
        runs.append(trace(env, 60))
    assert_same(*runs)
    env.reset(seed=4)
    assert not np.array_equal(runs[0][0], trace(env, 1)[0])


@pytest.mark.parametrize(
    ("name", "keywords"),
    [
        ("Hopper", {}),
        ("Humanoid", {"difficulty": None, "switches": ()}),
        ("Ant", {"include_cfrc_ext_in_observation": True, "num_envs": 3}),
    ],
)
def test_a_saved_state_goes_on_to_the_bit(name, keywords):
    env = hard(name, **keywords)
    env.reset(seed=1, options={"stagger": True})
    trace(env, 15)
    state = env.state_dict()
    expected = trace(env, 50)
    other = hard(name, **keywords)
    other.reset(seed=99)
    other.load_state_dict(state)
    assert_same(trace(other, 50), expected)


def test_observations_are_not_changed_by_later_steps():
    env = GymnasiumTaskEnv("Walker2d", 4, max_episode_steps=5)
    observation, info = env.reset(seed=0)
    kept = [(observation, observation.copy()), (info["teacher"], info["teacher"].copy())]
    for tick in range(12):
        *_, info = env.step(random_actions(env, tick))
        kept += [(value, value.copy()) for value in info.values()]
    for array, copy in kept:
        np.testing.assert_array_equal(array, copy)


def test_staggered_episodes_end_at_different_times_and_keep_their_score():
    env = GymnasiumTaskEnv("HalfCheetah", 64, max_episode_steps=100)
    env.reset(seed=0, options={"stagger": True})
    assert len(np.unique(env.elapsed)) > 5
    assert (env.elapsed % 10 == 0).all()
    whole, total, ended = env.elapsed == 0, np.zeros(64), 0
    for tick in range(100):
        _, reward, terminated, truncated, info = env.step(random_actions(env, tick))
        total += reward
        done = terminated | truncated
        if done.any():
            rows = done & whole
            np.testing.assert_allclose(info["episode_score"][rows] * 100, total[rows])
            assert (info["episode_length"][done] == 100).all()
            ended += rows.sum()
            total[done], whole = 0.0, whole & ~done
    assert ended > 0


def test_without_autoreset_finished_rows_earn_nothing_and_report_how_they_finished():
    env = GymnasiumTaskEnv("Hopper", 8, max_episode_steps=150, autoreset=False)
    env.reset(seed=0)
    over = np.zeros((2, 8), dtype=bool)
    for tick in range(160):
        _, reward, terminated, truncated, _ = env.step(random_actions(env, tick))
        assert (reward[over.any(axis=0)] == 0).all()
        assert (terminated[over[0]]).all()
        over = np.stack([terminated, truncated])
    assert env.finished.all()
    assert terminated.any()


def test_actions_are_clipped_or_scaled_when_asked():
    speed = {}
    for actions, given in (("clipped", 5.0), ("gymnasium", 0.4), ("normalised", 3.0)):
        env = GymnasiumTaskEnv("Humanoid", 1, actions=actions)
        env.reset(seed=0)
        _, reward, *_ = env.step(np.full((1, 17), given, dtype=np.float32))
        speed[actions] = env.simulations.qvel[0].copy(), reward[0]
    for actions in ("clipped", "normalised"):
        np.testing.assert_allclose(speed[actions][0], speed["gymnasium"][0], atol=1e-5)
        np.testing.assert_allclose(speed[actions][1], speed["gymnasium"][1], atol=1e-5)
    assert env.single_action_space.high.max() == 1.0
