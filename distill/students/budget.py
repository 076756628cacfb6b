"""The largest student whose step fits a time budget, from a host file measured on the target."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from ...controller.host import FAMILIES, Host, Timing
from ...hardware.errors import RetortError
from . import Interface, StudentConfig, make_student
from .tcn import CHANNELS

MARGIN = 0.01  # of a budget, left for what differs from one measurement to the next


class BudgetError(RetortError):
    """No student fits the budget, or the host file does not tell of its kind."""


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A student of one width, and what its step is expected to take."""

    config: StudentConfig
    width: int
    parameters: int
    p50: float  # [us]


def candidates(host: Host, config: StudentConfig, interface: Interface) -> tuple[Candidate, ...]:
    """Students with the layers of ``config``, all of one width, from small to large.

    At a given width the time grows linearly with the parameters, that is with the inputs and with
    a kernel longer than the one measured: interpolated between the sizes measured, never below the
    smallest, and continued as between the two largest up to the size of the largest policy in the
    file. Still larger ones, whose weights may not fit the caches that all measured ones did, are
    continued from there in proportion, which is too slow rather than too fast. Over widths the
    running maximum is taken, so that a larger student never counts as faster.

    Raises:
        BudgetError: the host file tells nothing of such layers.
    """
    memory_layers, dense_layers = _family(config)
    wanted = (config.kind, memory_layers, dense_layers, config.activation)
    rows: dict[int, list[Timing]] = {}
    for row in host.timings:
        if (row.kind, row.memory_layers, row.dense_layers, row.activation) == wanted:
            rows.setdefault(row.width, []).append(row)
    if not rows:
        known = sorted({(r.kind, r.memory_layers, r.dense_layers) for r in host.timings})
        listed = ", ".join(f"{kind} {memory}+{dense}" for kind, memory, dense in known)
        raise BudgetError(
            f"the host file has no {config.kind} of {memory_layers} memory and {dense_layers} "
            f"dense layers with {config.activation}; it has {listed} (memory + dense)"
        )
    largest = max(row.parameters for row in host.timings)
    result: list[Candidate] = []
    slowest = 0.0
    for width in sorted(rows):
        scaled = _scaled(config, width)
        parameters = _count(scaled, interface)
        slowest = max(slowest, _expected(rows[width], parameters, largest))
        result.append(Candidate(scaled, width, parameters, slowest))
    return tuple(result)


def pick(
    host: Host, config: StudentConfig, interface: Interface, budget: float
) -> tuple[Candidate, Candidate | None]:
    """The largest student that fits with ``MARGIN`` left, and the next larger one, which does not.

    Args:
        host: measured on the robot's computer.
        config: kind, number of layers, activation and everything but the widths.
        interface: what goes in and out.
        budget: microseconds of a step (median); ``MARGIN`` of it stays free.

    Returns:
        The student, and the next one; None if even the largest measured one fits.

    Raises:
        BudgetError: not even the smallest fits, or the host file does not tell of its kind.
    """
    if not budget > 0:
        raise BudgetError(f"the budget is {budget} us; it must be positive")
    sizes = candidates(host, config, interface)
    count = sum(candidate.p50 <= budget * (1.0 - MARGIN) for candidate in sizes)
    if count == 0:
        least = sizes[0]
        raise BudgetError(
            f"no {config.kind} with these layers fits {budget:g} us: the smallest, of width "
            f"{least.width}, is expected to take {least.p50:.1f} us there, and "
            f"{MARGIN:.0%} of a budget stays free; allow more time or use fewer layers"
        )
    return sizes[count - 1], sizes[count] if count < len(sizes) else None


def _family(config: StudentConfig) -> tuple[int, int]:
    if config.kind not in FAMILIES:
        raise BudgetError(
            f"how long students of kind {config.kind!r} take is not known, since `retort bench "
            f"host` measures {', '.join(FAMILIES)}; use one of these, or leave --budget-us out"
        )
    memory = {"mlp": 0, "gru": 1, "tcn": len(config.channels or CHANNELS)}
    return memory[config.kind], len(config.hidden)


def _scaled(config: StudentConfig, width: int) -> StudentConfig:
    memory_layers, dense_layers = _family(config)
    scaled = dataclasses.replace(config, hidden=(width,) * dense_layers)
    if config.kind == "gru":
        return dataclasses.replace(scaled, recurrent=width)
    if config.kind == "tcn":
        return dataclasses.replace(scaled, channels=(width,) * memory_layers)
    return scaled


def _count(config: StudentConfig, interface: Interface) -> int:
    with torch.random.fork_rng(), torch.device("meta"):
        return make_student(config, interface).parameter_count()


def _expected(rows: list[Timing], parameters: int, largest: int) -> float:
    """Microseconds of a policy of one width, from ``rows`` of that width and the size of the
    ``largest`` of any width.
    """
    rows = sorted(rows, key=lambda row: row.parameters)
    sizes = np.array([row.parameters for row in rows], float)
    times = np.maximum.accumulate([row.p50 for row in rows])
    linear = sizes[-1] if len(sizes) == 1 else max(largest, sizes[-1])
    size = min(parameters, linear)
    expected = np.interp(size, sizes, times)
    if size > sizes[-1]:
        slope = (times[-1] - times[-2]) / (sizes[-1] - sizes[-2])
        expected += slope * (size - sizes[-1])
    return float(expected * parameters / size)
