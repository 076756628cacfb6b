"""How long a policy's step takes on this computer, for a grid of kinds and sizes, as a file."""

from __future__ import annotations

import dataclasses
import json
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from ..hardware.errors import RetortError
from ..hardware.robot import parse
from .architecture import ACTIVATIONS
from .policy import Policy, Stack

FORMAT = 1
WIDTHS = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
INPUTS = (8, 64, 256)
OUTPUTS = 8
# Memory layers and dense layers, the head not counted, of each kind.
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
    p50: float  # [us] median of the quietest pass
    p99: float  # [us]


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

    Caches are warm, as in a loop that does little else. The grid is gone through several times and
    the median of the quietest pass is taken: what other programs do can only make a step slower.
    The 99th percentile is over all of them.

    Args:
        steps: of each policy in each pass.
        passes: through the grid.
        activations: to measure.
        progress: told how many of how many measurements are done.
    """
    rows = list(_grid(activations))
    samples: list[list[np.ndarray]] = [[] for _ in rows]
    done = 0
    for _ in range(passes):
        for row, kept in zip(rows, samples, strict=True):
            kept.append(time_steps(make_policy(row), row.inputs, steps))
            done += 1
            if progress is not None:
                progress(done, passes * len(rows))
    timings = []
    for row, kept in zip(rows, samples, strict=True):
        p50, p99 = min(map(np.median, kept)), np.percentile(np.concatenate(kept), 99)
        timings.append(dataclasses.replace(row, p50=float(p50), p99=float(p99)))
    return Host(
        machine={
            "name": platform.node(),
            "machine": platform.machine(),
            "processor": _processor(),
            "system": platform.platform(),
        },
        versions={"python": platform.python_version(), "numpy": np.__version__},
        steps=steps * passes,
        timings=tuple(timings),
    )


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


def _grid(activations: tuple[str, ...]) -> Iterator[Timing]:
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
                            yield dataclasses.replace(row, parameters=count)


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
