"""A user's task file: run as a module, and mistakes in it said with the line they are on."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from ..hardware.errors import RetortError


class TaskError(RetortError):
    """There is no such task, or its file does not define one that can be used."""


def run_file(path: Path) -> ModuleType:
    """The module that ``path`` is.

    Raises:
        TaskError: it cannot be run; the message says where.
    """
    spec = importlib.util.spec_from_file_location(f"retort_task_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    with mistakes_named(path):
        spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def mistakes_named(path: Path) -> Iterator[None]:
    """Let what the code in ``path`` raises be a ``TaskError`` that says the line.

    What retort raises itself on the way keeps its traceback, unless it was on purpose.

    Raises:
        TaskError: in place of an exception from that file.
    """
    try:
        yield
    except Exception as error:
        line = _line(error, path.resolve())
        if line is None:
            raise
        what = str(error) if isinstance(error, RetortError) else _said(error)
        raise TaskError(f"{path} line {line}: {what}") from error


def _line(error: Exception, path: Path) -> int | None:
    """Where in ``path`` the exception comes from; None if it comes from elsewhere."""
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename) == path:
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
