"""How long a policy's step takes on this computer, for a grid of kinds and sizes, as a file."""

from __future__ import annotations

import dataclasses
import functools
import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ..hardware.errors import RetortError
from ..hardware.parsing import parse
from .architecture import ACTIVATIONS
from .policy import Policy, Stack

FORMAT = 1
WIDTHS = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
INPUTS = (8, 64, 256)
OUTPUTS = 8
# Memory layers and dense layers, the head not counted, of each kind that is measured; of others no
# time is known, and none can be picked by a budget.
FAMILIES: dict[str, tuple[tuple[int, int], ...]] = {
    "mlp": ((0, 1), (0, 2), (0, 3)),
    "gru": ((1, 0), (1, 1)),
    "tcn": ((1, 0), (1, 1), (2, 0), (2, 1), (3, 0), (3, 1)),
}
LARGEST = 150_000  # parameters
_TAPS = 3
_WARM_UP = 50  # steps


class HostError(RetortError):
    """A host file is not what ``retort bench host`` writes."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Timing:
    """One policy: what it is, and microseconds of a step."""

    kind: str
    memory_layers: int
    dense_layers: int
    width: int  # of every layer
    inputs: int
    outputs: int
    activation: str
    parameters: int
    p50: float  # [us] median, by ``measure_steps``
    p99: float  # [us]


_REFERENCE = Timing(
    kind="mlp",
    memory_layers=0,
    dense_layers=2,
    width=64,
    inputs=64,
    outputs=OUTPUTS,
    activation="elu",
    parameters=0,
    p50=0.0,
    p99=0.0,
)
_REFERENCE_STEPS = 60


@dataclasses.dataclass(frozen=True, kw_only=True)
class Host:
    """A computer and what it is capable of."""

    format: int = FORMAT
    machine: dict[str, str]
    versions: dict[str, str]
    steps: int  # of each policy
    timings: tuple[Timing, ...]

    def to_json(self) -> str:
        """The file's text."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"


def load_host(path: str | Path) -> Host:
    """Read a host file.

    Raises:
        HostError: it cannot be read or is something else.
    """
    try:
        host = parse(Host, json.loads(Path(path).read_text()))
    except OSError as error:
        raise HostError(
            f"{path} cannot be read ({error.strerror}); `retort bench host --out {path}` on the "
            "robot's computer writes it"
        ) from error
    except ValueError as error:
        raise HostError(f"{path} is not a host file: {error}; measure again") from error
    if host.format != FORMAT or not host.timings:
        raise HostError(
            f"{path} has format {host.format} and {len(host.timings)} timings, this retort reads "
            f"format {FORMAT}; measure again with `retort bench host`"
        )
    return host


def measure_host(
    steps: int = 400,
    passes: int = 5,
    *,
    activations: tuple[str, ...] = ACTIVATIONS,
    progress: Callable[[int, int], None] | None = None,
) -> Host:
    """Measure the whole grid on this computer, one policy after the other.

    Args:
        steps: of each policy in each pass.
        passes: through the grid.
        activations: to measure.
        progress: told how many of how many measurements are done.
    """
    rows = grid(activations)
    policies = [(functools.partial(make_policy, row), row.inputs) for row in rows]
    p50, p99 = measure_steps(policies, steps, passes, progress)
    return make_host(rows, p50, p99, steps * passes)


def make_host(rows: Sequence[Timing], p50: np.ndarray, p99: np.ndarray, steps: int) -> Host:
    """This computer, with what was measured of ``rows`` in ``steps`` steps of each, (rows,)."""
    times = zip(rows, p50, p99, strict=True)
    return Host(
        machine={
            "name": platform.node(),
            "machine": platform.machine(),
            "processor": _processor(),
            "system": platform.platform(),
        },
        versions={"python": platform.python_version(), "numpy": np.__version__},
        steps=steps,
        timings=tuple(
            dataclasses.replace(row, p50=float(half), p99=float(most)) for row, half, most in times
        ),
    )


