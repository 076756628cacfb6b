"""Pictures of one environment, by Gymnasium's own renderer and camera."""

from __future__ import annotations

import importlib

import mujoco
import numpy as np
from gymnasium.envs.mujoco.mujoco_rendering import MujocoRenderer

from ..simulations import Simulations
from .task import GymnasiumTask


class Picture:
    """Draws the first simulation."""

    def __init__(
        self, task: GymnasiumTask, simulations: Simulations, width: int, height: int
    ) -> None:
        self._simulations = simulations
        module = importlib.import_module(f"gymnasium.envs.mujoco.{task.module}")
        camera = getattr(module, "DEFAULT_CAMERA_CONFIG", None)
        self._model = simulations.batch.get_model(0)
        self._model.vis.global_.offwidth = max(self._model.vis.global_.offwidth, width)
        self._model.vis.global_.offheight = max(self._model.vis.global_.offheight, height)
        self._data = mujoco.MjData(self._model)
        self._renderer = MujocoRenderer(self._model, self._data, camera, width, height)

    def draw(self) -> np.ndarray:
        """(height, width, 3) uint8."""
        self._simulations.batch.get_data(0, self._data)
        mujoco.mj_forward(self._model, self._data)
        picture = self._renderer.render("rgb_array")
        assert isinstance(picture, np.ndarray)
        return picture

    def close(self) -> None:
        """Free the drawing context."""
        self._renderer.close()
