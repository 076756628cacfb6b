"""Q: teachers of action values, which are no policies, distilled by every loss and temperature.

After Rusu et al. 2015, whose students of Breakout reach 34 % of the teacher by MSE, 78 % by NLL and
95 % by the sharpened KL.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from retort.distill.students import StudentConfig
from retort.distill.terms import TermConfig

from ..claims import Claim
from ..distilling import Arm, distil_arm
from ..q_teaching import EPISODES, PACKAGES, load_q_teacher, q_teacher_run
from ..report import (
    interval_over_seeds,
    markdown_table,
    mean_figure,
    paired_ratio,
    paragraph,
    ratio_over_seeds,
    settings_note,
    verdict,
)
from ..results import Result, read_results
from ..runs import Log, Made, Place, Run

TABLE = "q"
SEEDS = (1, 2, 3)
TASKS = ("CartPole", "LunarLander", "Breakout")
STEPS = {"CartPole": 40_000, "LunarLander": 150_000, "Breakout": 100_000}
STUDENTS = {"CartPole": (64, 64), "LunarLander": (128, 64), "Breakout": (64, 64)}
FACTORS = (0.1, 0.5, 2.0)  # c: tau is that times the mean gap between the two best actions
LEAST = 0.95  # of the teacher, by the best loss
_POINTS = 5  # on a curve

# Every loss learns from the same kind of episodes: the student acts by its best choice, and all
# that it has met stays in the buffer. No term here asks the student's own critic.
_DISCRETE: dict[str, Any] = {
    "num_envs": 32,
    "ticks": 32,
    "epsilon": 0.05,
    "kept_batches": 1000,
    "critic_hidden": (8,),
}


def _arms() -> dict[str, dict[str, Any]]:
    """Options of the term ``q`` by the arm's name."""
    kinds = ("sharpened", "tempered")
    swept = {f"{kind} {c:g}": {"kind": kind, "factor": c} for kind in kinds for c in FACTORS}
    return {**swept, "nll": {"kind": "nll"}, "mse": {"kind": "mse"}}


def runs(seeds: Sequence[int] = SEEDS) -> list[Run]:
    """Seed by seed: a task's teacher, then its students."""
    every: list[Run] = []
    for seed in seeds:
        for task in TASKS:
            teacher = q_teacher_run(TABLE, task, seed)
            every.append(teacher)
            every += [
                Run(
                    table=TABLE,
                    task=task,
                    arm=arm,
                    seed=seed,
                    budget=STEPS[task],
                    execute=_distil,
                    needs=(teacher,),
                    package=PACKAGES[task],
                )
                for arm in _arms()
            ]
    return every


def _distil(run: Run, place: Place, log: Log) -> Made:
    [needed] = run.needs
    steps = place.steps(run.budget)
    term = TermConfig(name="q", options=_arms()[run.arm])
    made = distil_arm(
        Arm(mode="aggregate", terms=(term,), changes=_DISCRETE),
        run.task,
        [load_q_teacher(place, needed)],
        StudentConfig(hidden=STUDENTS[run.task], activation="relu"),
        seed=run.seed,
        steps=steps,
        log=log,
        every=max(1, steps // _POINTS),
        episodes=EPISODES[run.task],
    )
    return Made(made.settings, made.curve.points, made.final, made.figures)


def claims(results: Path) -> list[Claim]:
    """Of the best loss of each task."""
    every, made = read_results(results, TABLE), []
    for task in TASKS:
        here = [result for result in every if result.task == task]
        teachers = [result for result in here if result.arm == "teacher"]
        if best := _best(here, teachers):
            group = [result for result in here if result.arm == best]
            made.append(
                Claim(
                    what=f"{task}, S/T of the best loss",
                    wanted=f"{LEAST}",
                    found=f"{ratio_over_seeds(group, teachers)} by `{best}`",
                    met=_verdict(group, teachers),
                )
            )
    return made


def report(results: Path, figures: Path) -> str:
    """The section of the documentation."""
    every = read_results(results, TABLE)
    if not every:
        return ""
    rows = []
    for task in TASKS:
        here = [result for result in every if result.task == task]
        teachers = [result for result in here if result.arm == "teacher"]
        best = _best(here, teachers)
        for arm in ("teacher", *_arms()):
            group = [result for result in here if result.arm == arm]
            if not group:
                continue
            counts = [mean_figure(group, name) for name in ("parameters", "steps", "cpu_seconds")]
            row = [task, arm, len(group), *counts, interval_over_seeds(group, _DIGITS[task])]
            if arm == "teacher":
                rows.append([*row, "", ""])
            else:
                verdict = _verdict(group, teachers) if arm == best else ""
                rows.append([*row, ratio_over_seeds(group, teachers), verdict])
    header = ["task", "arm", "seeds", "parameters", "steps", "CPU seconds", "return", "S/T"]
    return "\n\n".join(
        [
            "## Teachers of Q-values",
            paragraph(
                "DQN of Stable-Baselines3 (256-256; settings of rl-baselines3-zoo, for MinAtar's "
                "Breakout near those of Young and Tian 2019, who have 5 M frames; learning rate "
                "falling to zero) teaches perceptrons of 64-64, on LunarLander of 128-64; "
                "they act, and it labels, and all batches are learnt from again (mode "
                "`aggregate`). `sharpened`: KL to softmax(Q/τ) (Rusu et al. 2015); "
                "`tempered`: both sides "
                "tempered (QDagger); the number is c in τ = c × mean gap between the two best "
                "actions; `nll`: the best action alone; `mse`: the values. Return of "
                f"{EPISODES['CartPole']}, {EPISODES['LunarLander']} and {EPISODES['Breakout']} "
                "held-out episodes of best choices, by a teacher's network at the best of ten "
                "points, by a student's last; S/T is paired by seed. "
                f"Wanted: the best at least {LEAST}. Published on Atari's Breakout: `mse` 0.34, "
                "`nll` 0.78, `sharpened` 0.95."
            ),
            markdown_table([*header, f"best ≥ {LEAST}"], rows),
            settings_note(every),
        ]
    )


_DIGITS = {"CartPole": 0, "LunarLander": 0, "Breakout": 1}  # of returns


def _ratio(group: list[Result], teachers: list[Result]) -> float:
    found = paired_ratio(group, teachers)
    return float("-inf") if found is None else found.value


def _best(here: list[Result], teachers: list[Result]) -> str:
    """The arm whose students come nearest to their teachers."""
    arms = [arm for arm in _arms() if any(result.arm == arm for result in here)]
    return max(
        arms, key=lambda arm: _ratio([r for r in here if r.arm == arm], teachers), default=""
    )


def _verdict(group: list[Result], teachers: list[Result]) -> str:
    return verdict(_ratio(group, teachers) >= LEAST, group, SEEDS)
