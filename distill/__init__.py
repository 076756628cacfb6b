"""Learning: teachers, distillation, curriculum, export."""

import os

# Threads of PyTorch that have nothing to do sleep instead of spinning: beside one other busy program
# spinning makes learning eight times slower. It is read once, when PyTorch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
