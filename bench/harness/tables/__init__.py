"""A module per table of the benchmarks' page; ``TABLES`` is their order there and when run."""

from __future__ import annotations

from ..document import Table
from . import (
    adaptation,
    attack,
    compression,
    corruption,
    curriculum,
    distillation_peers,
    forgetting,
    partial_observation,
    ppo,
    sample_efficiency,
    several_teachers,
    teachers,
    terms,
)

TABLES: tuple[Table, ...] = (
    teachers,
    ppo,
    compression,
    sample_efficiency,
    terms,
    several_teachers,
    corruption,
    distillation_peers,
    partial_observation,
    attack,
    curriculum,
    forgetting,
    adaptation,
)
