"""Adaptation: how soon a policy is itself again after the robot changed.

``recovery`` measures any policy; ``meta`` finds parameters from which a few gradient steps do, and
``online`` takes those steps while the robot acts.
"""

from .meta import (
    MetaConfig,
    MetaLearner,
    PredictiveStudent,
    adapt,
    lived_loss,
    policy_loss,
    prediction_loss,
)
from .online import AdaptingActor
from .recovery import (
    Trace,
    recovery_row,
    recovery_times,
    relative_rate,
    trace_rewards,
    window_rates,
)

__all__ = [
    "AdaptingActor",
    "MetaConfig",
    "MetaLearner",
    "PredictiveStudent",
    "Trace",
    "adapt",
    "lived_loss",
    "policy_loss",
    "prediction_loss",
    "recovery_row",
    "recovery_times",
    "relative_rate",
    "trace_rewards",
    "window_rates",
]
