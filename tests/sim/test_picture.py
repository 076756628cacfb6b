"""Pictures of environments where there is no screen."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

# As a user's program may: MuJoCo is there before retort is.
PROGRAM = """
import sys
import mujoco
import gymnasium
from gymnasium.utils.env_checker import check_env

env = gymnasium.make(sys.argv[1], render_mode="rgb_array")
check_env(env.unwrapped)
for _ in range(2):  # the first closed
    env.reset(seed=0)
    assert env.render().std() > 1.0
    env.close()
"""


def _draw(id: str, **more: str) -> subprocess.CompletedProcess[str]:
    without = ("MUJOCO_GL", "PYOPENGL_PLATFORM", "DISPLAY", "WAYLAND_DISPLAY")
    environment = {key: value for key, value in os.environ.items() if key not in without}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, id],
        env={**environment, **more},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("id", ["Balancer-v0", "Hopper-v5"])
def test_gymnasiums_checker_gets_its_pictures_without_a_screen(id: str) -> None:
    drawn = _draw(f"retort.sim:retort/{id}")
    assert drawn.returncode == 0, drawn.stderr


def test_what_cannot_draw_is_one_sentence() -> None:
    drawn = _draw("retort.sim:retort/Balancer-v0", MUJOCO_GL="osmesa", PYOPENGL_PLATFORM="egl")
    assert drawn.returncode == 1
    assert "nothing can draw here by 'osmesa'" in drawn.stderr
