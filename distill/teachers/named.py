"""The teachers that a recipe names beside the run's own: where they are and how they are read."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

from ...sim.definition import is_file as is_code
from .foreign import KINDS, ForeignTeacherError, checked_options, kind_of
from .own import own_options

_OF_FILES = {kind.ending for kind in KINDS.values()}
OWN = "own"  # kind of what a Python file defines


@dataclasses.dataclass(frozen=True, kw_only=True)
class NamedTeacher:
    """One entry of ``distill.teachers.others``."""

    path: str  # a run folder of ours, somebody else's file, or a Python file
    # Of the file (``foreign.KINDS``, or OWN); None for a folder, and told when it is read.
    kind: str | None
    options: dict[str, Any]  # of the file's kind, or of what a Python file defines

    @property
    def is_file(self) -> bool:
        """It is, or should be, a file and not a run folder."""
        return self.kind is not None or Path(self.path).is_file()

    def digest(self) -> str | None:
        """Of what stands there now, to tell another teacher in its place; None if nothing does."""
        path = Path(self.path)
        files = [path / "teacher" / "checkpoint.safetensors" if path.is_dir() else path]
        if "statistics" in self.options:
            files.append(Path(self.options["statistics"]))
        if not all(file.is_file() for file in files):
            return None
        return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def named_teacher(entry: str | dict[str, Any]) -> NamedTeacher:
    """What an entry says: a path, or a table of ``file``, ``kind`` if its name does not tell, and
    the options of that kind, or of what a Python file defines.

    Raises:
        ForeignTeacherError: the table names no file, no known kind, or an option that it has not;
            a Python file is not there or defines no teacher.
    """
    table = {"file": entry} if isinstance(entry, str) else dict(entry)
    path, kind = table.pop("file", None), table.pop("kind", None)
    if not isinstance(path, str) or not path:
        raise ForeignTeacherError(
            f"got {entry!r}; name a run folder or a file, as 'sac.zip' or "
            "{file = 'sac.zip', noise_std = 0.1}"
        )
    if kind is None and is_code(path):
        return NamedTeacher(path=path, kind=OWN, options=own_options(path, table))
    if kind is not None or table or Path(path).suffix in _OF_FILES:
        kind = kind_of(Path(path), kind)
        table = checked_options(kind, table)
    return NamedTeacher(path=path, kind=kind, options=table)
