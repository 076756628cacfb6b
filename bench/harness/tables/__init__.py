"""A module per table of the benchmarks' page; ``TABLES`` is their order there and when run."""

from __future__ import annotations

from ..document import Table
from . import (
    adaptation,
    attack,
    compression,
    curriculum,
    distillation_peers,
    forgetting,
    int8,
    partial_observation,
    ppo,
    q,
    routed,
    sample_efficiency,
    teachers,
)

TABLES: tuple[Table, ...] = (
    teachers,
    ppo,
    compression,
    sample_efficiency,
    distillation_peers,
    q,
    routed,
    partial_observation,
    attack,
    curriculum,
    forgetting,
    adaptation,
    int8,
)
