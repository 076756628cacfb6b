"""Python files of a user's own, each of which defines one thing by name: a task, a term, a mode.

A file is code: whoever names one lets it run, and a mistake in it keeps its traceback.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import sys
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..hardware.errors import RetortError

SUFFIX = ".py"


class DefinitionError(RetortError):
    """A file is not there, or does not define what it should."""


def is_file(name: str | Path) -> bool:
    """``name`` is that of a Python file and not of something that retort has."""
    return Path(name).suffix == SUFFIX


def defined_in(path: str | Path, name: str) -> Any:
    """What the Python file at ``path`` calls ``name``.

    Raises:
        DefinitionError: there is no such file, or it defines nothing so called.
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


@functools.lru_cache
def _run(path: str, source: bytes) -> types.ModuleType:
    """The module of a file; once for what stands in it, so that its classes stay the same."""
    module = types.ModuleType(f"{Path(path).stem}_{hashlib.sha256(source).hexdigest()[:16]}")
    sys.modules[module.__name__] = module  # where dataclasses look for it
    exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)
    return module
