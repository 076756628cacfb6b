"""Losses of distillation as pure functions of tensors: per-sample, differentiable, sourced.

Nothing here knows batches, learners or recipes; ``distill/terms`` gives these their names.
"""

from .policy import (
    corrected_loss,
    corrected_reward,
    mean_regression,
    negative_entropy,
    policy_kl,
    proximal,
    sampled_cross_entropy,
    within_limit,
)
from .q import gap_temperature, q_kl_sharpened, q_kl_tempered, q_mse, q_nll, q_of_action
from .representation import batch_similarity, input_saliency, latent, saliency_difference
from .robust import robust_kl, robust_label_kl
from .smoothness import spatial_smoothness, temporal_smoothness
from .time_attention import time_attention
from .value import value_target

__all__ = [
    "batch_similarity",
    "corrected_loss",
    "corrected_reward",
    "gap_temperature",
    "input_saliency",
    "latent",
    "mean_regression",
    "negative_entropy",
    "policy_kl",
    "proximal",
    "q_kl_sharpened",
    "q_kl_tempered",
    "q_mse",
    "q_nll",
    "q_of_action",
    "robust_kl",
    "robust_label_kl",
    "saliency_difference",
    "sampled_cross_entropy",
    "spatial_smoothness",
    "temporal_smoothness",
    "time_attention",
    "value_target",
    "within_limit",
]
