"""Settings of every test: one thread of linear algebra and fixed examples, alike everywhere."""

import os
import signal

from hypothesis import settings

os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("MUJOCO_GL", "egl")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # begun in a shell's background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # or tests of Ctrl-C wait for ever

settings.register_profile("retort", deadline=None, derandomize=True)
settings.load_profile("retort")
