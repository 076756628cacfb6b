"""Pictures of one environment, by Gymnasium's own renderer, with or without a screen."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

import mujoco
import numpy as np
from gymnasium.envs.mujoco.mujoco_rendering import MujocoRenderer

from .arguments import EnvError
from .simulations import Simulations


class Picture:
    """Draws the first simulation.

    Args:
        simulations: of which.
        width, height: [pixels].
        view: settings of a free camera, as Gymnasium's tasks have them; the model's first camera
            when None.
    """

    def __init__(
        self,
        simulations: Simulations,
        width: int,
        height: int,
        view: Mapping[str, Any] | None = None,
    ) -> None:
        self._simulations = simulations
        self._model = simulations.batch.get_model(0)
        self._model.vis.global_.offwidth = max(self._model.vis.global_.offwidth, width)
        self._model.vis.global_.offheight = max(self._model.vis.global_.offheight, height)
        self._data = mujoco.MjData(self._model)
        camera = 0 if view is None and self._model.ncam else None
        self._renderer = MujocoRenderer(
            self._model, self._data, dict(view or {}), width, height, camera_id=camera
        )

    def draw(self) -> np.ndarray:
        """(height, width, 3) uint8.

        Raises:
            EnvError: nothing can draw here.
        """
        self._simulations.batch.get_data(0, self._data)
        mujoco.mj_forward(self._model, self._data)
        _draw_without_a_screen()
        if self._renderer.viewer is not None:  # another environment may have drawn meanwhile
            self._renderer.viewer.make_context_current()
        try:
            picture = self._renderer.render("rgb_array")
        except (AttributeError, ImportError, RuntimeError) as error:  # as drivers are missing
            platform = os.environ.get("MUJOCO_GL", "glfw")
            raise EnvError(
                f"nothing can draw here by {platform!r} ({error}); install its driver (of 'egl' "
                "libegl1 and libgl1), or set MUJOCO_GL to another one: egl, osmesa or glfw"
            ) from error
        assert isinstance(picture, np.ndarray)
        return picture

    def close(self) -> None:
        """Free the drawing context."""
        self._renderer.close()


def _draw_without_a_screen() -> None:
    """Choose EGL where nobody has chosen and there is no screen: GLFW, which needs one, fails at
    the first picture and ends the process at the second.
    """
    screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if sys.platform == "linux" and not screen:
        os.environ.setdefault("MUJOCO_GL", "egl")
