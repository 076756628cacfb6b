"""Settings of every test: one thread of linear algebra each, so that runs are alike everywhere."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MUJOCO_GL", "egl")
