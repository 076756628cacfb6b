"""What several files of this folder ask for."""

import mujoco
import pytest


@pytest.fixture
def quiet():
    """Gymnasium's environments would print and log what is deprecated in their model files."""
    previous = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda message: None)
    yield
    mujoco.set_mju_user_warning(previous)
