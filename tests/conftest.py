"""Settings of every test: one thread of linear algebra and fixed examples, alike everywhere."""

import os

from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MUJOCO_GL", "egl")

settings.register_profile("retort", deadline=None, derandomize=True)
settings.load_profile("retort")
