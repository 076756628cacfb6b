"""What tests of the benchmarks' tables share: a table is tried from its runs to its section."""

import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture(scope="module")
def bench_on_path():
    """Scripts are started from their own folder; nothing of theirs is installed."""
    sys.path.insert(0, str(BENCH))
    yield
    sys.path.remove(str(BENCH))


@pytest.fixture(scope="module")
def few_episodes(bench_on_path):
    """Evaluation by as few episodes as a table's arithmetic needs."""
    from harness import attacking, measures, training, varied
    from harness.tables import curriculum, partial_observation

    with pytest.MonkeyPatch.context() as patch:
        for module in (training, varied):
            patch.setattr(module, "CURVE_EPISODES", 2)
        for module in (training, varied, attacking, partial_observation):
            patch.setattr(module, "FINAL_EPISODES", 4)
        patch.setattr(attacking, "_PUSHED", 1)
        patch.setattr(measures, "_EPISODES", 2)
        patch.setattr(varied, "_RANDOM_EPISODES", 2)
        patch.setattr(curriculum, "_EPISODES", 2)
        yield


@pytest.fixture(scope="module")
def hopper_place(few_episodes, tmp_path_factory):
    """A place of a tiny budget with a teacher of Hopper."""
    from harness import runs
    from harness.teaching import teacher_run

    folder = tmp_path_factory.mktemp("hopper")
    parts = (folder / part for part in ("results", "checkpoints", "working"))
    place = runs.Place(*parts, scale=1e-9)
    runs.go_on([teacher_run("Hopper", 1)], place, lambda text: None)
    return place


def made_result(**told):
    """A finished run's result in which nothing stands but what is told."""
    from harness.results import Result

    nothing = {
        "budget": 1,
        "settings": {},
        "curve": [],
        "figures": {},
        "machine": {"processor": "p", "cores": 2, "load": 0.0},
        "versions": {},
        "commit": "c",
        "date": "2026-01-01",
    }
    return Result(**{**nothing, **told})


class Trial:
    """A place where every budget is the least there is."""

    def __init__(self, folder):
        from harness.runs import Place

        names = ("results", "checkpoints", "working")
        self.place = Place(*(folder / name for name in names), scale=1e-9)

    @staticmethod
    def table(name):
        """The module of a table."""
        from harness.tables import TABLES

        [found] = [each for each in TABLES if name == each.TABLE]
        return found

    def section(self, table, runs):
        """Do what of ``runs`` is not done yet, and write their section of the page."""
        from harness.runs import go_on

        assert go_on(runs, self.place, lambda text: None).failed == []
        assert all(run.done(self.place) for run in runs)
        return table.report(self.place.results, self.place.results / "figures")

    @staticmethod
    def cells(text, *words):
        """The only row of a section's table that begins with ``words``."""
        start = "| " + " | ".join(words) + " |"
        [row] = [line for line in text.splitlines() if line.startswith(start)]
        return [cell.strip() for cell in row.strip("|").split("|")]


@pytest.fixture(scope="module")
def trial(few_episodes, tmp_path_factory):
    """A trial that the tests of a module share."""
    return Trial(tmp_path_factory.mktemp("bench"))


@pytest.fixture
def harness(bench_on_path):
    """The modules of results and of runs."""
    from harness import results, runs

    return results, runs


def quiet(text):
    pass


def tables():
    from harness.tables import TABLES

    return TABLES


def table(name):
    [found] = [each for each in tables() if name == each.TABLE]
    return found


def finished(harness, table, arm, seed, *, final, curve=(), budget=100):
    results, _ = harness
    return results.Result(
        table=table,
        task="Hopper",
        arm=arm,
        seed=seed,
        budget=budget,
        settings={},
        curve=[results.Point(steps, 0.0, value) for steps, value in curve],
        final=[final],
        figures={},
        machine={"processor": "p", "cores": 2, "load": 0.1},
        versions={},
        commit="c",
        date="2026-01-01",
    )
