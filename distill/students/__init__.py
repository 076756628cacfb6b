"""Students: what runs on the robot. Each maps a sequence and a state to distributions and a state.

A memoryless student is the case of an empty state. A new kind is one class, one line in KINDS, and
its layers in ``controller.architecture``.
"""

from ...controller.contract import Contract
from .config import Interface, StudentConfig
from .gru import GruStudent
from .mlp import MlpStudent
from .student import Student
from .tcn import TcnStudent

KINDS: dict[str, type[Student]] = {"mlp": MlpStudent, "gru": GruStudent, "tcn": TcnStudent}


def make_student(config: StudentConfig, interface: Contract | Interface) -> Student:
    """The student that ``config`` describes, for a contract or any other interface."""
    if isinstance(interface, Contract):
        interface = Interface.of(interface)
    return KINDS[config.kind](config, interface)


__all__ = [
    "KINDS",
    "GruStudent",
    "Interface",
    "MlpStudent",
    "Student",
    "StudentConfig",
    "TcnStudent",
    "make_student",
]
