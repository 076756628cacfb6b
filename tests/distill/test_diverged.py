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


def spoil_reward_after(ticks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """NaN rewards of learning environments from that tick on."""
    step, done = RobotEnv.step, [0]

    def spoilt(env: RobotEnv, actions: np.ndarray) -> Any:
        observation, reward, *rest = step(env, actions)
        if env.autoreset:
            done[0] += 1
            if done[0] > ticks:
                reward = np.full_like(reward, math.nan)
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
        with pytest.raises(DivergedError, match=rf"is nan.*Lower {whose}\.learning_rate"):
            train(SMALL, tmp_path)
    saved = load_checkpoint(tmp_path / name / "checkpoint.safetensors")
    assert saved["steps"] == 3 * TICKS * ENVS
    assert load_checkpoint(train(SMALL, tmp_path))["steps"] == ITERATIONS * TICKS * ENVS


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
