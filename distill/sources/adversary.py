"""Environments that lie to their student: it learns under attack what its teacher does without.

The ``teacher`` group stays true, so that labels and values are those of where the robot really is.
"""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from ...hardware.checks import NOT_NEGATIVE, SHARE, at_least, check_fields
from ...sim.interface import LearningEnv
from ..bounds import Bounds
from ..evaluation.attacks import in_effect
from ..losses.robust import worst_perturbation
from ..schedules import Schedule
from ..students import Student
from .rollout import one_thread

_NONE, _MAD, _PUSH = 0, 1, 2  # what is done to an environment


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdversaryConfig:
    """How a student is lied to while it learns.

    Every environment is for some time left alone, or attacked by the largest change of the action
    (``mad``), or pushed: every action is moved up or down, which is drawn anew each time, and
    always that way (``attacks.push_attack``). All of it is within ``epsilon``, in normalised units.
    """

    epsilon: float = 0.05
    warm_up: float = 0.3  # share of the budget over which epsilon rises from 0
    steps: int = 2  # of ascent
    alone: float = 0.2  # share of the time
    mad: float = 0.2  # share of the time; the rest is pushed
    hold: int = 200  # ticks between two draws, on average

    def __post_init__(self) -> None:
        check_fields(
            self,
            epsilon=NOT_NEGATIVE,
            warm_up=SHARE,
            steps=at_least(1),
            alone=SHARE,
            mad=SHARE,
            hold=at_least(1),
        )
        if self.alone + self.mad > 1.0:
            raise ValueError(
                f"alone is {self.alone} and mad {self.mad}; they are shares of one whole"
            )


def lied_to(
    env: LearningEnv, student: Student, config: AdversaryConfig | None, steps: int, seed: int
) -> LearningEnv:
    """``env`` as ``student`` is to learn in it: itself where there is no adversary."""
    if config is None:
        return env
    # What is not its own it asks of ``env``, which a checker of types cannot see.
    return cast(LearningEnv, AdversarialEnv(env, student, config, steps, seed))


class AdversarialEnv:
    """``env`` whose ``student`` group is at most epsilon off, to the student's harm.

    Everything but that group is the environment's own.

    Args:
        env: with autoreset.
        student: as it stands at every step; one without memory.
        config: how it is attacked.
        steps: environment steps in all, over which epsilon rises.
        seed: of attacks.

    Raises:
        ValueError: the student remembers, or chooses among discrete actions.
    """

    def __init__(
        self, env: LearningEnv, student: Student, config: AdversaryConfig, steps: int, seed: int
    ) -> None:
        if student.state_size or student.interface.discrete:
            raise ValueError(
                "an adversary needs a student without memory and with continuous actions; use kind "
                "'mlp'"
            )
        self.env, self.student, self.config, self.steps = env, student, config, steps
        self._rng = np.random.default_rng(seed)
        self._generator = torch.Generator().manual_seed(seed)
        self._final_generator = torch.Generator().manual_seed(seed + 1)
        # What is beyond the bounds of the actions has no effect, and nothing is spent on it.
        self._respond = in_effect(
            lambda seen: student.respond(seen, None), Bounds.of(env.single_action_space)
        )
        self._done = 0  # environment steps
        self._kind = np.zeros(env.num_envs, dtype=np.int64)
        self._direction = np.zeros((env.num_envs, student.interface.outputs), dtype=np.float32)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.env, name)

    @property
    def epsilon(self) -> float:
        """Half the width of the box now."""
        config = self.config
        if config.warm_up == 0.0:
            return config.epsilon
        rise = Schedule(kind="linear", start=0.0, end=config.epsilon, until=config.warm_up)
        return rise.at(self._done / self.steps)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """As the environment's."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._draw(np.ones(len(self._kind), dtype=bool))
        every = np.arange(len(self._kind))
        return observation, {**info, "student": self._attacked(info["student"], every)}

    def step(
        self, actions: np.ndarray
    ) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """As the environment's."""
        observation, reward, terminated, truncated, info = self.env.step(actions)
        self._done += len(reward)
        done = terminated | truncated
        seen = dict(info)
        if done.any():  # an episode that was cut off would have gone on under its attack
            seen["final_student"] = self._attacked(
                info["final_student"], np.flatnonzero(done), self._final_generator
            )
        over = self._rng.random(len(reward)) < 1.0 / self.config.hold
        self._draw(done | over)
        seen["student"] = self._attacked(info["student"], np.arange(len(reward)))
        return observation, reward, terminated, truncated, seen

    def state_dict(self) -> dict[str, Any]:
        """The environment's, and what is being done to it."""
        return {
            **self.env.state_dict(),
            "adversary.kind": self._kind.copy(),
            "adversary.direction": self._direction.copy(),
            "adversary.done": self._done,
            "adversary.rng": self._rng.bit_generator.state,
            "adversary.generator": self._generator.get_state(),
            "adversary.final_generator": self._final_generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of ``state_dict``."""
        self.env.load_state_dict({k: v for k, v in state.items() if not k.startswith("adversary.")})
        self._kind[:] = state["adversary.kind"]
        self._direction[:] = state["adversary.direction"]
        self._done = int(state["adversary.done"])
        self._rng.bit_generator.state = state["adversary.rng"]
        self._generator.set_state(torch.as_tensor(state["adversary.generator"]))
        if "adversary.final_generator" in state:  # not in checkpoints from before there was one
            self._final_generator.set_state(torch.as_tensor(state["adversary.final_generator"]))

    def _draw(self, chosen: np.ndarray) -> None:
        config, n = self.config, int(chosen.sum())
        # 1 - 0.8 - 0.2 rounds to less than nothing.
        shares = [config.alone, config.mad, max(0.0, 1.0 - config.alone - config.mad)]
        self._kind[chosen] = self._rng.choice((_NONE, _MAD, _PUSH), size=n, p=shares)
        self._direction[chosen] = self._rng.choice((-1.0, 1.0), (n, self._direction.shape[1]))

    def _attacked(
        self, observation: np.ndarray, ids: np.ndarray, generator: torch.Generator | None = None
    ) -> np.ndarray:
        """``observation`` (N, size) as the student sees it in the environments ``ids``."""
        epsilon, kind = self.epsilon, self._kind[ids]
        if epsilon == 0.0 or not kind.any():
            return observation
        student, seen = self.student, torch.from_numpy(observation[ids])
        attacked = torch.from_numpy(kind != _NONE)
        pushed = torch.from_numpy(kind == _PUSH)
        direction = torch.from_numpy(self._direction[ids])

        def harm(normalised: Tensor) -> Tensor:
            there = self._respond(normalised)
            push = (direction * there.mode()).sum(-1)
            return torch.where(pushed, push, clean.kl(there))

        with one_thread():
            with torch.no_grad():
                normalised = student.normaliser(seen)
                clean = self._respond(normalised)
            delta = worst_perturbation(
                harm,
                normalised,
                epsilon,
                generator or self._generator,
                steps=self.config.steps,
                method="pgd",
            )
            changed = seen + delta * student.normaliser.std
        result = observation.copy()
        result[ids] = torch.where(attacked[:, None], changed, seen).to(seen.dtype).numpy()
        return result
