"""Terms of a recipe's own: what a Python file that it names defines as ``TERM``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor

from ...sim.definition import DefinitionError, defined_in, option_types
from .base import Sample, Term, TermError


class Function(Term):
    """A pure function of a sample and of options to a per-sample loss, (T, n).

    It may compare with a teacher, and is asked for each of several. What a function cannot say of
    itself, such as what it needs beside the two policies, a subclass of ``Term`` says.
    """

    def __init__(self, function: Callable[..., Tensor], /, **options: Any) -> None:
        inspect.signature(function).bind(None, **options)  # an option may be missing
        self.function = functools.partial(function, **options)

    def loss(self, sample: Sample) -> Tensor:
        loss = self.function(sample)
        if loss.shape != sample.reset.shape:
            raise TermError(
                f"its loss has the shape {tuple(loss.shape)} for samples of "
                f"{tuple(sample.reset.shape)}; give one number for each, without a mean over them"
            )
        return loss


def own_term(path: str) -> tuple[Callable[..., Term], dict[str, Any]]:
    """What makes the term that a file defines, and the types of its options.

    Raises:
        DefinitionError: there is no such file, or its TERM is none.
    """
    defined: Any = defined_in(path, "TERM")
    if inspect.isclass(defined) and issubclass(defined, Term):
        return defined, option_types(defined)
    if inspect.isroutine(defined):
        return functools.partial(Function, defined), option_types(defined, given=1)
    raise DefinitionError(
        f"TERM of {path} is {defined!r}; let it be a function of a Sample or a subclass of Term"
    )
