"""Learning: teachers, distillation, curriculum, export."""

import os

# PyTorch's threads sleep while they have nothing to do instead of spinning: beside one other busy
# program spinning makes learning eight times slower. It is read once, when PyTorch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
