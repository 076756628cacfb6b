"""Attack (E): what policies keep of their return when their observations are changed to harm them.

After Zhang et al. 2020, whose SA-PPO keeps 0.50 on Walker2d and 0.40 on Hopper of what it earns
unharmed, under the strongest of the same attacks and within the same epsilon.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from retort.distill.concurrent import ConcurrentConfig
from retort.distill.evaluation import actor_of
from retort.distill.evaluation.statistics import Interval, bootstrap, interquartile_mean
from retort.distill.evaluation.target import ATTACKS
from retort.distill.sources.adversary import AdversaryConfig
from retort.distill.students import StudentConfig
from retort.distill.terms import TermConfig

from ..attacking import EPSILON, attacked_returns
from ..claims import Claim
from ..distilling import KL, VALUE, Arm, distil_arm, first_std, let_go
from ..report import (
    COSTS,
    cost_cells,
    interval_over_seeds,
    markdown_table,
    paired_ratio,
    paragraph,
    ratio_over_seeds,
    said,
    settings_note,
    verdict,
)
from ..results import Result, read_results
from ..runs import Log, Made, Place, Run
from ..teaching import TABLE as TEACHERS
from ..teaching import load_teacher, teacher_run, three_teachers
from ..training import final_returns

TABLE = "attack"
SEEDS = (1, 2, 3)
TASKS = ("Walker2d", "Hopper")
STEPS = 1_000_000
ATTACKED_STEPS = 2_000_000  # as SA-PPO has; what is learnt under attack takes longer
HIDDEN = (64, 64)
CLEAN, KEPT = 0.95, 0.8  # of the teacher, and of one's own clean return
_POINTS = 5  # on a curve
# Share of the time without lies; with more of it, less is kept under attack.
_ALONE = {"Walker2d": 0.65, "Hopper": 0.75}
_TAUGHT = 0.6  # share of the steps with a teacher; with less, the clean return is lower
_WHY_LESS = (
    "what keeps its return under attack was learnt from the student's own reward, and that earns "
    "less than the teacher does after these steps"
)
_WHY_UNMADE = "those that learn under attack, and come nearest elsewhere, are still to be run"
_WHY_HARMED = "those that return as much as their teacher keep less of it under the worst attack"
_EARLIER = (
    "Earlier rounds stand in the history of the results. Each fell short on the seeds that were "
    "run, and the next was chosen on tuning seeds, so that these were not blind. On seed 1 the "
    "clean return of `attacked` over its teacher's and what it kept of it were, in the rounds "
    "before this one: on Walker2d 0.893 and 0.85, 0.625 and 0.62 (these two with 0.5 M steps), "
    "0.878 and 0.95, 0.947 and 0.94; on Hopper 0.919 and 0.19, 0.875 and 1.00, 0.889 and 0.99 "
    "(these three with 0.5 M), 0.921 and 1.00, 0.930 and 0.79, 0.923 and 0.98. What changed was "
    "for how much of the time it is lied to, within how large a box, for how long it listens to "
    "its teacher, and the steps. Walker2d's seed 3 and Hopper's seeds 2 and 3 were run in this "
    "round only."
)
_PASSES = {"epochs": 5, "minibatches": 4}  # large minibatches: ten steps of ascent in every one

_WEIGHTED = (
    TermConfig(name="policy_kl", weight=1.0, end=0.1, schedule="linear"),
    TermConfig(name="rl", weight=0.3, end=1.0, schedule="linear"),
    VALUE,
)
_ON_LABELS = {"target": "teacher"}


def adversary(task: str) -> AdversaryConfig:
    """Lies in training as large as those to be withstood, part of the time."""
    return AdversaryConfig(epsilon=EPSILON[task], alone=_ALONE[task])


def arm(name: str, task: str) -> Arm:
    """One way to make a student.

    ``ours`` does nothing about attacks. ``robust`` adds SA-PPO's term on the student's own answers,
    ``robust-offline`` has the teacher's recorded labels as what to answer nearby. The others learn
    under attack, labelled where they really are: from one teacher, from three, or from one that
    goes on learning; ``attacked-alone`` has no teacher, which says what the others owe to theirs.
    """
    changes: dict[str, object] = dict(_PASSES)
    epsilon = {"epsilon": EPSILON[task], "steps": 10}
    if name == "ours":
        return Arm(mode="student", terms=_WEIGHTED, changes=changes)
    if name == "robust":
        term = TermConfig(name="robust", weight=0.0, end=1.0, schedule="linear", options=epsilon)
        return Arm(mode="student", terms=(*_WEIGHTED, term), changes=changes)
    if name == "robust-offline":
        term = TermConfig(name="robust", options={**epsilon, **_ON_LABELS})
        return Arm(mode="offline", terms=(KL, term), changes=changes)
    own_way = let_go(first_std(task), _TAUGHT)
    changes |= {**own_way.changes, "adversary": adversary(task)}
    if name == "attacked-alone":
        terms = tuple(term for term in own_way.terms if term.name != KL.name)
        return dataclasses.replace(own_way, terms=terms, taught=False, changes=changes)
    if name == "attacked-concurrent":
        changes |= {"teacher_share": 0.5, "concurrent": ConcurrentConfig(pull=0.1)}
        return dataclasses.replace(own_way, mode="concurrent", changes=changes)
    return dataclasses.replace(own_way, changes=changes)


def student_config(name: str, task: str) -> StudentConfig:
    """64-64; one that is to find out what its teacher was never taught begins as unsure as PPO."""
    config = StudentConfig(hidden=HIDDEN, activation="tanh")
    return (
        dataclasses.replace(config, initial_std=first_std(task)) if "attacked" in name else config
    )


# Which teachers each arm has, and whether it has one at all but itself.
ARMS = (
    "teacher",
    "ours",
    "robust",
    "robust-offline",
    "attacked",
    "attacked-three-teachers",
    "attacked-concurrent",
    "attacked-alone",
)


def runs(seeds: Sequence[int] = SEEDS) -> list[Run]:
    """The teacher itself, and every way to make a student of it, seed by seed."""
    return [
        Run(
            table=TABLE,
            task=task,
            arm=name,
            seed=seed,
            budget=_budget(name),
            execute=_attack_teacher if name == "teacher" else _distil,
            needs=tuple(teacher_run(task, s) for s in _taught_by(name, seed)),
        )
        for seed in seeds
        for task in TASKS
        for name in ARMS
    ]


def _budget(name: str) -> int:
    """Environment steps of an arm."""
    if name == "teacher":
        return 0
    return ATTACKED_STEPS if "attacked" in name else STEPS


def _taught_by(name: str, seed: int) -> tuple[int, ...]:
    """Seeds of the teachers, the paired one first."""
    if name != "attacked-three-teachers":
        return (seed,)
    three = three_teachers(seed)
    at = three.index(seed)
    return three[at:] + three[:at]


def _attack_teacher(run: Run, place: Place, log: Log) -> Made:
    [needed] = run.needs
    actor = load_teacher(place, needed).actor
    figures = attacked_returns(run.task, actor, log, scale=place.look)
    parameters = float(actor.parameter_count())
    final = final_returns(run.task, actor_of(actor))
    return Made({}, [], final, {**figures, "parameters": parameters})


def _distil(run: Run, place: Place, log: Log) -> Made:
    steps = place.steps(run.budget)
    made = distil_arm(
        arm(run.arm, run.task),
        run.task,
        [load_teacher(place, needed) for needed in run.needs],
        student_config(run.arm, run.task),
        seed=run.seed,
        steps=steps,
        log=log,
        every=max(1, steps // _POINTS),
    )
    attacked = attacked_returns(run.task, made.student, log, scale=place.look)
    return Made(made.settings, made.curve.points, made.final, {**made.figures, **attacked})


def claims(results: Path) -> list[Claim]:
    """Of the arm that comes nearest to both bounds."""
    every, taught = read_results(results, TABLE), read_results(results, TEACHERS)
    made = []
    for task in TASKS:
        teachers = [result for result in taught if result.task == task]
        arms, groups = {}, {}
        # Of those with most seeds: whoever has one that was lucky is no better than one with three.
        here = [r.arm for r in every if r.task == task and r.arm in ARMS[1:]]
        most = max(map(here.count, here), default=0)
        for name in ARMS[1:]:
            group = [r for r in every if (r.task, r.arm) == (task, name)]
            clean = paired_ratio(group, teachers)
            if clean is not None and len(group) == most:
                arms[name], groups[name] = (clean.value, _kept(group).value), group
        if arms:
            best = max(arms, key=lambda name: min(arms[name][0] / CLEAN, arms[name][1] / KEPT))
            unharmed, kept = arms[best]
            made.append(
                Claim(
                    what=f"{task}, clean return of the teacher's, and kept of it",
                    wanted=f"{CLEAN} and {KEPT}",
                    found=f"{unharmed:.3f} and {kept:.2f} by `{best}`",
                    met=verdict(unharmed >= CLEAN and kept >= KEPT, groups[best], SEEDS),
                    why=_why(best, unharmed),
                )
            )
    return made


def _why(best: str, clean: float) -> str:
    """Why the arm that comes nearest falls short."""
    if clean >= CLEAN:
        return _WHY_HARMED
    return _WHY_LESS if "attacked" in best else _WHY_UNMADE


def report(results: Path, figures: Path) -> str:
    """The section of the documentation."""
    every = read_results(results, TABLE)
    if not every:
        return ""
    taught = read_results(results, TEACHERS)
    rows = []
    for task in TASKS:
        teachers = [result for result in taught if result.task == task]
        for name in ARMS:
            group = [r for r in every if (r.task, r.arm) == (task, name)]
            if group:
                rows.append([task, name, *_row(name, group, teachers)])
    header = ["task", "arm", *COSTS, "return", "S/T"]
    header += [*(name.replace("_", " + ") for name in ATTACKS)]
    boxes = ", ".join(f"{task} {EPSILON[task]:g}" for task in TASKS)
    return "\n\n".join(
        [
            "## Attack",
            paragraph(_attacks_said(boxes)),
            paragraph(_arms_said()),
            paragraph(_EARLIER),
            markdown_table([*header, "kept", "met", "push"], rows),
            settings_note(every),
        ]
    )


def _attacks_said(boxes: str) -> str:
    return (
        "Every observation that the policy acts on is changed within the box of normalised "
        f"l-infinity radius {boxes} (Zhang et al. 2020): at random, so that the action changes "
        "most (MAD), so that the value falls most (critic), and so that the action is the worst "
        "by a Robust-Sarsa value, alone and with MAD. Ten steps of ascent from a random start at "
        "every tick; the value is learnt from 25 600 transitions of each policy in 4 000 "
        "updates. Return of 50 held-out deterministic episodes; under attack as the share of the "
        "policy's own clean return, means over seeds, `kept` that under the attack that costs "
        "most of these. `push` is an attack of our own, which breaks more than they do: the action "
        "is moved up or down, always the same way, in the worst of all directions; it is not what "
        "`met` is about."
    )


def _arms_said() -> str:
    shares = ", ".join(f"{1.0 - alone:.0%} ({task})" for task, alone in _ALONE.items())
    return (
        f"All students are {'-'.join(map(str, HIDDEN))}; those that are `attacked` have "
        f"{ATTACKED_STEPS / STEPS:g} times the steps of the others (SA-PPO has 2 M). "
        "`ours` does nothing about attacks; `robust` adds SA-PPO's regulariser on its own answers; "
        "`robust-offline` learns from recorded episodes of the teacher, whose labels it is to "
        "give anywhere in the box; those that are `attacked` learn under attack "
        f"(`distill.adversary`) for {shares} of the time within the same box, labelled "
        "where they really are by one teacher, by three with equal weights (the paired one and "
        "two of other seeds), by one that goes on learning, or by none (`alone`, which says "
        f"what the others owe to theirs); they let their teacher go after {_TAUGHT:.0%} of their "
        "steps and learn from their own reward throughout. SA-PPO's own medians: "
        "Walker2d 4912 to 2468 (0.50), Hopper 3523 to 1403 (0.40), under the worst of several "
        "Robust-Sarsa values where here is one: the attacks here may be weaker, since on Walker2d "
        "the teacher, which was never attacked, keeps more than that. Wanted: kept at least "
        f"{KEPT} and a clean return of at least {CLEAN} of the teacher's, by whichever arm of "
        "those with most seeds comes nearest to both."
    )


def _row(name: str, group: Sequence[Result], teachers: Sequence[Result]) -> list[str | int]:
    kept, clean = _kept(group), paired_ratio(group, teachers)
    met = ""
    if clean is not None and name != "teacher":
        met = verdict(kept.value >= KEPT and clean.value >= CLEAN, group, SEEDS)
    return [
        *cost_cells(group),
        interval_over_seeds(group),
        ratio_over_seeds(group, teachers),
        *(f"{np.mean([r.figures[a] / r.figures['none'] for r in group]):.2f}" for a in ATTACKS),
        said(kept, 2),
        met,
        f"{np.mean([r.figures['push'] / r.figures['none'] for r in group]):.2f}",
    ]


def _kept(group: Sequence[Result]) -> Interval:
    """Return under the worst named attack, of the policy's own clean one, over seeds."""
    shares = np.array([[r.figures["worst"] / r.figures["none"]] for r in group])
    return bootstrap(interquartile_mean, shares, np.random.default_rng(0))
