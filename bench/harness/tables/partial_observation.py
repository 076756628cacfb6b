"""Partial observation (C): students without velocities, and with noise, from teachers with all.

After RMA (Kumar et al. 2021), whose student closes 0.89 of the gap between a policy that learns by
itself from what the student sees and the teacher.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from retort.distill.evaluation import actor_of
from retort.distill.evaluation.statistics import Interval, bootstrap, interquartile_mean
from retort.distill.evaluation.sweeps import noise_sweep
from retort.distill.sources.rollout import Actor
from retort.distill.students import Student, StudentConfig
from retort.distill.teachers import ActorTeacher
from retort.distill.terms import TermConfig
from retort.sim.gymnasium_tasks import GymnasiumTaskEnv, StudentView

from ..claims import Claim
from ..distilling import ARMS, OWN_VALUE, RL, Arm, distil_arm, first_std, let_go
from ..report import (
    COSTS,
    cost_cells,
    interval_over_seeds,
    markdown_table,
    mean_figure,
    paired_difference,
    paragraph,
    ratio_over_seeds,
    said,
    settings_note,
    shown_by_interval,
    verdict,
)
from ..results import Result, read_results
from ..runs import Log, Made, Place, Run
from ..teaching import TABLE as TEACHERS
from ..teaching import load_teacher, teacher_run
from ..training import FINAL_EPISODES, FINAL_SEED, make_env
from ..windows import windowed

TABLE = "partial-observation"
SEEDS = (1, 2, 3)
TASKS = ("HalfCheetah", "Hopper")
NOISE = (0.0, 0.1, 0.2, 0.3)
# On a tuning seed, noise 0.1, a student of HalfCheetah came to 0.75 of its teacher in 0.2 M steps
# and to 0.90 in 0.6 M. Hopper is sampled 125 times a second, HalfCheetah 20 times: a speed takes
# more frames to be seen through the noise.
STEPS = {"HalfCheetah": 600_000, "Hopper": 400_000}
FRAMES = {"HalfCheetah": 8, "Hopper": 32}  # that a student sees of the past
CLOSURE = 0.89
_POINTS = 5  # on a curve
_WANTED = {
    0.0: "not below dagger and asymmetric PPO",
    0.1: f"closure {CLOSURE}",
    0.2: "above both",
    0.3: "above both",
}
_KL_END = 0.1
# On a tuning seed, noise 0.2, HalfCheetah came to 0.69 of its teacher by its own reward and to 0.51
# by copying longer. Hopper falls: let go, it came to 0.32, copying as in the other tables to 0.57
# to 0.61 and by `dagger` to 0.58 and 0.59, with its own reward beside the KL from the start to 0.69
# twice.
_OURS = {
    "HalfCheetah": let_go(first_std("HalfCheetah")),
    "Hopper": Arm(
        mode="student",
        terms=(
            TermConfig(name="policy_kl", weight=1.0, end=_KL_END, schedule="linear"),
            RL,
            OWN_VALUE,
        ),
    ),
}
# Of PPO without a teacher. On a tuning seed, noise 0, it came so to 4289 on HalfCheetah and 2081 on
# Hopper; with ``ours``' rate of 1e-3 and unit of values to 1654 and 979, with either alone to 3608
# (this rate) on HalfCheetah, 744 and 668 on Hopper; with half this rate to 3872 on HalfCheetah.
_PPO = {"learning_rate": 3e-4, "reward_scale": "return"}
# With which ``dagger`` acts. On a tuning seed, noise 0.2, it came so to 1019 and 1379, with 0.3, as
# elsewhere, to 838 and 1084.
_DAGGER_STD = 0.1
STUDENT_ARMS = ("ours", "dagger", "asymmetric-ppo", "ppo")


def student_arm(name: str, task: str) -> Arm:
    """One way to make a student that sees less than its teacher."""
    if name == "ours":
        return _OURS[task]
    if name == "dagger":
        return ARMS[name]
    # Of the first the critic sees everything (Pinto et al. 2018); of P no more than the actor.
    return Arm(mode="student", terms=(RL, OWN_VALUE), taught=False, changes=_PPO)


def runs(seeds: Sequence[int] = SEEDS) -> list[Run]:
    """Every arm at every noise, seed by seed."""
    return [
        Run(
            table=TABLE,
            task=task,
            arm=f"{arm} {noise:g}",
            seed=seed,
            budget=STEPS[task],
            execute=_distil,
            needs=(teacher_run(task, seed),),
        )
        for seed in seeds
        for noise in NOISE
        for task in TASKS
        for arm in STUDENT_ARMS
    ]


def student_view(teacher: ActorTeacher, noise: float) -> StudentView:
    """No velocities, noise in deviations of what the teacher has seen in its training, and what the
    student itself did last, as RMA's student sees it.
    """
    std = tuple(teacher.actor.normaliser.std.tolist())
    return StudentView(mask=("velocities",), noise=noise, std=std, last_action=True)


def student_config(arm: str, task: str) -> StudentConfig:
    """One convolution over the last frames, which is a perceptron on a window of history.

    Whitened, since speeds are to be told from positions. Those that no teacher's deviation is held
    before, or not for long, begin with PPO's.
    """
    config = StudentConfig(
        kind="tcn",
        channels=(128,),
        kernel=FRAMES[task],
        hidden=(64,),
        activation="tanh",
        whiten=True,
    )
    if arm == "dagger":
        return dataclasses.replace(config, initial_std=_DAGGER_STD)
    chosen = student_arm(arm, task)
    alone = not chosen.taught or "std_floor" in chosen.changes
    return dataclasses.replace(config, initial_std=first_std(task)) if alone else config


def _distil(run: Run, place: Place, log: Log) -> Made:
    arm, noise = run.arm.split(" ")
    [needed] = run.needs
    teacher, steps = load_teacher(place, needed), place.steps(run.budget)
    view = student_view(teacher, float(noise))
    made = distil_arm(
        student_arm(arm, run.task),
        run.task,
        [teacher],
        student_config(arm, run.task),
        seed=run.seed,
        steps=steps,
        log=log,
        every=max(1, steps // _POINTS),
        view=view,
        around=(lambda env: windowed(env, FRAMES[run.task])) if arm == "ppo" else None,
    )
    figures = dict(made.figures)
    if arm == "ours" and view.noise == 0.0:
        figures |= _under_noise(run.task, teacher, made.student)
    return Made(made.settings, made.curve.points, made.final, figures)


def _under_noise(task: str, teacher: ActorTeacher, student: Student) -> dict[str, float]:
    """Returns of teacher and student under noise neither has met, in the unit of the others'."""
    found = {}
    view = student_view(teacher, 0.0)
    env = make_env(task, FINAL_EPISODES, autoreset=False, view=view)
    assert isinstance(env, GymnasiumTaskEnv)
    whole = teacher.actor.normaliser.std.numpy()
    seen = whole[view.columns(env.task.parts(env.simulations.model))]
    seen = np.pad(seen, (0, env.groups["student"] - len(seen)))  # what it did itself it knows
    policies: dict[str, tuple[Actor, dict[str, np.ndarray]]] = {
        "teacher": (actor_of(teacher.actor), {"teacher": whole}),
        "student": (actor_of(student), {"student": seen}),
    }
    for name, (actor, deviation) in policies.items():
        sweep = noise_sweep(env, {name: actor}, deviation, FINAL_SEED, levels=NOISE)
        for trial in sweep.trials:
            found[f"{name}_at_{trial.strength:g}"] = round(trial.returns.value, 2)
    return found


