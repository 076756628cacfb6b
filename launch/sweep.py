"""``retort sweep``: the same recipe with teachers of several sizes, one run folder each."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..hardware.errors import RetortError
from .files import at_work, write_whole

if TYPE_CHECKING:
    from ..distill.evaluation.statistics import Interval
    from .recipe import Recipe


class SweepRunError(RetortError):
    """A run of a sweep left no evaluation that could be read."""


@dataclasses.dataclass(frozen=True)
class SizeResult:
    """What a teacher of one size returned, and the student distilled from it."""

    size: int  # units in each of the teacher's hidden layers
    folder: str
    teacher: Interval  # score at the hardest level
    student: Interval
    ratio: Interval | None  # student / teacher; None where that is undefined
    teacher_parameters: int
    student_parameters: int


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    sweep = verbs.add_parser(
        "sweep",
        help="student against the size of its teacher",
        description="Train a teacher of each size and distil the recipe's student from it: the "
        "biggest teacher is not always the one to learn most from. Every size has a run folder "
        "of its own under the out folder; what is complete there is not done again, so that an "
        "interrupted sweep goes on.",
    )
    sweep.add_argument("recipe", help="a recipe's name, a .toml file, or an earlier run's folder")
    sweep.add_argument(
        "--teacher-sizes",
        type=sizes,
        required=True,
        metavar="N,N",
        help="units in each of the teacher's hidden layers, such as 32,64,128,256",
    )
    sweep.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY.SUB=VALUE",
        help="change one value of the recipe, written as in TOML; may be given several times",
    )
    sweep.add_argument("--out", type=Path, metavar="FOLDER", help="default: runs/NAME-sizes")
    sweep.add_argument("--fresh", action="store_true", help="start over instead of resuming")
    sweep.set_defaults(act=_act)


def sizes(text: str) -> tuple[int, ...]:
    """The sizes in ``32,64``, each once, rising; for the command line."""
    try:
        values = {int(part) for part in text.split(",")}
    except ValueError:
        values = {0}
    if min(values) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of sizes, such as 32,64")
    return tuple(sorted(values))


def sweep_sizes(
    recipe: Recipe, chosen: Sequence[int], out: Path, *, fresh: bool = False
) -> list[SizeResult]:
    """Do all stages for each size unless they are complete; keeps ``sweep.json`` up to date.

    Args:
        recipe: its teacher's hidden layers are all given the size; their number stays.
        chosen: sizes.
        out: gets a run folder ``teacher-SIZE`` for each.
        fresh: start every size over.

    Raises:
        RetortError: the recipe cannot be with a teacher of one of the sizes, and then nothing has
            begun; or a stage failed, and what was made before it stays.
    """
    from ..distill.stages.rehearsal import rehearse
    from .stages import stages_of
    from .train import do_stage

    for size in chosen:  # before the first of them trains
        rehearse(with_teacher_size(recipe, size))
    results = []
    for size in chosen:
        folder = out / f"teacher-{size}"
        print(f"teacher of {' x '.join(str(w) for w in _widths(recipe, size))}: {folder}")
        with at_work(folder):
            for stage in stages_of(recipe):
                if stage != "run":
                    do_stage(stage, with_teacher_size(recipe, size), folder, fresh=fresh)
        results.append(read_result(size, folder))
        rows = [dataclasses.asdict(result) for result in results]
        write_whole(out / "sweep.json", json.dumps({"sizes": rows}, indent=1) + "\n")
    return results


def with_teacher_size(recipe: Recipe, size: int) -> Recipe:
    """The recipe with every hidden layer of its teacher of ``size`` units."""
    teacher = dataclasses.replace(recipe.teacher, hidden=_widths(recipe, size))
    return dataclasses.replace(recipe, teacher=teacher)


def read_result(size: int, folder: Path) -> SizeResult:
    """What the evaluation in a run folder says of its hardest level.

    Raises:
        SweepRunError: there is none, or it is damaged.
    """
    from ..distill.evaluation.statistics import Interval

    path = folder / "evaluation.json"
    try:
        data = json.loads(path.read_text())
        hardest, parameters = data["hardest"], data["parameters"]
        teacher, student = (
            Interval(*(float(hardest[who][f"score{end}"]) for end in ("", "_low", "_high")))
            for who in ("teacher", "student")
        )
        return SizeResult(
            size=size,
            folder=str(folder),
            teacher=teacher,
            student=student,
            ratio=None if hardest["ratio"] is None else Interval(**hardest["ratio"]),
            teacher_parameters=int(parameters["teacher_actor"]),
            student_parameters=int(parameters["student"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SweepRunError(
            f"{path} cannot be read ({error!r}); `retort eval {shlex.quote(str(folder))} --fresh` "
            "makes it again"
        ) from error


def table(results: Sequence[SizeResult]) -> list[str]:
    """The sweep in 80 columns."""
    lines = [
        f"{'size':>6}{'parameters':>12}{'teacher (95 %)':>24}{'student (95 %)':>24}{'S/T':>10}"
    ]
    for result in results:
        teacher, student = (
            f"{row.value:.3f} [{row.low:.3f}, {row.high:.3f}]"
            for row in (result.teacher, result.student)
        )
        ratio = "undefined" if result.ratio is None else f"{result.ratio.value:.3f}"
        lines.append(
            f"{result.size:>6}{result.teacher_parameters:>12,}{teacher:>24}{student:>24}{ratio:>10}"
        )
    return lines


def _widths(recipe: Recipe, size: int) -> tuple[int, ...]:
    return (size,) * max(len(recipe.teacher.hidden), 1)


def _act(options: argparse.Namespace) -> int:
    from .recipe import load_recipe

    recipe = load_recipe(options.recipe, options.set)
    recipe.check()  # before anything begins
    out = options.out or Path("runs") / f"{recipe.name}-sizes"
    results = sweep_sizes(recipe, options.teacher_sizes, out, fresh=options.fresh)
    for line in table(results):
        print(line)
    best = max(results, key=lambda result: result.student.value)
    print(f"best student: from the teacher of {best.size}, in {best.folder}")
    from .evaluation_plots import draw_sizes  # what was measured is written without it

    draw_sizes(
        [result.size for result in results],
        [result.teacher for result in results],
        [result.student for result in results],
        out / "sweep.svg",
    )
    print(f"sweep: made {out / 'sweep.json'} and {out / 'sweep.svg'}")
    return 0
