"""What tests of the benchmarks' tables share."""

import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture(scope="module")
def hopper_place():
    """A place of a tiny budget with a teacher of Hopper, removed afterwards; runs one thread."""
    import tempfile

    import torch

    sys.path.insert(0, str(BENCH))
    from harness import runs
    from harness.teaching import teacher_run

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts = (folder / part for part in ("results", "checkpoints", "working"))
        place = runs.Place(*parts, scale=1e-9)
        runs.go_on([teacher_run("Hopper", 1)], place, lambda text: None)
        yield place
    torch.set_num_threads(threads)
    sys.path.remove(str(BENCH))
