"""Contract, policy runtime, safety and the real-time loop: everything between readings and targets.

Needs NumPy only; imports no training code.
"""

from .bundle import Bundle, BundleError, load_bundle, save_bundle
from .check import check_robot
from .command import CommandError, CommandSource, Schedule, constant, described
from .contract import (
    ActionMap,
    Coasting,
    CommandSpec,
    Contract,
    ContractError,
    Mismatch,
    TermSpec,
    compare,
)
from .flight import Flight, load_flight
from .gate import GateLimits, GateResult, Reason, gate, gate_limits
from .golden import Golden, record_golden
from .loop import Loop
from .machine import Event, State, next_state
from .policy import Policy, PolicyError, load_policy
from .recorder import FlightRecorder, RecorderError
from .result import Progress, RunResult
from .run import RunOptions, run
from .stop import StopFlag
from .timing import Spread
from .writer import Writer

__all__ = [
    "ActionMap",
    "Bundle",
    "BundleError",
    "Coasting",
    "CommandError",
    "CommandSource",
    "CommandSpec",
    "Contract",
    "ContractError",
    "Event",
    "Flight",
    "FlightRecorder",
    "GateLimits",
    "GateResult",
    "Golden",
    "Loop",
    "Mismatch",
    "Policy",
    "PolicyError",
    "Progress",
    "Reason",
    "RecorderError",
    "RunOptions",
    "RunResult",
    "Schedule",
    "Spread",
    "State",
    "StopFlag",
    "TermSpec",
    "Writer",
    "check_robot",
    "compare",
    "constant",
    "described",
    "gate",
    "gate_limits",
    "load_bundle",
    "load_flight",
    "load_policy",
    "next_state",
    "record_golden",
    "run",
    "save_bundle",
]
