"""Small recipes of Gymnasium's environments, and a verb done with one."""

from __future__ import annotations

from pathlib import Path

from retort.launch.cli import main
from retort.launch.recipe import Recipe, load_recipe

BATCH = 8 * 16
SMALL = (
    f"teacher.steps={4 * BATCH}",
    "teacher.num_envs=8",
    "teacher.ticks=16",
    "teacher.hidden=[8]",
    "teacher.minibatches=2",
    f"distill.steps={6 * BATCH}",
    "distill.num_envs=8",
    "distill.ticks=16",
    "distill.minibatches=2",
    "student.hidden=[4]",
    "evaluation.episodes=3",
    "evaluation.hardest_episodes=4",
    "gymnasium.max_episode_steps=20",
)
CHEETAH = (
    "environment=HalfCheetah",
    "distill.teacher_share=0.5",
    "distill.terms=[{name='policy_kl'}, {name='value'}, {name='rl'}]",
    "curriculum.kind=gated",
    "curriculum.levels=2",
    "curriculum.window=4",
    "curriculum.teacher_least=2",
    "gymnasium.difficulty={}",
    "gymnasium.view={mask=['velocities'], noise=0.1, last_action=true}",
)
PENDULUM = ("environment=Pendulum-v1", "distill.terms=[{name='policy_kl'}]")


def small(*changes: str) -> Recipe:
    return load_recipe("cartpole", [*SMALL, *changes])


def do(verb: str, folder: Path, *changes: str) -> int:
    options = [f"--set={change}" for change in (*SMALL, *changes)]
    return main([verb, "cartpole", "--out", str(folder), *options])
