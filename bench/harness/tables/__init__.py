"""A module per table of the benchmarks' page; ``TABLES`` is their order there and when run."""

from __future__ import annotations

from ..claims import Claiming
from ..document import Table
from . import (
    adaptation,
    attack,
    budget,
    chance,
    compression,
    corruption,
    curriculum,
    distillation_peers,
    forgetting,
    int8,
    partial_observation,
    ppo,
    q,
    routed,
    sample_efficiency,
    several_teachers,
    teachers,
    terms,
)

# Those that are to show something, in the order of the page.
CLAIMING: tuple[Claiming, ...] = (
    ppo,
    compression,
    sample_efficiency,
    terms,
    q,
    routed,
    partial_observation,
    corruption,
    attack,
    forgetting,
    adaptation,
    int8,
    budget,
)
TABLES: tuple[Table, ...] = (
    chance,
    teachers,
    ppo,
    compression,
    sample_efficiency,
    distillation_peers,
    terms,
    q,
    several_teachers,
    routed,
    partial_observation,
    corruption,
    attack,
    curriculum,
    forgetting,
    adaptation,
    int8,
    budget,
)
