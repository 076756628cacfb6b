"""Virtual devices that answer real bytes, reached in lock-step or through a pseudo-terminal."""

from . import faults
from .emulator import Emulator
from .faults import FaultError, Faults, check_names, load_faults
from .injection import FaultCounts
from .lockstep import LockstepClock, LockstepPort
from .plant import RigidPlant
from .robot import VirtualRobot

__all__ = [
    "Emulator",
    "FaultCounts",
    "FaultError",
    "Faults",
    "LockstepClock",
    "LockstepPort",
    "RigidPlant",
    "VirtualRobot",
    "check_names",
    "faults",
    "load_faults",
]