def measure_steps(
    policies: Sequence[tuple[Callable[[], Policy], int]],
    steps: int,
    passes: int,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """What a step of each policy takes, as it would be if the computer were always as fast.

    It is not: its clock, its heat and its neighbours make it faster and slower, by a tenth and more
    within a minute, which is more than widths next to each other differ by. Therefore one small
    policy is timed before and after each of them, and p50 is the median over passes of how many
    times as long a step takes, times the median of that one over all. Caches are warm, as in a loop
    that does little else.

    Args:
        policies: what makes each when it is its turn, so that a small computer need not hold all of
            them, and the size of its observation.
        steps: of each policy in each pass.
        passes: through all of them.
        progress: told how many of how many measurements are done.

    Returns:
        Medians and 99th percentiles, (policies,) each [us]; the latter over all steps, as slow as
        they were.
    """
    reference = make_policy(_REFERENCE)

    def pace() -> float:
        return float(np.median(time_steps(reference, _REFERENCE.inputs, _REFERENCE_STEPS)))

    relative = np.empty((passes, len(policies)))
    paces: list[float] = []
    samples: list[list[np.ndarray]] = [[] for _ in policies]
    for i in range(passes):
        paces.append(pace())
        for j, (make, size) in enumerate(policies):
            times = time_steps(make(), size, steps)
            paces.append(pace())
            relative[i, j] = np.median(times) / np.mean(paces[-2:])
            samples[j].append(times)
            if progress is not None:
                progress(i * len(policies) + j + 1, passes * len(policies))
    p50 = np.median(relative, axis=0) * np.median(paces)
    p99 = np.array([np.percentile(np.concatenate(kept), 99) for kept in samples])
    return p50, np.maximum(p50, p99)


def time_steps(policy: Policy, observation_size: int, steps: int) -> np.ndarray:
    """Microseconds of each of ``steps`` steps, (steps,), after some to warm up."""
    random = np.random.default_rng(0)
    observations = random.normal(size=(16, observation_size)).astype(np.float32)
    hidden, times = policy.initial_state(), np.empty(steps)
    for i in range(-_WARM_UP, steps):
        observation = observations[i % 16]
        began = time.perf_counter_ns()
        _, hidden = policy.step(observation, hidden)
        ended = time.perf_counter_ns()
        if i >= 0:
            times[i] = (ended - began) * 1e-3
    return times


def make_policy(row: Timing) -> Policy:
    """A policy of that kind and size, of random weights."""
    random = np.random.default_rng(0)
    tensors = {
        name: random.normal(0.0, 1.0 / np.sqrt(max(1, shape[-1])), shape).astype(np.float32)
        for name, shape in shapes(row).items()
    }
    tensors["normaliser.mean"] = np.zeros(row.inputs, np.float32)
    tensors["normaliser.std"] = np.ones(row.inputs, np.float32)
    meta = {"architecture": row.kind, "activation": row.activation}
    columns = np.arange(row.inputs)
    return Stack(meta, tensors, columns=columns, outputs=row.outputs, limit=10.0)


def shapes(row: Timing) -> Mapping[str, tuple[int, ...]]:
    """Tensors of a policy by name, its normaliser left out; every layer is ``row.width`` wide."""
    result: dict[str, tuple[int, ...]] = {}
    size, width = row.inputs, row.width

    def add(name: str, rows: int, columns: int) -> None:
        result[f"{name}.weight"], result[f"{name}.bias"] = (rows, columns), (rows,)

    if row.kind == "gru":
        for i in range(row.dense_layers):
            add(f"encoder.{i}", width, size)
            size = width
        add("memory.input", 3 * width, size)
        add("memory.hidden", 3 * width, width)
        add("layers.0", row.outputs, width)
        return result
    for i in range(row.memory_layers):
        add(f"convolutions.{i}", width, _TAPS * size)
        size = width
    for i in range(row.dense_layers):
        add(f"layers.{i}", width, size)
        size = width
    add(f"layers.{row.dense_layers}", row.outputs, size)
    return result


def grid(activations: tuple[str, ...] = ACTIVATIONS) -> list[Timing]:
    """All that is measured of a computer, times left out."""
    rows = []
    for kind, families in FAMILIES.items():
        for memory_layers, dense_layers in families:
            for activation in activations:
                for width in WIDTHS:
                    for inputs in INPUTS:
                        row = Timing(
                            kind=kind,
                            memory_layers=memory_layers,
                            dense_layers=dense_layers,
                            width=width,
                            inputs=inputs,
                            outputs=OUTPUTS,
                            activation=activation,
                            parameters=0,
                            p50=0.0,
                            p99=0.0,
                        )
                        count = sum(int(np.prod(shape)) for shape in shapes(row).values())
                        if count <= LARGEST:
                            rows.append(dataclasses.replace(row, parameters=count))
    return rows


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    for name in ("Model", "model name"):  # a Raspberry Pi names its board
        for line in lines:
            if line.partition(":")[0].strip() == name:
                return line.partition(":")[2].strip()
    return platform.processor()
