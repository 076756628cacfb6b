"""Learning: teachers, distillation, curriculum, export.

``ppo`` and ``distiller`` are the two algorithms, each readable from top to bottom; what they share
stands beside them. ``teachers``, ``students``, ``sources`` and ``terms`` (``losses`` with a name)
are what a recipe chooses from, ``stages`` run it, ``evaluation`` measures what came of it.
"""

import os

# PyTorch's threads sleep while they have nothing to do instead of spinning: beside one other busy
# program spinning makes learning eight times slower. It is read once, when PyTorch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
