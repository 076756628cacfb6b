"""Terms of the distillation objective: each a per-sample loss with a name a recipe can switch on.

A new term is one class and one line in TERMS.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .base import Sample, Term, TermConfig, TermError
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
    if config.name not in TERMS:
        raise TermError(f"there is no term {config.name!r}; there are {', '.join(TERMS)}")
    try:
        return TERMS[config.name](**config.options)
    except TypeError as error:
        raise TermError(f"term {config.name!r}: {error}") from error


def weighted_sum(terms: dict[str, tuple[float, Tensor]]) -> Tensor:
    """``sum_i w_i mean(l_i)`` over named ``(weight, per-sample loss)``."""
    return torch.stack([weight * loss.mean() for weight, loss in terms.values()]).sum()


__all__ = ["TERMS", "Sample", "Term", "TermConfig", "TermError", "make_term", "weighted_sum"]
