"""Students: what runs on the robot. Each maps a sequence and a state to distributions and a state.

A memoryless student is the case of an empty state. A new kind is one class and one line in KINDS,
or a Python file that a recipe names. It says its ``architecture``, of layers that the robot's
runtime knows; those of another kind ``controller.layers`` and both of ``export`` learn first.
"""

import inspect

from ...controller.contract import Contract
from ...hardware.errors import RetortError
from ...sim.definition import DefinitionError, defined_in, is_file
from .config import Interface, StudentConfig
from .gru import GruStudent
from .mlp import MlpStudent
from .student import Student
from .tcn import TcnStudent

KINDS: dict[str, type[Student]] = {"mlp": MlpStudent, "gru": GruStudent, "tcn": TcnStudent}


class StudentError(RetortError, ValueError):
    """There is no such kind of student, or the robot cannot run it."""


def student_kind(name: str) -> type[Student]:
    """The kind of student of that name, or that the Python file of that path defines.

    Raises:
        StudentError: there is none.
    """
    if not is_file(name):
        if name not in KINDS:
            raise StudentError(
                f"student.kind is {name!r}; use one of {', '.join(KINDS)}, or name a .py file"
            )
        return KINDS[name]
    try:
        defined = defined_in(name, "STUDENT")
    except DefinitionError as error:
        raise StudentError(f"student.kind: {error}") from error
    if not (inspect.isclass(defined) and issubclass(defined, Student)):
        raise StudentError(
            f"STUDENT of {name} is {defined!r}; let it be a subclass of Student or of a known kind"
        )
    return defined


def make_student(config: StudentConfig, interface: Contract | Interface) -> Student:
    """The student that ``config`` describes, for a contract or any other interface.

    Raises:
        StudentError: there is no such kind.
    """
    if isinstance(interface, Contract):
        interface = Interface.of(interface)
    student = student_kind(config.kind)(config, interface)
    if config.quantise != "none":
        student.prepare_rounding()
    return student


__all__ = [
    "KINDS",
    "GruStudent",
    "Interface",
    "MlpStudent",
    "Student",
    "StudentConfig",
    "StudentError",
    "TcnStudent",
    "make_student",
    "student_kind",
]
