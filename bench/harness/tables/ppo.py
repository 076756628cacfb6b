"""PPO against its peers: seconds to a return, and return after a million steps."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from retort.distill.ppo_settings import Kind, gymnasium_ppo

from ..peers import stable_baselines3
from ..report import (
    interval_over_seeds,
    markdown_table,
    paragraph,
    plot_curves,
    seconds_to,
    settings_note,
)
from ..results import Result, read_results
from ..runs import Log, Made, Place, Run
from ..training import final_returns, learn_ppo

TABLE = "ppo"
SEEDS = (1, 2, 3)
BUDGET = 1_000_000
TARGETS = {"HalfCheetah": 4000.0, "Hopper": 2000.0}
TASKS = ("HalfCheetah", "Hopper", "Walker2d", "Ant")
_POINTS = 40  # on a curve


def runs() -> list[Run]:
    """Ours with both settings, and each peer, seed by seed."""
    ours = [
        Run(table=TABLE, task=task, arm=arm, seed=seed, budget=BUDGET, execute=_ours)
        for seed in SEEDS
        for task in TASKS
        for arm in ("fast", "efficient")
    ]
    peers = [
        Run(
            table=TABLE,
            task=task,
            arm=arm,
            seed=seed,
            budget=BUDGET,
            execute=_stable_baselines3,
            package="stable_baselines3",
        )
        for seed in SEEDS
        for task in TARGETS
        for arm in stable_baselines3.SETTINGS
    ]
    return ours + peers


def _ours(run: Run, place: Place, log: Log) -> Made:
    kind: Kind = "fast" if run.arm == "fast" else "efficient"
    config = gymnasium_ppo(run.task, kind, steps=place.steps(run.budget))
    every = max(1, config.steps // _POINTS)
    ppo, curve, figures = learn_ppo(run.task, config, run.seed, log, every=every)
    final = final_returns(run.task, curve.actor)
    return Made(dataclasses.asdict(ppo.config), curve.points, final, figures)


def _stable_baselines3(run: Run, place: Place, log: Log) -> Made:
    steps = place.steps(run.budget)
    return stable_baselines3.learn(
        run.task, run.arm, run.seed, steps, max(1, steps // _POINTS), log
    )


def report(results: Path, figures: Path) -> str:
    """The section of the documentation, and its figures."""
    every = read_results(results, TABLE)
    if not every:
        return ""
    rows = []
    for task in TASKS:
        arms = dict.fromkeys(result.arm for result in every if result.task == task)
        for arm in arms:
            group = [r for r in every if (r.task, r.arm) == (task, arm)]
            rows.append([task, arm, len(group), interval_over_seeds(group), *_time(task, group)])
    table = markdown_table(
        [
            "task",
            "learner",
            "seeds",
            "return at 1 M steps",
            "target",
            "seconds to it",
            "steps to it",
        ],
        rows,
    )
    image = plot_curves(every, figures / "ppo.svg")
    return "\n\n".join(
        [
            "## PPO",
            paragraph(
                "Return of 50 held-out deterministic episodes after the last update, and the time "
                "to a target return: 20 deterministic episodes per point off the clock, two "
                "successive points at or above it, the first of which counts; median over seeds."
            ),
            table,
            f"![Return against environment steps and seconds]({image})",
            settings_note(every),
        ]
    )


def _time(task: str, group: list[Result]) -> list[str]:
    if task not in TARGETS:
        return ["", "", ""]
    target = TARGETS[task]
    return [
        f"{target:.0f}",
        seconds_to(group, target, "seconds"),
        seconds_to(group, target, "steps"),
    ]
