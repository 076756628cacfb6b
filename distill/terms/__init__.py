"""Terms of the distillation objective: each a per-sample loss with a name a recipe can switch on.

A new term is one class and one line in TERMS; or, of a recipe's own, a ``.py`` file (``own``).
"""

from __future__ import annotations

import typing
from collections.abc import Callable

from ...hardware.checks import NOT_NEGATIVE, check
from ...hardware.parsing import parse
from ...sim.definition import DefinitionError, is_file, option_types
from .base import Sample, Term, TermConfig, TermError
from .own import own_term
from .policy import Corrected, CrossEntropy, Entropy, MeanRegression, PolicyKL, Proximal
from .representation import Latent, Robust, Saliency, Similarity, Smoothness, TimeAttention
from .values import Joint, QAscent, QValues, Reinforcement, Value

TERMS: dict[str, type[Term]] = {
    "policy_kl": PolicyKL,
    "cross_entropy": CrossEntropy,
    "mean_regression": MeanRegression,
    "proximal": Proximal,
    "corrected": Corrected,
    "entropy": Entropy,
    "q": QValues,
    "q_ascent": QAscent,
    "value": Value,
    "joint": Joint,
    "latent": Latent,
    "similarity": Similarity,
    "saliency": Saliency,
    "time_attention": TimeAttention,
    "robust": Robust,
    "smoothness": Smoothness,
    "rl": Reinforcement,
}


def make_term(config: TermConfig) -> Term:
    """The term that ``config`` names, with its options.

    Raises:
        TermError: unknown name or option; the message lists what there is.
    """
    try:
        kind, known = _kind(config.name)
    except DefinitionError as error:
        raise TermError(f"term {config.name!r}: {error}") from error
    if unknown := [name for name in config.options if name not in known]:
        raise TermError(
            f"term {config.name!r} has no option {unknown[0]!r}; it has "
            f"{', '.join(known) or 'none'}"
        )
    try:
        return kind(**{n: _option(known[n], n, value) for n, value in config.options.items()})
    except (TypeError, ValueError) as error:
        raise TermError(f"term {config.name!r}: {error}") from error


def _kind(name: str) -> tuple[Callable[..., Term], dict[str, typing.Any]]:
    """What makes a term of that name, and the types of its options."""
    if is_file(name):
        return own_term(name)
    if name not in TERMS:
        raise TermError(
            f"there is no term {name!r}; there are {', '.join(TERMS)}, or name a .py file"
        )
    return TERMS[name], option_types(TERMS[name])


def _option(kind: typing.Any, name: str, value: typing.Any) -> typing.Any:
    """``value`` of the type that the term says; numbers are finite and not negative."""
    made = parse(kind, value, name)
    if isinstance(made, int | float | tuple):
        check(name, made, NOT_NEGATIVE)
    return made


__all__ = ["TERMS", "Sample", "Term", "TermConfig", "TermError", "make_term"]
