"""``retort eval``: one run level by level and through sweeps, or several runs side by side."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from ..distill.evaluation import Reuse, actor_of
from ..distill.evaluation.forgetting import Forgetting, forgetting_of_run, snapshots_of_run
from ..distill.evaluation.outcomes import Outcomes, outcomes_of_run, outcomes_path
from ..distill.evaluation.sweeps import Sweep, attack_sweep, noise_sweep, observation_deviation
from ..distill.evaluation.target import learn_target
from ..distill.stages.finished import load_student, load_teacher
from . import train
from .compare import OUT, CompareError, compare_runs
from .files import at_work, write_whole
from .recipe import Recipe
from .results import SWEEPS
from .stages import Ledger

_WATCHED = 64  # environments that an attacker, or the unit of noise, is learnt in
EPSILONS = (0.05, 0.1)  # of attacks, if nothing else is said


def act(options: argparse.Namespace) -> int:
    """Do what was asked for; returns the exit code."""
    asked = [name for name in SWEEPS if getattr(options, name)]
    if options.epsilon is not None and not options.attack:
        raise CompareError("--epsilon is how far --attack goes; add that, or leave it out")
    if options.others:
        if asked or options.set:
            raise CompareError(
                "--noise, --attack, --forgetting and --set are for one run; give one run, or "
                "leave them out to compare several"
            )
        folders = [Path(options.recipe), *options.others]
        compare_runs(folders, OUT if options.out is None else options.out, fresh=options.fresh)
        return 0
    recipe = train.chosen_recipe(options)
    folder = train.run_folder(recipe, options)
    if options.forgetting and Ledger(folder, recipe).complete("distill"):
        snapshots_of_run(recipe, folder)  # known before anything is measured
    if options.fresh:  # all at once: what was interrupted goes on without --fresh
        for name in asked:
            outcomes_path(folder, name).unlink(missing_ok=True)
    code = train.act(options)
    for name in asked:
        with at_work(folder):
            outcomes = outcomes_of_run(recipe, folder, name)
            epsilons = options.epsilon or EPSILONS
            _write(name, _measured(name, recipe, folder, epsilons, outcomes), outcomes.of, folder)
            Ledger(folder, recipe).note("eval", name, outcomes.of)  # for the report
    return code


def _measured(
    name: str, recipe: Recipe, folder: Path, epsilons: tuple[float, ...], outcomes: Outcomes
) -> Sweep | Forgetting:
    with train.progress_bar(name) as report:

        def progress(done: int, total: int) -> None:
            report({"done": done, "total": total})

        if name == "noise":
            return noise(recipe, folder, progress, outcomes)
        if name == "attack":
            return attack(recipe, folder, epsilons, progress, outcomes)
        return forgetting_of_run(recipe, folder, progress=progress, reuse=outcomes)


def noise(
    recipe: Recipe, folder: Path, progress: Callable[[int, int], None], reuse: Reuse
) -> Sweep:
    """Teacher and student of a finished run under observation noise, at the hardest level.

    Noise is in deviations of what each of them sees while the teacher acts.
    """
    config = recipe.evaluation
    teacher = actor_of(load_teacher(recipe, folder).actor)
    student = actor_of(load_student(recipe, folder))
    watched = recipe.world.make_env(_WATCHED, episode_seconds=config.seconds)
    deviation = observation_deviation(watched, teacher, config.seed + 2)
    env = recipe.world.make_env(config.episodes, episode_seconds=config.seconds, autoreset=False)
    actors = {"teacher": teacher, "student": student}
    seed = config.seed + 3
    return noise_sweep(env, actors, deviation, seed, progress=progress, reuse=reuse)


def attack(
    recipe: Recipe,
    folder: Path,
    epsilons: tuple[float, ...],
    progress: Callable[[int, int], None],
    reuse: Reuse,
) -> Sweep:
    """Teacher and student of a finished run under every attack, at the hardest level."""
    config = recipe.evaluation
    watched = recipe.world.make_env(_WATCHED, episode_seconds=config.seconds)
    policies = {
        "teacher": load_teacher(recipe, folder).actor,
        "student": load_student(recipe, folder),
    }
    targets = {
        name: learn_target(watched, policy, recipe.teacher.gamma, config.seed + 2)
        for name, policy in policies.items()
    }
    env = recipe.world.make_env(config.episodes, episode_seconds=config.seconds, autoreset=False)
    seed = config.seed + 3
    return attack_sweep(env, targets, epsilons, seed, progress=progress, reuse=reuse)


def _write(name: str, result: Sweep | Forgetting, of: str, folder: Path) -> None:
    """``of``: a digest of all that it depends on, to tell it from that of an earlier student."""
    data = {"of": of, **result.to_json()}
    write_whole(folder / f"{name}.json", json.dumps(data, indent=1) + "\n")
    for line in _summary(result):
        print(line)
    from . import evaluation_plots as plots  # what was measured is written without it

    path = folder / f"{name}.svg"
    if isinstance(result, Sweep):
        plots.draw_sweep(result, path)
    else:
        plots.draw_forgetting(result, path)
    print(f"{name}: made {folder / f'{name}.json'} and {path}")


def _summary(result: Sweep | Forgetting) -> list[str]:
    if isinstance(result, Forgetting):
        if result.worst is None:
            return ["forgetting: no level was ever scored on"]
        level, share = result.worst
        said = f"{share.value:.1%} ({share.low:.1%} to {share.high:.1%})"
        return [f"most forgotten: {said} of the best score at difficulty {level:g}"]
    lines = []
    for policy in result.policies:
        for trial in result.at_worst(policy):
            kept = "" if trial.kept is None else f", {trial.kept.value:.1%} of its clean return"
            change = (
                trial.change if trial.change == "none" else f"{trial.change} {trial.strength:g}"
            )
            lines.append(f"{policy:8} {change:15} score {trial.score.value:.3f}{kept}")
    return lines
