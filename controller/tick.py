"""What one turn of the loop saw and did: the row of the flight log before it is written."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..hardware.state import RobotState
from .gate import Reason
from .machine import State
from .program import Memory


class Tick(NamedTuple):
    """One tick. Times are in seconds of the bus's clock."""

    slot: int
    time: float  # when it began
    lateness: float
    read_time: float
    compute_time: float  # from the reading to the checked target
    write_time: float
    state: State
    overruns: int  # slots missed so far
    reading: RobotState
    memory: Memory  # after this tick
    command: np.ndarray  # (commands,)
    observation: np.ndarray  # (observation_size,)
    action: np.ndarray | None  # (joints,) the policy's output; None where it had no say
    target: np.ndarray | None  # (joints,) before the gate; None where nothing was wanted
    sent: np.ndarray | None  # (joints,) after the gate; None where nothing was sent
    reasons: Reason
