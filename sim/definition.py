"""Python files of a user's own, each of which defines one thing by name: a task, a term, a mode.

A file is code: whoever names one lets it run. Mistakes in it are said with the line they are on.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import sys
import traceback
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..hardware.errors import RetortError

SUFFIX = ".py"


class DefinitionError(RetortError):
    """A file is not there, cannot be run, or does not define what it should."""


def is_file(name: str | Path) -> bool:
    """``name`` is that of a Python file and not of something that retort has."""
    return Path(name).suffix == SUFFIX


def defined_in(path: str | Path, name: str) -> Any:
    """What the Python file at ``path`` calls ``name``.

    Raises:
        DefinitionError: there is no such file, it cannot be run, or it defines nothing so called.
    """
    path = Path(path)
    if not path.is_file():
        raise DefinitionError(f"there is no file {path}; give the path of one that defines {name}")
    module = _run(str(path), path.read_bytes())
    if not hasattr(module, name):
        raise DefinitionError(
            f"{path} defines no {name}; set {name} = <what it is to be> at the end of the file"
        )
    return getattr(module, name)


def digest(path: str | Path) -> str:
    """Of what stands in a file now, to tell another one in its place; empty where nothing does."""
    path = Path(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else ""


def option_types(made_by: Callable[..., Any], *, given: int = 0) -> dict[str, Any]:
    """The parameters of a function or class by name, with their types.

    Args:
        made_by: takes them.
        given: how many of the first are no options.

    Raises:
        DefinitionError: one has no type.
    """
    names = [*inspect.signature(made_by).parameters][given:]
    types_of = typing.get_type_hints(made_by.__init__ if inspect.isclass(made_by) else made_by)
    for name in names:
        if name not in types_of:
            raise DefinitionError(
                f"the option {name!r} has no type; write it, as in {name}: float = 1.0"
            )
    return {name: types_of[name] for name in names}


@contextlib.contextmanager
def mistakes_named(path: Path, kind: type[RetortError] = DefinitionError) -> Iterator[None]:
    """Let what the code in ``path`` raises be an error of ``kind`` that says the line.

    What retort raises itself on the way keeps its traceback, unless it was on purpose.

    Raises:
        RetortError: of ``kind``, in place of an exception from that file.
    """
    try:
        yield
    except Exception as error:
        line = _line(error, path.resolve())
        if line is None:
            raise
        what = str(error) if isinstance(error, RetortError) else _said(error)
        raise kind(f"{path} line {line}: {what}") from error


@functools.lru_cache
def _run(path: str, source: bytes) -> types.ModuleType:
    """The module of a file; once for what stands in it, so that its classes stay the same."""
    module = types.ModuleType(f"{Path(path).stem}_{hashlib.sha256(source).hexdigest()[:16]}")
    sys.modules[module.__name__] = module  # where dataclasses look for it
    with mistakes_named(Path(path)):
        exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)
    return module


def _line(error: Exception, path: Path) -> int | None:
    """Where in ``path`` the exception comes from; None if it comes from elsewhere."""
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename).resolve() == path:
        return error.lineno
    line, ours = None, False
    for frame, number in traceback.walk_tb(error.__traceback__):
        if Path(frame.f_code.co_filename).resolve() == path:
            line, ours = number, False
        ours |= str(frame.f_globals.get("__name__")).startswith("retort.")
    return None if ours and not isinstance(error, RetortError) else line


def _said(error: Exception) -> str:
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
