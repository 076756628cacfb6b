"""Which servos hold the torque this host gave them, and which may have lost it unheard.

A servo whose supply was gone for a moment comes back limp, answers as before and says nothing of
it. So one that was silent for as long as a boot may take is doubted, and gets no goals, until a
read of its torque register proves that its RAM is still what it was.
"""

from __future__ import annotations

import numpy as np

BOOT = 0.05  # [s] assumed: no servo listens again sooner after its supply was gone


class Armed:
    """The servos of one line, by joint of the whole robot.

    Args:
        own: joints of this line.
        joints: of the whole robot.
        period: of a tick [s].

    Attributes:
        on: (joints,) bool, switched on by us and not doubted: goals may go there.
        everyone: all of ``own`` are on.
        doubted: (joints,) bool, was on, and may have lost its power.
        any_doubted: one of them is.
    """

    def __init__(self, own: list[int], joints: int, period: float) -> None:
        self._own = np.array(own, dtype=int)
        self._patience = max(1, int(BOOT / period + 1e-9))  # [ticks]
        self._unheard = np.zeros(joints, dtype=int)  # [ticks] in a row
        self._all_heard = True  # ``_unheard`` is 0 everywhere
        self.on = np.zeros(joints, dtype=bool)
        self.everyone = False
        self.doubted = np.zeros(joints, dtype=bool)
        self.any_doubted = False

    def switch(self, joint: int, on: bool) -> None:
        """It has confirmed its torque, or is about to be told."""
        self._unheard[joint] = 0
        self._change(joint, on, False)

    def heard_everyone(self) -> None:
        """A tick in which every servo of the line has spoken."""
        if not self._all_heard:
            self._unheard[:] = 0
            self._all_heard = True

    def heard(self, spoke: np.ndarray) -> None:
        """A tick in which some were silent.

        Args:
            spoke: (joints,) bool.
        """
        self._all_heard = False
        self._unheard += 1
        self._unheard[spoke] = 0
        for joint in np.flatnonzero(self.on & (self._unheard >= self._patience)).tolist():
            self._change(joint, False, True)

    def to_prove(self) -> list[int]:
        """Doubted joints that speak: to be asked for their torque."""
        return np.flatnonzero(self.doubted & (self._unheard == 0)).tolist()

    def proved(self, joint: int, torque: int) -> None:
        """What the torque register of a doubted joint holds."""
        if self.doubted[joint] and torque == 1:
            self._change(joint, True, False)

    def _change(self, joint: int, on: bool, doubted: bool) -> None:
        self.on[joint], self.doubted[joint] = on, doubted
        self.everyone = bool(self.on[self._own].all())
        self.any_doubted = bool(self.doubted.any())
