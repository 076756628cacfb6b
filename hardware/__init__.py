"""Robots, servo protocols, buses, virtual servos and the clock. Gives SI units outward."""

from .bus import Bus, DeviceCounters, DeviceReport
from .clock import Clock, RealClock, VirtualClock
from .dynamixel.line import DynamixelLine
from .errors import DeviceError, PortError, RetortError, RobotFileError
from .find_port import find_port
from .line import Line, Tap
from .model_table import ModelTable, load_model
from .plant import ImuSample, Plant
from .port import Port
from .robot import Robot, load_robot
from .robot_bus import RobotBus, open_bus
from .serial_port import SerialPort
from .state import Health, JointCommand, RobotState

__all__ = [
    "Bus",
    "Clock",
    "DeviceCounters",
    "DeviceError",
    "DeviceReport",
    "DynamixelLine",
    "Health",
    "ImuSample",
    "JointCommand",
    "Line",
    "ModelTable",
    "Plant",
    "Port",
    "PortError",
    "RealClock",
    "RetortError",
    "Robot",
    "RobotBus",
    "RobotFileError",
    "RobotState",
    "SerialPort",
    "Tap",
    "VirtualClock",
    "find_port",
    "load_model",
    "load_robot",
    "open_bus",
]
