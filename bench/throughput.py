"""Whole environment steps against bare physics: same fields, states and threads, one run.

    python bench/throughput.py [--envs 1024] [--repeats 5]

The environment (observations, rewards, resets, randomisation, packet loss) must reach 0.85 of
``mujoco.batch``. Both are timed on the very same steps: bare physics is the time spent inside
``Batch.step`` while the environment runs. A replay without the environment would not do: robots
that nobody resets lie on the floor, where physics is slower.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from retort.sim import RobotEnv

TICKS = 100
LIMIT = 0.85


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--envs", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    n = arguments.envs
    env = RobotEnv(num_envs=n, level=1.0, episode_seconds=2.5)
    _, info = env.reset(seed=0, options={"stagger": True})
    rng = np.random.default_rng(0)
    inside = [0.0]

    class Timed:
        """The batch, with a clock on ``step``."""

        def __init__(self, batch: Any) -> None:
            self._batch = batch

        def __getattr__(self, name: str) -> Any:
            return getattr(self._batch, name)

        def step(self, **kwargs: Any) -> None:
            began = time.perf_counter()
            self._batch.step(**kwargs)
            inside[0] += time.perf_counter() - began

    env.physics.batch = Timed(env.physics.batch)
    env_seconds, bare_seconds = [], []
    for _ in range(arguments.repeats):
        inside[0] = whole_seconds = 0.0
        for _ in range(TICKS):
            action = balance(info["teacher"]) + rng.normal(0.0, 0.2, (n, 2))
            began = time.perf_counter()
            *_, info = env.step(action)
            whole_seconds += time.perf_counter() - began
        env_seconds.append(whole_seconds)
        bare_seconds.append(inside[0])
    whole, bare = n * TICKS / np.array(env_seconds), n * TICKS / np.array(bare_seconds)
    ratio = float(np.median(whole / bare))
    print(f"environments            {n}, {env.physics.substeps} substeps")
    print(f"bare physics            {np.median(bare):10.0f} steps/s")
    print(f"whole environment       {np.median(whole):10.0f} steps/s")
    print(f"per environment step    {1e6 / np.median(whole):10.2f} us")
    print(f"ratio                   {ratio:10.3f}   (at least {LIMIT})")
    return 0 if ratio >= LIMIT else 1


def balance(teacher: np.ndarray) -> np.ndarray:
    """A hand-tuned controller, (n, 2): resets are as rare as in training that has begun to work."""
    lean = np.arctan2(teacher[:, 0], -teacher[:, 2])
    effort = 6.0 * lean + 1.2 * teacher[:, 4] + 0.6 * teacher[:, 6]
    return np.stack([effort, effort], axis=1)


if __name__ == "__main__":
    raise SystemExit(main())
