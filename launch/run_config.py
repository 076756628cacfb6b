"""How a student is run on its robot: a recipe's ``run``, and the command-line form of it."""

from __future__ import annotations

import argparse
import dataclasses
import itertools

from ..hardware.checks import FINITE, SECONDS, check, check_fields
from .ports import VIRTUAL


@dataclasses.dataclass(frozen=True, kw_only=True)
class CommandStep:
    """From ``time`` on, the command is ``values``."""

    time: float  # [s] since the policy took over
    values: tuple[float, ...]  # in the units of the contract's command


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """How the student is run on the robot."""

    port: str = VIRTUAL
    seconds: float = 30.0
    command: tuple[CommandStep, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self, seconds=SECONDS)
        if not self.port.strip():
            raise ValueError("run.port is empty; name a device, a URL or 'virtual'")
        for i, step in enumerate(self.command):
            check(f"command[{i}].time", step.time, FINITE)
            check(f"command[{i}].values", step.values, FINITE)
        times = [step.time for step in self.command]
        if any(after <= before for before, after in itertools.pairwise(times)):
            raise ValueError(f"run.command times are {times}; they must increase")


def as_options(config: RunConfig) -> list[str]:
    """Command-line arguments that give ``config`` again."""
    arguments = [f"--port={config.port}", f"--seconds={config.seconds:g}"]
    for step in config.command:
        values = ",".join(map(str, step.values))  # whole: rounded, one could leave its range
        arguments.append(f"--command={step.time}:{values}")
    return arguments


def command_step(text: str) -> CommandStep:
    """``T:V,V`` of the command line."""
    time, _, values = text.partition(":")
    try:
        return CommandStep(time=float(time), values=tuple(float(v) for v in values.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not of the form T:V,V with numbers, such as 2.5:0.3,0"
        ) from None
