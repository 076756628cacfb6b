"""Gymnasium's MuJoCo tasks: our vectors against Gymnasium's own, sync and async, in one run.

    python bench/gymnasium_throughput.py [--envs 1024] [--seconds 2]

All take uniform random actions, restart finished episodes and do the same physics (contact forces
are off everywhere). Gymnasium's own run at the number of environments that suits them: sync at 16,
async at 8 processes.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from typing import Any

import gymnasium
import mujoco
import numpy as np
import retort.sim  # noqa: F401  (registers the tasks)

TASKS: dict[str, dict[str, Any]] = {
    "HalfCheetah": {},
    "Hopper": {},
    "Ant": {"include_cfrc_ext_in_observation": False, "contact_cost_weight": 0.0},
}
SYNC_ENVS, ASYNC_ENVS = 16, 8


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--envs", type=int, default=1024, help="of ours")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores; environment steps per second")
    print(f"{'task':14}{'ours':>10}{'sync':>10}{'async':>10}{'/ sync':>9}{'/ async':>9}")
    for name, keywords in TASKS.items():
        ours = measure(
            gymnasium.make_vec(f"retort/{name}-v5", num_envs=arguments.envs, **keywords),
            arguments.seconds,
        )
        theirs = [
            measure(
                gymnasium.make_vec(
                    f"{name}-v5", num_envs=number, vectorization_mode=mode, **keywords
                ),
                arguments.seconds,
            )
            for mode, number in (("sync", SYNC_ENVS), ("async", ASYNC_ENVS))
        ]
        sync, parallel = theirs
        print(
            f"{name:14}{ours:10.0f}{sync:10.0f}{parallel:10.0f}"
            f"{ours / sync:9.1f}{ours / parallel:9.1f}"
        )
    return 0


def measure(env: Any, seconds: float) -> float:
    """Environment steps per second, after a tenth of the time to warm up; closes ``env``."""
    rng = np.random.default_rng(0)
    low, high = env.single_action_space.low, env.single_action_space.high
    actions = rng.uniform(low, high, (64, *env.action_space.shape)).astype(np.float32)
    env.reset(seed=0)
    rate = 0.0
    for limit in (0.1 * seconds, seconds):
        steps, began = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - began) < limit:
            env.step(actions[steps % len(actions)])
            steps += 1
        rate = steps * env.num_envs / elapsed
    env.close()
    return rate


if __name__ == "__main__":
    # Gymnasium's own environments would print and log what is deprecated in their files.
    warnings.filterwarnings("ignore")
    mujoco.set_mju_user_warning(lambda message: None)
    raise SystemExit(main())
