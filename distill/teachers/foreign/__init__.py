"""Teachers that are not ours, by the file they stand in.

A new kind is one file with a ``ForeignTeacher``, and one line in KINDS.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ....hardware.parsing import parse
from ....sim.interface import LearningEnv
from .base import ForeignTeacher, ForeignTeacherError
from .onnx import OnnxTeacher
from .rsl_rl import RslRlTeacher
from .sb3 import Sb3Teacher, load_sb3


class Kind(NamedTuple):
    """How one kind of file is read."""

    load: Callable[..., ForeignTeacher]
    ending: str  # of its files' names
    takes: tuple[Callable[..., Any], ...]  # whose keyword arguments are its options

    @property
    def options(self) -> dict[str, Any]:
        """The options it takes, and their types."""
        return {
            name: typing.get_type_hints(taker.__init__ if inspect.isclass(taker) else taker)[name]
            for taker in self.takes
            for name, parameter in inspect.signature(taker).parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY
        }


KINDS: dict[str, Kind] = {
    "sb3": Kind(load_sb3, ".zip", (load_sb3, Sb3Teacher)),
    "rsl_rl": Kind(RslRlTeacher, ".pt", (RslRlTeacher,)),
    "onnx": Kind(OnnxTeacher, ".onnx", (OnnxTeacher,)),
}


def load_teacher_file(
    path: str | Path, *, kind: str | None = None, env: LearningEnv | None = None, **options: Any
) -> ForeignTeacher:
    """The teacher in a file: a Stable-Baselines3 zip, an rsl_rl checkpoint, or an ONNX model.

    Args:
        path: the file.
        kind: "sb3", "rsl_rl" or "onnx"; told from the end of the name when None.
        env: what it is to teach in; checked against what it was trained on.
        options: of ``load_sb3`` and ``Sb3Teacher``, of ``RslRlTeacher``, or of ``OnnxTeacher``.

    Raises:
        ForeignTeacherError: there is no such file, kind or option, an option is of another type,
            the file is not of that kind, or it does not fit ``env``.
        RangeError: an option is not in its range.
    """
    path = Path(path)
    if not path.is_file():
        raise ForeignTeacherError(f"there is no teacher {path}; give the path of its file")
    kind = kind_of(path, kind)
    teacher = KINDS[kind].load(path, **checked_options(kind, options))
    if env is not None:
        teacher.check(env)
    return teacher


def kind_of(path: Path, kind: str | None = None) -> str:
    """The kind of a teacher's file: ``kind``, or what the end of its name says.

    Raises:
        ForeignTeacherError: there is no such kind; the message lists those there are.
    """
    if kind is None:
        kind = next((name for name, known in KINDS.items() if path.suffix == known.ending), None)
    if kind is None or kind not in KINDS:
        known = ", ".join(f"{name} ({each.ending})" for name, each in KINDS.items())
        raise ForeignTeacherError(f"the teacher {path} is of kind {kind!r}; name one of {known}")
    return kind


def checked_options(kind: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of one kind of teacher, each of its type.

    Raises:
        ForeignTeacherError: there is no such option, or it is of another type.
    """
    known = KINDS[kind].options
    unknown = sorted(options.keys() - known.keys())
    if unknown:
        raise ForeignTeacherError(
            f"a teacher of kind {kind!r} takes no option {unknown[0]!r}; its options are "
            f"{', '.join(known)}"
        )
    try:
        return {name: parse(known[name], value, name) for name, value in options.items()}
    except ValueError as error:
        raise ForeignTeacherError(f"a teacher of kind {kind!r}: {error}") from error


__all__ = [
    "KINDS",
    "ForeignTeacher",
    "ForeignTeacherError",
    "OnnxTeacher",
    "RslRlTeacher",
    "Sb3Teacher",
    "checked_options",
    "kind_of",
    "load_sb3",
    "load_teacher_file",
]
