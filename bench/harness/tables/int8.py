"""G: the same weights as int8, with the normaliser left in float32, on the same episodes.

Rounding changes an action by a thousandth, and a gait that is chaotic makes other episodes of that:
paired returns differ by far more than their means do. So episodes are added, in blocks of new
seeds, until the interval is narrow enough to tell; how wide it is decides, never where it lies.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from retort.distill.evaluation import actor_of, ratio_interval, run_episodes
from retort.distill.sources.rollout import Actor
from retort.distill.students import Student, StudentConfig
from torch import Tensor

from ..claims import Claim
from ..distilling import ARMS, distil_arm
from ..report import budgets_said, markdown_table, mean_figure, paragraph, settings_note, verdict
from ..results import Result, read_results
from ..runs import Log, Made, Place, Run
from ..teaching import load_teacher, teacher_run
from ..training import FINAL_EPISODES, make_env

TABLE = "int8"
SEEDS = (1, 2, 3)
TASKS = ("HalfCheetah", "Hopper")
SIZES = ((128, 64), (32, 32))
STEPS = 200_000
MOST = 0.01  # relative difference
BLOCK, BLOCKS = 200, 30  # episodes to add, and how often at most
_HALF_WIDTH = 0.004  # of the interval at which no more are added
_SEED = 3_000_017  # of the first block; no run trains on them
_POINTS = 5  # on a curve
_WHY = "rounding happened to make the gait better, which the interval does not forgive either"


def runs(seeds: Sequence[int] = SEEDS) -> list[Run]:
    """Seed by seed."""
    return [
        Run(
            table=TABLE,
            task=task,
            arm="-".join(map(str, size)),
            seed=seed,
            budget=STEPS,
            execute=_compare,
            needs=(teacher_run(task, seed),),
        )
        for seed in seeds
        for task in TASKS
        for size in SIZES
    ]


def _compare(run: Run, place: Place, log: Log) -> Made:
    [needed] = run.needs
    steps = place.steps(run.budget)
    made = distil_arm(
        ARMS["ours"],
        run.task,
        [load_teacher(place, needed)],
        StudentConfig(
            hidden=tuple(map(int, run.arm.split("-"))), activation="tanh", quantise="int8"
        ),
        seed=run.seed,
        steps=steps,
        log=log,
        every=max(1, steps // _POINTS),
    )
    blocks = max(1, round(BLOCKS * place.look))
    episodes = BLOCK if place.look == 1.0 else 2
    found = compare(run.task, made.student, episodes, blocks, log)
    return Made(made.settings, made.curve.points, made.final, {**made.figures, **found})


def compare(task: str, student: Student, episodes: int, blocks: int, log: Log) -> dict[str, float]:
    """The student against itself as it is deployed, in int8, on the same episodes.

    Args:
        task: on which.
        student: as it has learnt, in float32, and how to round it; without memory.
        episodes: of a block.
        blocks: at most.
        log: told of every block.
    """
    rounded = actor_of(student.deployed())
    whole = _Beside(actor_of(student), [rounded, actor_of(to_nearest(student))])
    ours, theirs = np.zeros(0), np.zeros(0)
    env = make_env(task, episodes, autoreset=False)
    found = {}
    for block in range(blocks):
        seed = _SEED + block
        theirs = np.concatenate([theirs, run_episodes(env, whole, seed).returns])
        ours = np.concatenate([ours, run_episodes(env, rounded, seed).returns])
        interval = ratio_interval(ours, theirs, np.random.default_rng(0))
        if interval is None:
            raise RuntimeError(f"{task} returns nothing in float32, of which a share could be lost")
        off, off_nearest = whole.distances
        found = {
            "episodes": float(len(ours)),
            "float32_return": float(theirs.mean()),
            "int8_return": float(ours.mean()),
            "difference": interval.value - 1.0,
            "difference_low": interval.low - 1.0,
            "difference_high": interval.high - 1.0,
            "action_error": off,
            "action_error_nearest": off_nearest,
        }
        log(f"{len(ours):6d} episodes   {found['difference']:+.4f}")
        if interval.high - interval.low <= 2.0 * _HALF_WIDTH:
            break
    return found


class _Beside:
    """Acts as one policy does, and notes how far from that others would have acted."""

    def __init__(self, policy: Actor, others: Sequence[Actor]) -> None:
        self._policy, self._others = policy, others
        self._squares, self._ticks = np.zeros(len(others)), 0

    def __call__(
        self, groups: dict[str, Tensor], state: Tensor, reset: Tensor
    ) -> tuple[Tensor, Any, Tensor]:
        action, log_prob, after = self._policy(groups, state, reset)
        said = [other(groups, state, reset)[0] for other in self._others]
        self._squares += [float((each - action).square().mean()) for each in said]
        self._ticks += 1
        return action, log_prob, after

    @property
    def distances(self) -> list[float]:
        """Root mean squares over ticks, environments and actions so far."""
        return np.sqrt(self._squares / max(1, self._ticks)).tolist()


def to_nearest(student: Student) -> Student:
    """The student with every weight at the step that is nearest, whatever it has read."""
    twin = copy.deepcopy(student)
    twin.moments = None
    return twin.deployed()


def claims(results: Path) -> list[Claim]:
    """Of every size."""
    every = read_results(results, TABLE)
    made = []
    for task in TASKS:
        for size in ("-".join(map(str, size)) for size in SIZES):
            group = [r for r in every if (r.task, r.arm) == (task, size)]
            if group:
                _, furthest, met = _difference(group)
                made.append(
                    Claim(
                        what=f"{task}, {size}, int8 over float32",
                        wanted=f"every student's interval within ±{MOST:.0%}",
                        found=f"furthest is {furthest}",
                        met=met,
                        why=_WHY if max(group, key=_reach).figures["difference"] > 0 else "",
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
        for size in ("-".join(map(str, size)) for size in SIZES):
            group = [r for r in every if (r.task, r.arm) == (task, size)]
            if group:
                rows.append(
                    [
                        task,
                        size,
                        len(group),
                        mean_figure(group, "parameters"),
                        mean_figure(group, "episodes"),
                        mean_figure(group, "float32_return"),
                        mean_figure(group, "int8_return"),
                        f"{_mean(group, 'action_error'):.4f} "
                        f"({_mean(group, 'action_error_nearest'):.4f})",
                        *_difference(group),
                    ]
                )
    header = ["task", "student", "seeds", "parameters", "episodes of each", "float32", "int8"]
    header += ["actions off by (to the nearest steps)"]
    return "\n\n".join(
        [
            "## int8",
            paragraph(
                f"Students by `ours` with {budgets_said(every)} steps in float32, against the same "
                "weights as int8 (a scale for 32 weights of a row), rounded by what each layer "
                'reads as `quantise = "int8"` does, behind the float32 normaliser, '
                f"on the same held-out episodes: {BLOCK}, and more until the interval of that seed "
                f"is ±{_HALF_WIDTH:.1%} or there are {BLOCK * BLOCKS}. The difference of mean "
                "returns in parts of float32's, averaged over seeds, with the 95 % interval over "
                "episodes, drawn in pairs within each seed, and, since over several students "
                "opposite signs would cancel, that of the one student whose own interval reaches "
                f"furthest from 0. Wanted: the interval of every student within ±{MOST:.0%}. It "
                f"knows nothing of what is rarer than it has met: with no fall in {BLOCK} "
                f"episodes, up to {3 / BLOCK:.1%} of all may still end in one (95 %) and lose as "
                "much of the return, which is more than is allowed; "
                f"{3 / MOST:.0f} would bound that. `return` in the files is of {FINAL_EPISODES} "
                "episodes in float32. Actions: root mean square of how far "
                "they are from float32's in the same situations, and how far they would be with "
                "every weight rounded to the nearest step."
            ),
            markdown_table([*header, "difference", "furthest", f"within ±{MOST:.0%}"], rows),
            settings_note(every),
        ]
    )


def _mean(group: list[Result], figure: str) -> float:
    return float(np.mean([r.figures[figure] for r in group]))


def _difference(group: list[Result]) -> tuple[str, str, str]:
    """The difference with its interval, that of the student it is worst for, and whether even this
    is as narrow and near as is wanted.
    """
    value, low, high = over_seeds(group)
    worst = max(group, key=_reach)
    met = verdict(_reach(worst) <= MOST, group, SEEDS)
    return f"{value:+.2%} ({low:+.2%} to {high:+.2%})", _furthest(worst), met


def _furthest(result: Result) -> str:
    low, high = result.figures["difference_low"], result.figures["difference_high"]
    return f"seed {result.seed}: {result.figures['difference']:+.2%} ({low:+.2%} to {high:+.2%})"


def _reach(result: Result) -> float:
    """How far a student's interval reaches from no difference."""
    return max(-result.figures["difference_low"], result.figures["difference_high"])


def over_seeds(group: list[Result]) -> tuple[float, float, float]:
    """Mean difference over seeds and its 95 % interval over episodes.

    Seeds are strata: their intervals' half-widths add up as those of independent means do.
    """
    value = float(np.mean([r.figures["difference"] for r in group]))
    half = [(r.figures["difference_high"] - r.figures["difference_low"]) / 2 for r in group]
    width = float(np.sqrt(np.square(half).sum()) / len(half))
    return value, value - width, value + width
