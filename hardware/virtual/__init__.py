"""Virtual devices that answer real bytes, reached in lock-step or through a pseudo-terminal."""

from .emulator import Emulator
from .faults import Delay, FaultCounts, Faults, Silence
from .lockstep import LockstepClock, LockstepPort
from .plant import RigidPlant
from .robot import VirtualRobot

__all__ = [
    "Delay",
    "Emulator",
    "FaultCounts",
    "Faults",
    "LockstepClock",
    "LockstepPort",
    "RigidPlant",
    "Silence",
    "VirtualRobot",
]
