"""Terms and modes: what each costs and brings, those that bring nothing among them.

A term that is no objective by itself stands beside ``policy_kl``, with which it is to be compared.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from retort.distill.checkpoint import load_checkpoint, save_checkpoint
from retort.distill.concurrent import ConcurrentConfig
from retort.distill.evaluation import actor_of
from retort.distill.ppo import PPO
from retort.distill.ppo_settings import gymnasium_ppo
from retort.distill.students import StudentConfig
from retort.distill.teachers import ActorTeacher
from retort.distill.terms import TermConfig

from ..claims import Claim
from ..distilling import KL, OWN_VALUE, RL, VALUE, Arm, Distilled, distil_arm
from ..measures import (
    CRITIC_ENVS,
    CRITIC_TICKS,
    CriticTeacher,
    action_change,
    return_under_attack,
    return_under_noise,
)
from ..report import (
    COSTS,
    cost_cells,
    interval_over_seeds,
    markdown_table,
    mean_figure,
    paragraph,
    ratio_over_seeds,
    settings_note,
    verdict,
)
from ..results import Result, read_results
from ..runs import Log, Made, Place, Run
from ..teaching import TABLE as TEACHERS
from ..teaching import load_teacher, teacher_run
from ..training import final_returns, learn_ppo, make_env

TABLE = "terms"
SEEDS = (1, 2, 3)
TASKS = ("HalfCheetah", "Hopper")
STEPS = 300_000
_KEPT = 0.9  # of its return, of a teacher that goes on learning: less is spoilt
SHORT = "short teacher"  # from which concurrent teachers go on
_SHORT_HIDDEN = (256, 64)  # its encoder ends as wide as the student's, to share a head with it
PULL = 0.01  # of concurrent teachers on what their students can do; 0.1 holds them back
# Less learning per step than in other tables, so that so many rows can be done: a student of these
# tasks is near its teacher long before the end, and what is compared is how each row gets there.
_LEARNING = {"epochs": 3, "minibatches": 4}
_EARLY = 60_000  # steps between two points of the curve; the first one tells who was quick
_NOISE, _EPSILON = 0.1, 0.075  # deviations; normalised l-infinity


def _term(name: str, weight: float = 1.0, **options: Any) -> TermConfig:
    return TermConfig(name=name, weight=weight, options=options)


def _beside(name: str, weight: float = 1.0, **options: Any) -> Arm:
    return Arm(mode="student", terms=(KL, _term(name, weight, **options)))


# Terms, in the order of docs/distillation.md; each needs a row.
TERMS: dict[str, Arm] = {
    "policy_kl": Arm(mode="student", terms=(KL,)),
    "policy_kl reverse": Arm(mode="student", terms=(_term("policy_kl", direction="reverse"),)),
    "policy_kl limit 1": Arm(mode="student", terms=(_term("policy_kl", limit=1.0),)),
    "cross_entropy": Arm(mode="student", terms=(_term("cross_entropy"),)),
    "mean_regression": Arm(mode="student", terms=(_term("mean_regression"),)),
    "proximal + rl + value": Arm(mode="student", terms=(_term("proximal"), RL, VALUE)),
    "corrected + rl + value": Arm(mode="student", terms=(_term("corrected"), RL, VALUE)),
    "policy_kl + entropy": _beside("entropy", 0.01),
    "q_ascent": Arm(mode="student", terms=(_term("q_ascent"),)),
    "policy_kl + q_ascent": _beside("q_ascent", 0.1),
    "policy_kl + value": _beside("value"),
    "joint": Arm(mode="student", terms=(_term("joint"),)),
    "policy_kl + latent": _beside("latent", 0.1),
    "policy_kl + similarity": _beside("similarity"),
    "policy_kl + saliency": _beside("saliency", 0.1),
    "policy_kl + time_attention": _beside("time_attention"),
    "policy_kl + robust": _beside("robust", 0.3, epsilon=_EPSILON, steps=3),
    "policy_kl + smoothness": _beside("smoothness", 0.1),
    "rl + value": Arm(mode="student", terms=(RL, OWN_VALUE), taught=False),
    "policy_kl + rl + value": Arm(mode="student", terms=(KL, RL, VALUE)),
}


def _concurrent(shared: int, pull: float) -> Arm:
    return Arm(
        mode="concurrent",
        terms=(KL, RL, VALUE),
        changes={
            "teacher_share": 0.75,
            "concurrent": ConcurrentConfig(shared_layers=shared, pull=pull),
        },
    )


# Modes, all with ``policy_kl`` alone but for the concurrent ones, whose teachers are still weak.
MODES: dict[str, Arm] = {
    "offline": Arm(mode="offline", terms=(KL,)),
    "teacher": Arm(mode="teacher", terms=(KL,)),
    "mixed": Arm(mode="mixed", terms=(KL,)),
    "aggregate": Arm(mode="aggregate", terms=(KL,)),
    "concurrent": _concurrent(0, 0.0),
    "concurrent pull": _concurrent(0, PULL),
    "concurrent shared head": _concurrent(1, 0.0),
    "concurrent shared head pull": _concurrent(1, PULL),
}
_CONCURRENT = tuple(name for name, arm in MODES.items() if arm.mode == "concurrent")
_STUDENTS = {
    "gru": StudentConfig(kind="gru", hidden=(64,), recurrent=32, activation="tanh"),
    "tcn": StudentConfig(kind="tcn", hidden=(64,), channels=(32, 32), activation="tanh"),
}
_ATTENTION = ("similarity", "saliency", "time_attention", "latent")
# A perceptron teaches students of another kind; ``policy_kl`` alone is what the others must beat.
ATTENTION: dict[str, Arm] = {
    f"{kind} {name}": TERMS[name]
    for kind in _STUDENTS
    for name in ("policy_kl", *(f"policy_kl + {term}" for term in _ATTENTION))
}
# Without one, a term's purpose would not show.
_MEASURED = ("policy_kl", "policy_kl + robust", "policy_kl + smoothness")


def runs(seeds: Sequence[int] = SEEDS) -> list[Run]:
    """Every arm, seed by seed."""
    every: list[Run] = []
    for seed in seeds:
        for task in TASKS:
            teacher, short = teacher_run(task, seed), short_teacher_run(task, seed)
            every.append(short)
            for name, arm in {**TERMS, **MODES, **ATTENTION}.items():
                every.append(
                    Run(
                        table=TABLE,
                        task=task,
                        arm=name,
                        seed=seed,
                        budget=STEPS,
                        execute=_distil,
                        needs=(short if arm.mode == "concurrent" else teacher,),
                    )
                )
    return every


def short_teacher_run(task: str, seed: int) -> Run:
    """The run that leaves a teacher with much to learn, as a learner that can go on."""
    return Run(
        table=TABLE, task=task, arm=SHORT, seed=seed, budget=STEPS, execute=_teach, keeps=True
    )


def _teach(run: Run, place: Place, log: Log) -> Made:
    config = gymnasium_ppo(
        run.task, "efficient", steps=place.steps(run.budget), hidden=_SHORT_HIDDEN
    )
    ppo, curve, figures = learn_ppo(run.task, config, run.seed, log, every=config.steps // 3)
    save_checkpoint(place.checkpoint(run), ppo.state_dict())
    final = final_returns(run.task, curve.actor)
    return Made(dataclasses.asdict(config), curve.points, final, figures)


def _distil(run: Run, place: Place, log: Log) -> Made:
    arm = {**TERMS, **MODES, **ATTENTION}[run.arm]
    [needed] = run.needs
    steps = place.steps(run.budget)
    config = StudentConfig(hidden=(64, 64), activation="tanh")
    if run.arm in ATTENTION:
        config = _STUDENTS[run.arm.split(" ")[0]]
    extra: dict[str, float] = {}
    taught: list[ActorTeacher] = []
    learner = None
    if arm.mode == "concurrent":
        ppo_config = gymnasium_ppo(run.task, "efficient", steps=steps, hidden=_SHORT_HIDDEN)
        learner = PPO(ppo_config, make_env(run.task, 1), run.seed)
        learner.load_state_dict(load_checkpoint(place.checkpoint(needed)))
        config = dataclasses.replace(config, activation=ppo_config.activation)
        taught = [ActorTeacher(learner.actor, learner.critic, frozen=False)]
    else:
        taught = [load_teacher(place, needed)]
    if "q_ascent" in run.arm:
        [teacher] = taught
        began, cpu = time.perf_counter(), time.process_time()
        critical = CriticTeacher(teacher, run.task, run.seed, min(1.0, steps / STEPS))
        taught, extra["critic_steps"] = [critical], critical.steps
        extra["seconds"] = time.perf_counter() - began
        extra["cpu_seconds"] = time.process_time() - cpu
    made = distil_arm(
        dataclasses.replace(arm, changes={**_LEARNING, **arm.changes}),
        run.task,
        taught,
        config,
        seed=run.seed,
        steps=steps,
        log=log,
        every=min(_EARLY, max(1, steps // 2)),
        learner=learner,
    )
    if learner is not None and made.learning is not None:
        extra["divergences"] = made.learning.divergences
        own = final_returns(run.task, actor_of(learner.actor))
        extra["own_teacher"] = sum(own) / len(own)
    if run.arm in _MEASURED:
        extra |= _measured(run, made, taught[0])
    for name in ("seconds", "cpu_seconds"):
        extra[name] = round(made.figures[name] + extra.get(name, 0.0), 2)
    return Made(made.settings, made.curve.points, made.final, {**made.figures, **extra})


def _measured(run: Run, made: Distilled, teacher: ActorTeacher) -> dict[str, float]:
    acts = actor_of(teacher.actor)
    return {
        "action_change": action_change(run.task, made.student),
        "noisy_return": return_under_noise(run.task, made.curve.actor, _NOISE, acts),
        "attacked_return": return_under_attack(run.task, made.student, _EPSILON),
    }


def claims(results: Path) -> list[Claim]:
    """That no concurrent run diverges: no update is taken back, no teacher spoilt, and no student
    ends below what it was.
    """
    every = read_results(results, TABLE)
    runs = [r for r in every if r.arm in _CONCURRENT]
    if not runs:
        return []
    total, spoilt = round(sum(r.figures["divergences"] for r in runs)), _spoilt(every)
    fallen = _fallen(every)
    groups = [
        [r for r in runs if (r.task, r.arm) == key] for key in itertools.product(TASKS, _CONCURRENT)
    ]
    return [
        Claim(
            what=f"{len(runs)} concurrent runs: updates taken back, teachers spoilt, students lost",
            wanted="none",
            found=f"{total}, {_counted(spoilt)}, {_counted(fallen)}",
            met=verdict(not (total or spoilt or fallen), runs, SEEDS, *groups),
            why=_WHY_SPOILT if spoilt else _why_fallen(every) if fallen else "",
        )
    ]


_WHY_SPOILT = (
    "nothing that the student learns moves its teacher but the pull, where there is one: what "
    "spoilt these were their own updates or the pull"
)


def _why_fallen(every: Sequence[Result]) -> str:
    """How often that is so where no teacher learns."""
    others = [r for r in every if r.arm not in (*_CONCURRENT, SHORT)]
    fallen = sum(map(_has_fallen, others))
    return (
        "it ended below what it was at one of five points before, with its teacher unharmed: so "
        f"do {fallen} of the {len(others)} runs of this table whose teachers stand still, so that "
        "it tells of students that are still learning rather than of teachers that learn"
    )


def _counted(named: Sequence[str]) -> str:
    return f"{len(named)} ({', '.join(named)})" if named else "0"


def _fallen(every: Sequence[Result]) -> list[str]:
    """Concurrent runs whose student ended below ``_KEPT`` of the best point of its curve."""
    return [
        f"`{r.arm}` {r.task} s{r.seed}" for r in every if r.arm in _CONCURRENT and _has_fallen(r)
    ]


def _has_fallen(result: Result) -> bool:
    return result.mean_return < _KEPT * max(point.mean_return for point in result.curve)


def _spoilt(every: Sequence[Result]) -> list[str]:
    """Concurrent runs whose teacher ended below ``_KEPT`` of where it began."""
    begun = {(r.task, r.seed): r.mean_return for r in every if r.arm == SHORT}
    return [
        f"`{r.arm}` {r.task} s{r.seed}"
        for r in every
        if r.arm in _CONCURRENT
        and (r.task, r.seed) in begun
        and r.figures["own_teacher"] < _KEPT * begun[r.task, r.seed]
    ]


def report(results: Path, figures: Path) -> str:
    """The section of the documentation."""
    every = read_results(results, TABLE)
    if not every:
        return ""
    taught = read_results(results, TEACHERS)
    parts = ["## Terms and modes", paragraph(_WHAT), _costs(every, taught, TERMS), paragraph(_Q)]
    parts += ["### Modes", paragraph(_HOW), _costs(every, taught, (SHORT, *MODES))]
    parts += [_divergences(every)]
    parts += ["### Attention", paragraph(_WHY), _costs(every, taught, ATTENTION)]
    parts += ["### Smooth and robust", paragraph(_PURPOSE), _purposes(every)]
    return "\n\n".join([*filter(None, parts), settings_note(every)])


_WHAT = (
    "Students of 64-64 from the shared teachers of 256-256, in mode `student` but where said, by "
    "3 epochs of 4 minibatches per 2048 steps. Terms that are no objective by themselves stand "
    "beside `policy_kl` and are to be compared with it. Return of 50 held-out deterministic "
    "episodes; S/T is paired by seed, once early, for who was quick, and once at the end. The "
    "last column is the paired ratio of returns to `policy_kl` alone: an interval that holds 1 "
    "shows no difference, which is not to say that there is none. A full round has 10 seeds, 2 M "
    "steps and 10 epochs of 8 minibatches, about 60 times the work of 3 seeds and 0.3 M."
)
_Q = (
    "`q` belongs to discrete actions and has a table of its own, of Q-values. `q_ascent` climbs "
    f"a critic Q(s, a) that was fitted to the shared teacher by Sarsa on {CRITIC_TICKS} ticks of "
    f"{CRITIC_ENVS} environments of its own, noise included: these steps are in the column. "
    "`proximal`, `corrected` and `rl` learn from the student's reward too; the steps of `rl + "
    "value` are PPO's of the same network without a teacher, but for the normaliser that all "
    "students here begin behind."
)
_HOW = (
    "All with `policy_kl` alone, so that `student` is the first row above. `offline` learns from "
    "a data set of as many steps of the teacher's, with its distributions. Concurrent teachers "
    "go on from a `short teacher` of 256-64 with as many steps as theirs, drive 75 % of the "
    "environments, and their students add their own reward; S/T is still the ratio to the shared "
    "teachers. A pull (0.01) keeps a teacher near what its student can do, which is for students "
    "that see less than it; here both see the same."
)
_WHY = (
    "The teacher is a perceptron, the student a GRU (64, 32 units) or a TCN (32-32, 64): layers "
    "have other widths and other meanings, which is what attention terms are for."
)
_PURPOSE = (
    "What `smoothness` and `robust` are for, on 20 held-out episodes: mean change of the action "
    f"per tick, return with noise on every observation of {_NOISE} of its deviation while the "
    f"teacher acts, and return under the attack `mad` of {_EPSILON} in normalised units."
)


def _costs(every: Sequence[Result], taught: Sequence[Result], arms: Sequence[str] | Any) -> str:
    rows = []
    for task in TASKS:
        here = [result for result in every if result.task == task]
        teachers = [result for result in taught if result.task == task]
        for arm in arms:
            group = [result for result in here if result.arm == arm]
            if not group:
                continue
            plain = f"{arm.split(' ')[0]} policy_kl" if arm in ATTENTION else "policy_kl"
            against = [result for result in here if result.arm == plain]
            rows.append(
                [
                    task,
                    f"`{arm}`",
                    *cost_cells(group),
                    "" if arm == SHORT else ratio_over_seeds(list(map(_early, group)), teachers),
                    interval_over_seeds(group),
                    ratio_over_seeds(group, teachers),
                    "" if arm == plain else ratio_over_seeds(group, against),
                ]
            )
    header = ["task", "row", *COSTS, f"S/T at {_EARLY / 1e6:g} M steps", "return"]
    return markdown_table([*header, "S/T", "to `policy_kl` of the same student"], rows)


def _early(result: Result) -> Result:
    """A run as it stood at the first point of its curve."""
    return dataclasses.replace(result, final=[result.curve[0].mean_return])


def _divergences(every: Sequence[Result]) -> str:
    rows, total, count = [], 0, 0
    for task in TASKS:
        short = [r for r in every if (r.task, r.arm) == (task, SHORT)]
        for arm in _CONCURRENT:
            group = [r for r in every if (r.task, r.arm) == (task, arm)]
            if not group:
                continue
            diverged = [round(r.figures["divergences"]) for r in group]
            total, count = total + sum(diverged), count + len(group)
            own = [r.mean_return / r.figures["own_teacher"] for r in group]
            rows.append(
                [
                    task,
                    f"`{arm}`",
                    " ".join(map(str, diverged)),
                    interval_over_seeds(short),
                    mean_figure(group, "own_teacher"),
                    f"{min(own):.3f} to {max(own):.3f}",
                ]
            )
    if not rows:
        return ""
    spoilt, fallen = _spoilt(every), _fallen(every)
    met = "not met" if total or spoilt or fallen else "met"
    said = (
        f"Updates that left the student more than ten times as far from its teacher as usual, and "
        f"were taken back: {total} in {count} concurrent runs; teachers that ended below {_KEPT:g} "
        f"of what they began with: {len(spoilt)}; students that ended below {_KEPT:g} of the best "
        f"point of their curve: {len(fallen)}; wanted is that none diverges, which is to be "
        f"none of the three: {met}."
    )
    header = ["task", "row", "divergences by seed", "teacher before", "teacher after"]
    return f"{paragraph(said)}\n\n" + markdown_table([*header, "student / its own teacher"], rows)


def _purposes(every: Sequence[Result]) -> str:
    rows = []
    for task in TASKS:
        for arm in _MEASURED:
            group = [r for r in every if (r.task, r.arm) == (task, arm)]
            if group:
                changes = [r.figures["action_change"] for r in group]
                rows.append(
                    [
                        task,
                        f"`{arm}`",
                        interval_over_seeds(group),
                        f"{sum(changes) / len(changes):.3f}",
                        mean_figure(group, "noisy_return"),
                        mean_figure(group, "attacked_return"),
                    ]
                )
    header = ["task", "row", "return", "action change", "return with noise", "return under attack"]
    return markdown_table(header, rows) if rows else ""
