"""Whole environment steps against bare physics: same fields, states and threads, one run.

    python bench/throughput.py [--envs 1024] [--repeats 5]

The environment (observations, rewards, resets, randomisation, packet loss) must reach 0.85 of
``mujoco.batch`` stepping the same simulations. Each repeat plays a stretch with the environment,
puts the batch back to where the stretch began, and replays the same controls with bare physics.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from retort.sim import RobotEnv

TICKS = 100
LIMIT = 0.85


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--envs", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    n = arguments.envs
    env = RobotEnv(num_envs=n, level=1.0, episode_seconds=2.5)
    env.reset(seed=0, options={"stagger": True})
    batch = env.physics.batch
    rng = np.random.default_rng(0)
    env_seconds, bare_seconds = [], []
    for _ in range(arguments.repeats):
        actions = rng.uniform(-0.5, 0.5, (TICKS, n, 2)).astype(np.float32)
        start = np.array(batch.state)
        began = time.perf_counter()
        for action in actions:
            env.step(action)
        env_seconds.append(time.perf_counter() - began)
        end = np.array(batch.state)
        batch.state[:] = start
        controls = actions * 0.12
        began = time.perf_counter()
        for control in controls:
            batch.ctrl[:] = control
            batch.step(nstep=env.physics.substeps)
        bare_seconds.append(time.perf_counter() - began)
        batch.state[:] = end
    whole, bare = n * TICKS / np.array(env_seconds), n * TICKS / np.array(bare_seconds)
    ratio = float(np.median(whole / bare))
    print(f"environments            {n}, {env.physics.substeps} substeps, {batch.nthread} threads")
    print(f"bare physics            {np.median(bare):10.0f} steps/s")
    print(f"whole environment       {np.median(whole):10.0f} steps/s")
    print(f"per environment step    {1e6 / np.median(whole):10.2f} us")
    print(f"ratio                   {ratio:10.3f}   (at least {LIMIT})")
    return 0 if ratio >= LIMIT else 1


if __name__ == "__main__":
    raise SystemExit(main())
