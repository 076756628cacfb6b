"""``cfrc_ext`` as Gymnasium has it after every step, which ``mujoco.batch`` does not compute."""

from __future__ import annotations

import copy

import mujoco
import numpy as np

from ..simulations import Simulations


class ContactForces:
    """External forces on each body, (n, bodies, 6), one simulation after the other.

    Gymnasium calls ``mj_rnePostConstraint`` after a step, and not at a reset, where forces are 0.
    """

    def __init__(self, simulations: Simulations) -> None:
        self._simulations = simulations
        model = simulations.model
        self._model = copy.copy(model)  # takes each simulation's own fields
        self._data = mujoco.MjData(model)
        self.values = np.zeros((simulations.num_envs, model.nbody, 6))

    def reset(self, ids: np.ndarray) -> None:
        """No forces."""
        self.values[ids] = 0.0

    def compute(self) -> None:
        """Forces of everybody at the last step."""
        batch, data, model = self._simulations.batch, self._data, self._model
        for number in range(self._simulations.num_envs):
            if self._simulations.fields:
                batch.get_model(number, model)
            batch.get_data(number, data)
            mujoco.mj_rnePostConstraint(model, data)
            self.values[number] = data.cfrc_ext
