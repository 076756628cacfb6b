"""Gymnasium's MuJoCo tasks, vectorised on native threads and equal to Gymnasium's."""

from ..switches import Switch
from .difficulty import AXES, REMOVAL, TERRAIN, Difficulty, DifficultyError
from .env import GymnasiumTaskEnv, random_deviation
from .single import GymnasiumTaskSingleEnv
from .student_view import StudentView
from .task import GymnasiumTask
from .tasks import TASKS, make_task

__all__ = [
    "AXES",
    "REMOVAL",
    "TASKS",
    "TERRAIN",
    "Difficulty",
    "DifficultyError",
    "GymnasiumTask",
    "GymnasiumTaskEnv",
    "GymnasiumTaskSingleEnv",
    "StudentView",
    "Switch",
    "make_task",
    "random_deviation",
]