# By ``observation_deviation`` over 200 ticks of 20 environments, of the teachers of seeds 1 to 3.
_UNIT = (
    "The unit is what the teacher's normaliser has met over all of its training, falls and first "
    "attempts among it. While it acts now, it sees less of some: on HalfCheetah the unit is 4 to "
    "10 times the deviation of the torso's angle then (9 on seed 1), so that noise of 0.1 is up to "
    "as large as all that is to be seen of it, 2 to 3 times that of its height, and 0.8 to 1.2 "
    "times that of the joints; on Hopper it is 0.35 to 1.5 times."
)
_WHY = {  # by task and noise
    ("HalfCheetah", 0.1): "on a tuning seed `ours` came to 0.74 of the teacher and no change that "
    "was tried came near all of it: without the last action 0.83, without `whiten` either 0.82, KL "
    "kept at a tenth 0.80, 16 frames or episodes of 200 ticks 0.79, `ours` of the other tables "
    "0.77, 2 M steps 0.73; 38 of 50 episodes earn more than 0.75 of what the teacher does, but 8 "
    "less than 0.4",
    ("Hopper", 0.1): "no way of learning that was tried came near on a tuning seed: `ours` to 0.77 "
    "of the teacher, `dagger` to 0.68 (0.70 with 2.5 times the steps), `ours` of the other tables "
    "to 0.63 (0.71), the student's own reward to 0.56, PPO without a teacher to 0.18",
}


