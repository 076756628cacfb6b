"""Several tasks side by side: every row is its task's own, and says which one that is."""

import numpy as np
import pytest
from retort.sim.arguments import EnvError
from retort.sim.gymnasium_tasks import Difficulty, GymnasiumTaskEnv
from retort.sim.several import SeveralEnv
from retort.sim.wrapped import WrappedEnv

from .gymnasium_envs import assert_same


def cheetah(num_envs, weight=1.0, **rest):
    keywords = {"dtype": "float32", "max_episode_steps": 20, **rest}
    return GymnasiumTaskEnv("HalfCheetah", num_envs, forward_reward_weight=weight, **keywords)


def both_ways(**rest):
    return SeveralEnv([cheetah(2, 1.0, **rest), cheetah(3, -1.0, **rest)])


def test_every_part_does_what_it_does_alone_and_is_followed_by_its_task():
    env, alone = both_ways(), [cheetah(2, 1.0), cheetah(3, -1.0)]
    np.testing.assert_array_equal(env.tasks, [0, 0, 1, 1, 1])
    _, info = env.reset(seed=5, options={"stagger": True})
    own = [one.reset(seed=5 + i, options={"stagger": True})[1] for i, one in enumerate(alone)]
    rng = np.random.default_rng(0)
    ends = 0
    for _ in range(50):
        for group in env.groups:
            seen = np.concatenate([one[group] for one in own])
            assert_same([info[group][:, :-2]], [seen])
            np.testing.assert_array_equal(info[group][:, -2:], np.eye(2)[env.tasks])
        action = rng.uniform(-1, 1, (5, 6)).astype(np.float32)
        _, reward, _, truncated, info = env.step(action)
        steps = [one.step(part) for one, part in zip(alone, (action[:2], action[2:]), strict=True)]
        own = [step[-1] for step in steps]
        assert_same([reward], [np.concatenate([step[1] for step in steps])])
        assert_same([env.score], [np.concatenate([one.score for one in alone])])
        for rows, one in zip((slice(2), slice(2, 5)), own, strict=True):
            assert ("_final_obs" in one) == truncated[rows].any()
            if "_final_obs" in one:
                np.testing.assert_array_equal(info["_final_obs"][rows], one["_final_obs"])
                assert_same([info["final_student"][rows, :-2]], [one["final_student"]])
                assert_same([info["episode_score"][rows]], [one["episode_score"]])
                ends += 1
            elif "_final_obs" in info:
                assert not info["_final_obs"][rows].any()
    assert ends > 2


def test_it_goes_on_to_the_bit_from_a_saved_state():
    env, other = both_ways(), both_ways()
    env.reset(seed=1)
    actions = np.random.default_rng(0).uniform(-1, 1, (30, 5, 6)).astype(np.float32)
    for action in actions[:15]:
        env.step(action)
    other.reset(seed=99)
    other.load_state_dict(env.state_dict())
    assert env.resumable
    for action in actions[15:]:
        assert_same([env.step(action)[0]], [other.step(action)[0]])


def test_levels_are_asked_for_by_the_number_among_all():
    env = both_ways(difficulty=Difficulty())
    asked = []

    def levels(ids, rng):
        asked.extend(ids.tolist())
        return np.full((len(ids), len(env.axes)), 0.1) * ids[:, None]

    assert env.level_source(np.array([1, 3]), np.random.default_rng(0)).shape == (2, len(env.axes))
    env.level_source = levels
    env.reset(seed=0)
    assert asked == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(env.levels[:, 0], [0.0, 0.1, 0.2, 0.3, 0.4])


def test_tasks_that_are_not_alike_are_refused():
    with pytest.raises(EnvError, match="no part"):
        SeveralEnv([])
    with pytest.raises(EnvError, match="part 1 has groups"):
        SeveralEnv([cheetah(1), GymnasiumTaskEnv("Hopper", 1)])
    with pytest.raises(EnvError, match="part 1 has episode_ticks 30, the first 20"):
        SeveralEnv([cheetah(1), cheetah(1, max_episode_steps=30)])
    with pytest.raises(EnvError, match="part 2 has autoreset"):
        SeveralEnv([cheetah(1), cheetah(1), cheetah(1, autoreset=False)])


def test_discrete_tasks_stand_side_by_side_too():
    env = SeveralEnv([WrappedEnv("CartPole-v1", 2), WrappedEnv("CartPole-v1", 1)])
    env.reset(seed=0)
    observation, *_ = env.step(np.array([0, 1, 1]))
    assert observation.shape == (3, 6)
    assert not env.resumable
