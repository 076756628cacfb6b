"""Adaptation: how soon a policy is itself again after the robot changed.

``recovery`` measures any policy; ``meta`` finds parameters from which a few gradient steps do.
"""

from .meta import MetaConfig, MetaLearner, PredictiveStudent, adapt, policy_loss, prediction_loss
from .recovery import (
    Trace,
    recovery_row,
    recovery_times,
    relative_rate,
    trace_rewards,
    window_rates,
)

__all__ = [
    "MetaConfig",
    "MetaLearner",
    "PredictiveStudent",
    "Trace",
    "adapt",
    "policy_loss",
    "prediction_loss",
    "recovery_row",
    "recovery_times",
    "relative_rate",
    "trace_rewards",
    "window_rates",
]
