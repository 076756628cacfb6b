"""Simulation for training: physics, tasks, randomisation, the MuJoCo twin."""

from .arguments import EnvError
from .env import RobotEnv, SimulationConfig
from .physics import ModelError, Physics, load_model
from .registration import register
from .sensing import SensorModel
from .single import RobotSingleEnv
from .task import Task, TaskError, load_task, make_contract
from .twin import Twin

__all__ = [
    "EnvError",
    "ModelError",
    "Physics",
    "RobotEnv",
    "RobotSingleEnv",
    "SensorModel",
    "SimulationConfig",
    "Task",
    "TaskError",
    "Twin",
    "load_model",
    "load_task",
    "make_contract",
    "register",
]

register()