def claims(results: Path) -> list[Claim]:
    """Of ``ours`` at every noise."""
    every, taught = read_results(results, TABLE), read_results(results, TEACHERS)
    made = []
    for task in TASKS:
        teachers = [result for result in taught if result.task == task]
        for noise in NOISE:
            groups = {arm: _group(every, task, arm, noise) for arm in STUDENT_ARMS}
            closed = _closure(groups["ours"], groups["ppo"], teachers)
            if not (met := _met(noise, closed, groups)):
                continue
            compared = {arm: group for arm, group in groups.items() if group and arm != "ppo"}
            common = set.intersection(*({r.seed for r in g} for g in compared.values()))
            means = {
                arm: f"{np.mean([r.mean_return for r in group if r.seed in common]):.0f}"
                for arm, group in compared.items()
                if common
            }
            found = ", ".join(f"{arm} {value}" for arm, value in means.items())
            if any({r.seed for r in group} != common for group in compared.values()):
                found += f" (seeds {', '.join(map(str, sorted(common)))}, which all have)"
            made.append(
                Claim(
                    what=f"{task}, noise {noise:g}",
                    wanted=_WANTED[noise],
                    found=said(closed, 2) if noise == 0.1 and closed else found,
                    met=met,
                    why=_WHY.get((task, noise), ""),
                )
            )
    return made


def report(results: Path, figures: Path) -> str:
    """The section of the documentation, and its figure."""
    every = read_results(results, TABLE)
    if not every:
        return ""
    taught = read_results(results, TEACHERS)
    rows, untrained = [], []
    for task in TASKS:
        teachers = [result for result in taught if result.task == task]
        for noise in NOISE:
            groups = {arm: _group(every, task, arm, noise) for arm in STUDENT_ARMS}
            for arm, group in groups.items():
                if group:
                    closed = _closure(group, groups["ppo"], teachers)
                    met = _met(noise, closed, groups) if arm == "ours" else ""
                    rows.append([task, f"{noise:g}", *_row(arm, group, teachers, closed), met])
        untrained += _untrained(task, _group(every, task, "ours", 0.0))
    header = ["task", "noise", "arm", *COSTS, "return", "S/T", "closure", "met"]
    parts = [
        "## Partial observation",
        paragraph(
            "The student sees no velocities, the rest with Gaussian noise in units of each "
            "observation's standard deviation in the teacher's training, and its own last action; "
            "teachers and every critic but that of `ppo` see everything. All students are one "
            "convolution over the last "
            f"frames ({', '.join(f'{n} on {task}' for task, n in FRAMES.items())}; 128 wide), a "
            "layer of 64 and the head, which is a perceptron on a window of history, and learn "
            "with `whiten`, as the critic of `ppo` does. `ours` learns from the "
            "student's own reward from the start; its KL is gone after 30 % of the steps on "
            f"HalfCheetah and falls to {_KL_END:g} over all steps on Hopper. `dagger` regresses "
            "on the teacher's mean and keeps 50 batches, as in the table of compression (on a "
            "tuning seed of Hopper's, noise 0.2, all of them made 0.57 of the teacher, 50 made "
            "0.58 and 0.59); `asymmetric-ppo` is "
            "PPO with the student as actor and a critic that sees everything (Pinto et al. 2018); "
            "`ppo` (P) has a critic that sees the student's window and no more. Both have no "
            "teacher but begin behind the normaliser of one, as all students here do, and learn "
            "as those do: PPO's loss by the distiller, a critic of 256-256, tanh, 10 epochs of 8 "
            "minibatches of whole environments, and otherwise the settings `efficient` of PPO's "
            f"table, but for what made them better on a tuning seed: a learning rate of "
            f"{_PPO['learning_rate']:g}, a third of the others', and values in units of the "
            f"return's deviation. `dagger` acts with noise of {_DAGGER_STD:g} for the same reason. "
            "Closure is (S - P)/(T - P), paired "
            "by seed; RMA (Kumar et al. 2021) reaches 0.89. Return of "
            "50 held-out deterministic episodes under that noise."
        ),
        paragraph(_UNIT),
        paragraph(
            "Wanted of `ours`: at noise 0 not worse than `dagger` and `asymmetric-ppo` (met if "
            "neither interval of the paired differences is wholly below zero), at 0.1 a closure of "
            f"at least {CLOSURE}, at 0.2 and above better than both (yes if both intervals are "
            "wholly above zero, not shown if only the middles are)."
        ),
        markdown_table(header, rows),
        paragraph(
            "Interquartile means over the seeds that each arm has, and from the lowest to the "
            "highest of them; noise in the unit of the table."
        ),
        f"![Return against noise]({_plot(every, taught, figures / 'partial-observation.svg')})",
    ]
    if untrained:
        parts += [
            paragraph(
                "What noise costs policies that have never met it, by `sweeps.noise_sweep` in the "
                "unit of the table above: the teacher, which sees velocities too, and the student "
                "`ours` of noise 0. `retort eval --noise` has another unit, the deviation while "
                "the teacher acts. Mean returns over seeds."
            ),
            markdown_table(["task", "policy", *(f"noise {n:g}" for n in NOISE)], untrained),
        ]
    return "\n\n".join([*parts, settings_note(every)])


