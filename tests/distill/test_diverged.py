"""Training that leaves the finite numbers stops at once; what was saved before it is kept."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from retort.distill.checkpoint import load_checkpoint
from retort.distill.curriculum import CurriculumConfig
from retort.distill.distill_config import DistillConfig
from retort.distill.diverged import DivergedError, check_finite
from retort.distill.experiment import Experiment
from retort.distill.ppo import PPOConfig, standardise
from retort.distill.sources.rollout import RolloutError, RolloutSource
from retort.distill.stages import base as stage
from retort.distill.stages import verbs as stages
from retort.sim import RobotEnv

ENVS, TICKS, ITERATIONS = 8, 6, 5
SMALL = Experiment(
    robot="balancer",
    task="balancer",
    teacher=PPOConfig(
        steps=ENVS * TICKS * ITERATIONS, num_envs=ENVS, ticks=TICKS, hidden=(8,), critic_hidden=(8,)
    ),
    distill=DistillConfig(
        steps=ENVS * TICKS * ITERATIONS, num_envs=ENVS, ticks=TICKS, episode_seconds=0.3
    ),
    curriculum=CurriculumConfig(levels=1, window=4, teacher_least=2),
)


def spoil_reward_after(
    ticks: int, monkeypatch: pytest.MonkeyPatch, reward_then: float = 1e38
) -> None:
    """Rewards of learning environments from that tick on whose squares no number holds."""
    step, done = RobotEnv.step, [0]

    def spoilt(env: RobotEnv, actions: np.ndarray) -> Any:
        observation, reward, *rest = step(env, actions)
        if env.autoreset:
            done[0] += 1
            if done[0] > ticks:
                reward = np.full_like(reward, reward_then)
        return (observation, reward, *rest)

    monkeypatch.setattr(RobotEnv, "step", spoilt)


@pytest.mark.parametrize("name", ["teacher", "distillation"])
def test_training_stops_and_goes_on_from_the_last_good_checkpoint(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "_SAVE_EVERY", -1.0)  # after every iteration
    if name == "distillation":
        stages.train_teacher(SMALL, tmp_path)
    train = stages.train_teacher if name == "teacher" else stages.distil_student
    whose = "teacher" if name == "teacher" else "distill"
    with monkeypatch.context() as patch:
        spoil_reward_after(3 * TICKS + 2, patch)
        with pytest.raises(DivergedError, match=rf"is (nan|inf).*Lower {whose}\.learning_rate"):
            train(SMALL, tmp_path)
    saved = load_checkpoint(tmp_path / name / "checkpoint.safetensors")
    assert saved["steps"] == 3 * TICKS * ENVS
    assert load_checkpoint(train(SMALL, tmp_path))["steps"] == ITERATIONS * TICKS * ENVS


@pytest.mark.parametrize("verb", ["train_teacher", "distil_student"])
def test_rewards_that_are_none_are_the_environment_s_and_what_was_learnt_goes_on(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "_SAVE_EVERY", -1.0)
    if verb == "distil_student":
        stages.train_teacher(SMALL, tmp_path)
    with monkeypatch.context() as patch:
        spoil_reward_after(3 * TICKS + 2, patch, math.nan)
        words = rf"the reward is not finite in {ENVS} of {ENVS} environments .* look at its step"
        with pytest.raises(RolloutError, match=words):
            getattr(stages, verb)(SMALL, tmp_path)
    path = getattr(stages, verb)(SMALL, tmp_path)
    assert load_checkpoint(path)["steps"] == ITERATIONS * TICKS * ENVS


@pytest.mark.parametrize(("group", "last"), [("student", False), ("teacher", True)])
def test_observations_that_are_none_reach_nobody(group: str, last: bool, tracking: Any) -> None:
    class Blind(tracking):
        def step(self, actions: np.ndarray) -> Any:
            *rest, info = super().step(actions)
            assert np.isfinite(actions).all()
            name = f"final_{group}" if last else group
            if self.elapsed[0] == (0 if last else 3) and name in info:
                info = {**info, name: info[name].copy()}
                info[name][1] = np.inf
            return (*rest, info)

    source = RolloutSource(Blind(4, 6, autoreset=True), 8)
    source.start(0)

    def act(groups: Any, state: Any, reset: Any) -> Any:
        assert all(bool(torch.isfinite(values).all()) for values in groups.values())
        return torch.zeros(4, 1), torch.zeros(4), state

    with pytest.raises(RolloutError, match=rf"group '{group}' is not finite in 1 of \d env"):
        source.collect(act)


def test_what_a_teacher_says_that_is_no_number_moves_nothing(tracking: Any) -> None:
    env, moved = tracking(4, autoreset=True), []
    env.step = moved.append
    source = RolloutSource(env, 2)
    source.share_with_teacher(0.5)
    source.start(0)

    def student(groups: Any, state: Any, reset: Any) -> Any:
        return torch.zeros(4, 1), torch.zeros(4), state

    def teacher(groups: Any, state: Any, reset: Any) -> Any:
        return torch.full((4, 1), math.nan), torch.zeros(4), state

    with pytest.raises(RolloutError, match=r"what the teacher does is not finite .* its file\. No"):
        source.collect(student, teacher)
    assert not moved


def test_a_weight_that_is_not_finite_is_noticed_behind_losses_that_are() -> None:
    weights = [torch.ones(3), torch.tensor([1.0, math.inf])]
    check_finite("teacher", {"policy_loss": 0.0}, weights[:1])
    with pytest.raises(DivergedError, match="a weight is not finite"):
        check_finite("teacher", {"policy_loss": 0.0}, weights)


def test_a_minibatch_of_one_has_no_advantage_over_itself() -> None:
    assert standardise(torch.tensor([3.0])).tolist() == [0.0]


def test_losses_beyond_what_numbers_hold_end_in_a_sentence(tmp_path: Path) -> None:
    wild = dataclasses.replace(
        SMALL, teacher=dataclasses.replace(SMALL.teacher, value_weight=1e300, steps=10_000)
    )
    with pytest.raises(DivergedError, match="training has diverged"):
        stages.train_teacher(wild, tmp_path)
