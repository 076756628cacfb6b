"""Adaptation: how soon a policy is itself again after the robot changed in mid-episode.

One distribution of randomised dynamics, which also change during training's episodes, for all of:
a teacher that is told them (the oracle), a recurrent student, one that sees a single observation,
and one that takes gradient steps on what it lived through.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D
from retort.distill.adaptation import (
    AdaptingActor,
    trace_rewards,
    window_rates,
)
from retort.distill.adaptation.recovery import TARGET, WINDOW
from retort.distill.curriculum import CurriculumConfig
from retort.distill.evaluation import actor_of
from retort.distill.evaluation.statistics import bootstrap, interquartile_mean
from retort.distill.sources.rollout import Actor
from retort.sim.switches import Switch

from ..changing import GRADIENT, MEMORYLESS, RECURRENT, TASKS, TEACHER, Change, Changing
from ..claims import Claim
from ..meta import learn_start
from ..recovering import (
    BEFORE,
    LEAST,
    SEEDS,
    SOON,
    UNSWITCHED,
    Back,
    back_after,
    is_steady,
    judge,
    late_rate,
    relative_rates,
    seconds_or_never,
    share_of_start,
    steady_rate,
    times_back,
)
from ..report import (
    COSTS,
    cost_cells,
    markdown_table,
    paragraph,
    said,
    settings_note,
)
from ..results import Result, read_results
from ..runs import Log, Made, Place, Run
from ..varied import distil_varied, load_teacher, teach

TABLE = "adaptation"
ARMS = (TEACHER, RECURRENT, MEMORYLESS, GRADIENT)
_META_SHARE = 0.3  # of the gradient-based one's steps are spent on its start
_SEED = 4_000_003  # of the episodes with a switch
_EPISODES = 100


def runs(seeds: Sequence[int] = SEEDS) -> list[Run]:
    """Seed by seed the oracle, and the students that learn from it."""
    every: list[Run] = []
    for seed in seeds:
        for task in TASKS:
            teacher = Run(
                table=TABLE,
                task=task,
                arm=TEACHER,
                seed=seed,
                budget=TASKS[task].teacher_steps,
                execute=_teach,
                keeps=True,
            )
            every.append(teacher)
            every += [
                Run(
                    table=TABLE,
                    task=task,
                    arm=arm,
                    seed=seed,
                    budget=TASKS[task].steps,
                    execute=_distil,
                    needs=(teacher,),
                )
                for arm in ARMS[1:]
            ]
    return every


def _teach(run: Run, place: Place, log: Log) -> Made:
    changing = TASKS[run.task]
    made = teach(changing.varied, run, place, log)
    teacher = load_teacher(changing.varied, place, run)
    return made._replace(series=_rates(changing, actor_of(teacher.actor), log))


def _distil(run: Run, place: Place, log: Log) -> Made:
    changing, [needed] = TASKS[run.task], run.needs
    varied, gradient = changing.varied, run.arm == GRADIENT
    teacher = load_teacher(varied, place, needed)
    steps = place.steps(run.budget)
    on_start = round(_META_SHARE * steps) if gradient else 0
    made = distil_varied(
        varied,
        teacher,
        changing.students[MEMORYLESS if gradient else run.arm],
        CurriculumConfig(kind="none"),
        seed=run.seed,
        steps=steps - on_start,
        log=log,
    )
    actor, figures, settings = actor_of(made.student), made.figures, made.settings
    if gradient:
        window = round(changing.meta_window / varied.make_env(1, seconds=1.0).period)
        start, spent = learn_start(
            varied,
            teacher,
            made.student,
            changing.meta,
            seed=run.seed,
            steps=on_start,
            window=window,
        )
        figures = {**figures, **{name: figures[name] + more for name, more in spent.items()}}
        settings = {**settings, "meta": dataclasses.asdict(changing.meta)}
        actor = AdaptingActor(start, changing.meta, window=window, every=window)
    series = _rates(changing, actor, log)
    final = varied.final_returns(actor)
    return Made(settings, made.curve.points, final, figures, series)


def _rates(changing: Changing, actor: Actor, log: Log) -> dict[str, list[float]]:
    """Reward per second around every change: mean over episodes that stand at the switch (how many
    is ``standing``), in windows, those before it that are steady and all after it; and what those
    after it are in the same episodes of a robot that does not change: ``unswitched``, that stays as
    it was, and ``from the start``, that has always been so.
    """
    series = {}
    for change in changing.changes:
        begins, ends = change.before, change.after
        before, after, standing = _windows(changing, actor, change.quantity, begins, ends)
        _, unswitched, _ = _windows(changing, actor, change.quantity, begins, begins)
        _, always, _ = _windows(changing, actor, change.quantity, ends, ends)
        steady = before[-int((changing.at - changing.settling) / WINDOW + 1e-9) :]
        for when, rates in (
            (BEFORE, steady),
            ("after", after),
            (UNSWITCHED, unswitched),
            ("from the start", always),
        ):
            series[f"{change.name}, {when}"] = np.round(rates, 4).tolist()
        series[f"{change.name}, standing"] = [standing]
        log(f"{change.name}: {np.round(relative_rates(series, change), 2).tolist()}")
    return series


def _windows(
    changing: Changing, actor: Actor, quantity: str, begins: float, ends: float
) -> tuple[np.ndarray, np.ndarray, int]:
    """Rates before and after the switch of a quantity, (windows,) each, and how many episodes still
    stand at it, of which they are.
    """
    switches = tuple(
        Switch(quantity=quantity, time=(time, time), value=(value, value))
        for time, value in ((0.0, begins), (changing.at, ends))
    )
    env = changing.varied.make_env(
        _EPISODES,
        seconds=changing.seconds,
        level=changing.level,
        autoreset=False,
        switches=switches,
    )
    trace = trace_rewards(env, actor, _SEED, changing.at)
    standing = trace.fell_at >= trace.switch_tick
    before, after = (
        rates[:, standing].mean(1) if standing.any() else np.zeros(len(rates))
        for rates in window_rates(trace)
    )
    return before, after, int(standing.sum())


_GRADIENT_COSTS = (
    "The gradient-based one's teacher queries are those of the steps before its start was learnt; "
    "what its teacher was asked in those for the start, at most as often as there are steps, is "
    "not counted."
)
_EARLIER = (
    "An earlier round stands in the history of this page, up to commit 04dd391: HalfCheetah's "
    "oracle had 1.5 M steps, and its motor strength went from 2 to 1 where now it goes from 1.3 to "
    "0.7. Its three seeds met payload, and no policy had a steady rate on all of them at 2 or 1.5, "
    "the oracle neither."
)
_ALIKE = (
    f"within {SOON:g} s it earns at least {TARGET:g} of what it earns where the robot has been so "
    "from the start: it has adapted, and is worse with such a robot than with the one before"
)
_SLOWER = (
    f"after {SOON:g} s it earns less than {TARGET:g} of what it earns where the robot has been so "
    "from the start: it is still adapting, or has lost its footing"
)
_NOBODY = "the oracle, which is told the dynamics, is not back either"


def _why(share: float, oracle: Back) -> str:
    """Of a share of what it earns from the start, of which nothing may be known, and of when the
    oracle was back.
    """
    parts = [_NOBODY] if oracle.soonest > SOON else []
    if np.isfinite(share):
        parts.append(_ALIKE if share >= TARGET else _SLOWER)
    return "; ".join(parts)


def claims(results: Path) -> list[Claim]:
    """Of every switch."""
    every = read_results(results, TABLE)
    made = []
    for task, changing in TASKS.items():
        groups = {arm: [r for r in every if (r.task, r.arm) == (task, arm)] for arm in ARMS}
        for change in changing.changes:
            if not (met := judge(change, groups)):
                continue
            backs = {
                arm: back_after(change, groups[arm])
                for arm in (RECURRENT, MEMORYLESS, TEACHER)
                if groups[arm]
            }
            share, oracle = (
                share_of_start(change, groups[RECURRENT]),
                back_after(change, groups[TEACHER]),
            )
            made.append(
                Claim(
                    what=f"{task}, {change.name}",
                    wanted=f"recurrent back within {SOON:g} s, memoryless not",
                    found=", ".join(f"{arm} {back}" for arm, back in backs.items()),
                    met=met,
                    why=_why(share, oracle),
                )
            )
    return made


_WHAT = (
    "Robots that change in mid-episode: payload as a share of the whole mass, motor strength and "
    "friction relative to nominal; what else is randomised stays. Teacher and students learnt with "
    "mass, payload, friction and motors drawn anew in every episode and each of the three changing "
    "in half of them. The oracle is told the dynamics; the recurrent student (GRU) and the "
    "memoryless one (MLP) see the same single observation: the balancer's without the previous "
    "action, HalfCheetah's positions without velocities. The gradient-based one is the memoryless "
    f"one whose last {_META_SHARE:.0%} of steps went into a start by first-order MAML, and which "
    "takes gradient steps on its own last moments by foretelling its observations, always from "
    f"that start. Rates are reward per second in windows of half a second, over {_EPISODES} "
    "episodes; falls earn nothing, and the switch comes at the same time in all."
)
_COLUMNS = (
    "`standing`: how many of the episodes still stand at the switch; all rates are means over "
    "these.",
    "`steady rate`: the rate before the switch.",
    f"`after {WINDOW:g} to {SOON:g} s`: the rate in that window relative to what the same policy "
    "earns in the same window of the same episodes without the switch, which is its own steady "
    "state with the commands' ups and downs.",
    "`of that from the start`: relative to the same policy in the same episodes of a robot that "
    "has been so from the start, where there is nothing to recover from; the mean over those that "
    "still stand then, which are others where not all do. Empty where that is under "
    f"{LEAST:g} of the steady rate.",
    f"`back after`: the end of the first of two successive windows at {TARGET:g} if the mean from "
    f"there on is at {TARGET:g} too; median over seeds, and each seed's, with ? where it has no "
    "steady rate to be back at, which makes the median a range. A memoryless policy does the same "
    "from the first tick on: where it earns less with the changed robot, it is `never` back.",
    f"`of the oracle's after {SOON:g} s`: the rate from then on, paired by seed.",
)


def report(results: Path, figures: Path) -> str:
    """The section of the documentation, and its figure."""
    every = read_results(results, TABLE)
    if not every:
        return ""
    students, switched = [], []
    for task, changing in TASKS.items():
        groups = {arm: [r for r in every if (r.task, r.arm) == (task, arm)] for arm in ARMS}
        groups = {arm: group for arm, group in groups.items() if group}
        for arm, group in groups.items():
            students.append([task, arm, *cost_cells(group)])
        for change in changing.changes:
            for arm in groups:
                switched.append([task, change.name, arm, *_cells(change, arm, groups)])
    image = _plot(every, figures / "adaptation.svg")
    header = ["task", "policy", *COSTS]
    wanted = [
        "task",
        "switch",
        "policy",
        "standing",
        "steady rate",
        f"after {WINDOW:g} to {SOON:g} s",
        "of that from the start",
        "back after",
        f"of the oracle's after {SOON:g} s",
        "met",
    ]
    return "\n\n".join(
        [
            "## Adaptation",
            paragraph(_WHAT),
            "\n".join(paragraph(f"- {column}", "  ") for column in _COLUMNS),
            paragraph(
                f"Wanted: the recurrent one back within {SOON:g} s where the memoryless one is not."
            ),
            paragraph(_EARLIER),
            paragraph(_otherwise(every)),
            paragraph(_GRADIENT_COSTS),
            markdown_table(header, students),
            markdown_table(wanted, switched),
            paragraph(
                "Mean over the seeds that have a steady rate: before the switch relative to the "
                f"mean rate then, after it as in the table. Dotted: {TARGET:g}, at which it counts "
                "as back. What is above 1.4 or below 0 is cut off."
            ),
            f"![Rates around each switch]({image})",
            settings_note(every),
        ]
    )


def _cells(change: Change, arm: str, groups: dict[str, list[Result]]) -> list[str]:
    group = groups[arm]
    steady = [steady_rate(r, change) for r in group]
    second = [relative_rates(r.series, change)[1] for r in group]
    alike = [share_of_start(change, [r]) for r in group]
    oracle = {r.seed: late_rate(r, change) for r in groups.get(TEACHER, [])}
    shares = [late_rate(r, change) / oracle[r.seed] for r in group if oracle.get(r.seed, 0.0) > 0.0]
    return [
        f"{np.mean([r.series[f'{change.name}, standing'][0] for r in group]):.0f}",
        f"{np.mean(steady):.2f}",
        _interval(second) if all(is_steady(r.series, change) for r in group) else "",
        _interval(alike) if np.isfinite(alike).all() else "",
        f"{back_after(change, group)}{_each(change, group)}",
        _interval(shares) if shares else "",
        judge(change, groups) if arm == RECURRENT else "",
    ]


def _each(change: Change, group: Sequence[Result]) -> str:
    """When each seed was back, in a few words."""
    times = times_back(change, group)
    steady = [is_steady(r.series, change) for r in group]
    said = (
        seconds_or_never(time) if known else "?" for time, known in zip(times, steady, strict=True)
    )
    return f" [{', '.join(said)}]" if len(group) > 1 else ""


def _otherwise(every: Sequence[Result]) -> str:
    """What would be said by the mean rate before the switch; empty where that is the same."""
    found = []
    for task, changing in TASKS.items():
        groups = {arm: [r for r in every if (r.task, r.arm) == (task, arm)] for arm in ARMS}
        for change in changing.changes:
            other = judge(change, groups, BEFORE)
            if other != judge(change, groups):
                found.append(f"{task}, {change.name}: {other}")
    if not found:
        return (
            "Measured against the mean rate before the switch, instead of the same episodes "
            "without it, no verdict would change."
        )
    return (
        "Measured against the mean rate before the switch, instead of the same episodes without "
        f"it, these verdicts would be: {'; '.join(found)}."
    )


def _interval(values: Sequence[float]) -> str:
    scores = np.array(values)[:, None]
    return said(bootstrap(interquartile_mean, scores, np.random.default_rng(0)), 2)


def _plot(every: Sequence[Result], path: Path) -> str:
    """Mean relative rate of the seeds that have one, a row per task, a column per switch."""
    tasks = [task for task in TASKS if any(r.task == task for r in every)]
    columns = max(len(TASKS[task].changes) for task in tasks)
    figure, axes = plt.subplots(
        len(tasks), columns, figsize=(3.2 * columns, 2.8 * len(tasks)), squeeze=False, sharey=True
    )
    for row, task in zip(axes, tasks, strict=True):
        for axis, change in zip(row, TASKS[task].changes, strict=False):
            for number, arm in enumerate(ARMS):
                group = [r for r in every if (r.task, r.arm) == (task, arm)]
                group = [r for r in group if is_steady(r.series, change)]
                if group:
                    curve = np.mean([_around(r, change) for r in group], axis=0)
                    before = len(group[0].series[f"{change.name}, {BEFORE}"])
                    time = (np.arange(len(curve)) - before + 0.5) * WINDOW
                    axis.plot(time, curve, color=f"C{number}", linewidth=1)
            axis.axhline(TARGET, color="grey", linewidth=0.8, linestyle=":")
            axis.axvline(0.0, color="grey", linewidth=0.8)
            axis.set_title(f"{task}: {change.name}", fontsize=8)
            axis.grid(alpha=0.3)
            axis.set(xlabel="seconds since the switch")
        row[0].set(ylabel="of its steady rate", ylim=(0.0, 1.4))
    handles = [Line2D([], [], color=f"C{n}", label=arm) for n, arm in enumerate(ARMS)]
    axes[0, 0].legend(handles=handles, fontsize=7)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    return f"{path.parent.name}/{path.name}"


def _around(result: Result, change: Change) -> np.ndarray:
    before = np.array(result.series[f"{change.name}, {BEFORE}"])
    return np.concatenate([before / before.mean(), relative_rates(result.series, change)])
