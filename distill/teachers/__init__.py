"""Teachers: our own, files of other libraries (``foreign``), several at once, damaged ones."""

from .teacher import (
    ActorTeacher,
    BoundCritics,
    Teacher,
    TeacherOutput,
    ValuesOf,
    in_order,
    numbered,
    sampled_action,
    states_after,
)

__all__ = [
    "ActorTeacher",
    "BoundCritics",
    "Teacher",
    "TeacherOutput",
    "ValuesOf",
    "in_order",
    "numbered",
    "sampled_action",
    "states_after",
]