def _group(every: Sequence[Result], task: str, arm: str, noise: float) -> list[Result]:
    return [r for r in every if (r.task, r.arm) == (task, f"{arm} {noise:g}")]


def _row(
    arm: str, group: Sequence[Result], teachers: Sequence[Result], closed: Interval | None
) -> list[str | int]:
    return [
        arm,
        *cost_cells(group),
        interval_over_seeds(group),
        ratio_over_seeds(group, teachers),
        "" if closed is None or arm == "ppo" else said(closed, 2),
    ]


def _closure(
    ours: Sequence[Result], alone: Sequence[Result], teachers: Sequence[Result]
) -> Interval | None:
    """(S - P)/(T - P) over the seeds that have all three; None without any."""
    p, t = ({r.seed: r.mean_return for r in group} for group in (alone, teachers))
    closed = [
        [(r.mean_return - p[r.seed]) / (t[r.seed] - p[r.seed])]
        for r in ours
        if r.seed in p and r.seed in t and t[r.seed] > p[r.seed]
    ]
    if not closed:
        return None
    return bootstrap(interquartile_mean, np.array(closed), np.random.default_rng(0))


def _met(noise: float, closed: Interval | None, groups: dict[str, list[Result]]) -> str:
    """Whether ``ours`` is what is wanted of it at this noise; empty where it cannot be said."""
    ours = groups["ours"]
    if noise == 0.1:
        return "" if closed is None else verdict(closed.value >= CLOSURE, ours, SEEDS)
    peers = [groups[arm] for arm in ("dagger", "asymmetric-ppo")]
    others = [found for peer in peers if (found := paired_difference(ours, peer)) is not None]
    if len(others) < 2:
        return ""
    if noise == 0.0:
        kept = all(found.high >= 0.0 for found in others)
        return shown_by_interval(kept, kept, ours, SEEDS, *peers)
    middle, whole = (
        all(end > 0.0 for end in ends)
        for ends in zip(*((found.value, found.low) for found in others), strict=True)
    )
    return shown_by_interval(middle, whole, ours, SEEDS, *peers)


def _untrained(task: str, group: Sequence[Result]) -> list[list[str]]:
    return [
        [task, name, *(mean_figure(group, f"{name}_at_{noise:g}") for noise in NOISE)]
        for name in ("teacher", "student")
        if any(f"{name}_at_0" in result.figures for result in group)
    ]


def _plot(every: Sequence[Result], taught: Sequence[Result], path: Path) -> str:
    """Interquartile mean of returns against noise and the range of seeds, a line per arm."""
    tasks = [task for task in TASKS if any(r.task == task for r in every)]
    size = (4.5 * len(tasks), 3)
    drawn, axes = plt.subplots(1, len(tasks), figsize=size, squeeze=False, layout="constrained")
    for axis, task in zip(axes[0], tasks, strict=True):
        teachers = [r.mean_return for r in taught if r.task == task]
        if teachers:
            axis.axhline(
                interquartile_mean(np.array(teachers)[:, None]),
                color="black",
                linestyle=":",
                label="teacher, seeing all",
            )
        for arm in STUDENT_ARMS:
            found = {n: _group(every, task, arm, n) for n in NOISE}
            returns = {n: [r.mean_return for r in group] for n, group in found.items() if group}
            if returns:
                middle = [interquartile_mean(np.array(some)[:, None]) for some in returns.values()]
                [line] = axis.plot(list(returns), middle, marker="o", label=arm)
                low, high = (list(map(end, returns.values())) for end in (min, max))
                axis.fill_between(list(returns), low, high, color=line.get_color(), alpha=0.15)
        axis.set(title=task, xlabel="noise [standard deviations]", xticks=NOISE)
        axis.set_ylim(bottom=0.0)
        axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel("return")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    drawn.legend(handles, labels, fontsize=8, loc="outside lower center", ncols=5)
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn.savefig(path, metadata={"Date": None})
    plt.close(drawn)
    return f"{path.parent.name}/{path.name}"
