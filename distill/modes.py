"""Modes of distillation: where the data comes from.

A new mode is one entry in MODES, or a Python file that a recipe names and that defines ``MODE``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from ..sim.definition import DefinitionError, defined_in, is_file


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mode:
    """All that tells one way to distil from another."""

    acts: bool = True  # somebody does; else recorded episodes are learnt from
    # Settings' ``teacher_share`` and the spent share of the budget, 0 to 1, to the share of the
    # environments that the teacher drives, which never rises.
    share: Callable[[float, float], float] = lambda teacher_share, fraction: teacher_share
    keeps: bool = False  # labelled batches, learnt from again in every epoch but the first
    teacher_learns: bool = False  # beside its student, from what it does itself

    def __post_init__(self) -> None:
        shares = [self.share(0.5, tenth / 10.0) for tenth in range(11)]
        if sorted(shares, reverse=True) != shares or not 1.0 >= shares[0] >= shares[-1] >= 0.0:
            raise DefinitionError(
                f"a mode's share of environments that the teacher drives, with a teacher_share of "
                f"0.5 and along the budget, is {', '.join(f'{share:.3g}' for share in shares)}; "
                "let it stay within 0 to 1 and never rise"
            )
        if self.keeps and self.teacher_learns:
            raise DefinitionError(
                "a mode keeps labelled batches and lets the teacher learn, which would no longer "
                "say what stands in them; use one of keeps and teacher_learns"
            )


class _Modes(dict[str, Mode]):
    """Modes by name, and by the path of a file that defines one."""

    def __missing__(self, name: str) -> Mode:
        """What the file of that name defines.

        Raises:
            KeyError: the name is that of no file.
            DefinitionError: it is not there, or its MODE is none.
        """
        if not is_file(name):
            raise KeyError(name)
        mode = defined_in(name, "MODE")
        if not isinstance(mode, Mode):
            raise DefinitionError(
                f"MODE of {name} is {mode!r}; let it be a Mode of retort.distill.modes"
            )
        return mode


MODES = _Modes(
    {
        # What is learnt from are episodes of ``dataset`` (the id of a Minari data set, or a folder)
        # or, without it, of the run's own teacher, recorded before distillation begins.
        "offline": Mode(acts=False),
        "student": Mode(),
        "teacher": Mode(share=lambda teacher_share, fraction: 1.0),
        "mixed": Mode(share=lambda teacher_share, fraction: 1.0 + (teacher_share - 1.0) * fraction),
        # DAgger (Ross et al. 2011). What is kept stands in the checkpoint, which becomes large.
        "aggregate": Mode(keeps=True),
        "concurrent": Mode(teacher_learns=True),  # ``ConcurrentConfig`` says how
    }
)
