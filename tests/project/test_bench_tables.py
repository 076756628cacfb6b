"""Every table, of whatever seeds and scale, and the page that is made of all."""

import argparse
import dataclasses
import itertools
import re
import shutil
import subprocess

import pytest

from .conftest import BENCH, finished, quiet, table, tables

pytestmark = pytest.mark.usefixtures("bench_on_path")


def test_every_run_of_every_table_has_a_file_of_its_own():
    for each in tables():
        every = each.runs()
        assert len({run.name for run in every}) == len(every)
        for run in every:
            assert run.table == each.TABLE
            assert all(needed.keeps for needed in run.needs)


def test_runs_of_one_seed_come_before_those_of_the_next():
    compression = table("compression")
    seeds = [run.seed for run in compression.runs()]
    assert [seed for seed, _ in itertools.groupby(seeds)] == list(compression.SEEDS)


@pytest.fixture(scope="module")
def more_seeds(bench_on_path, tmp_path_factory):
    """The committed results with seed 10 beside the first one in all, and 4 in some runs only."""
    from harness import results

    folder = tmp_path_factory.mktemp("more") / "results"
    for number, path in enumerate(sorted((BENCH / "results").glob("*/*_s*.json"))):
        result = results.read_result(path)
        made = [result]
        if result.seed == 1 and result.table not in ("random", "budget"):
            seeds = (10, 4) if number % 2 else (10,)
            made += [dataclasses.replace(result, seed=seed) for seed in seeds]
        for one in made:
            results.write_result(folder, f"{path.stem.rpartition('_s')[0]}_s{one.seed}", one)
    return folder


def test_results_come_by_seed(harness, more_seeds):
    results, _ = harness
    seeds = [r.seed for r in results.read_results(more_seeds, "curriculum") if r.arm == "none"]
    assert set(seeds) >= {1, 2, 3, 10}
    assert all(later > one or later == 1 for one, later in itertools.pairwise(seeds))


_MADE_OF_OTHERS = ("forgetting", "sample-efficiency")


@pytest.mark.parametrize(
    "name", [*(path.name for path in sorted((BENCH / "results").iterdir())), *_MADE_OF_OTHERS]
)
def test_tables_take_more_seeds_in_their_stride(more_seeds, tmp_path, name):
    """A row compares the seeds that are common; what waited for none still waits for none."""
    text = table(name).report(more_seeds, tmp_path)
    if name not in ("random", "budget"):
        note = " ".join(text.split())
        assert re.search(r"Round: seeds 1, (2, )?(3, )?(4, )?10;", note), note[-300:]
    if not hasattr(table(name), "claims"):
        return
    claims = table(name).claims(BENCH / "results")
    whole = {claim.what for claim in claims if claim.met in ("yes", "no")}
    for claim in table(name).claims(more_seeds):
        assert claim.what not in whole or "so far" not in claim.met


def test_files_of_other_seeds_are_counted_beside_those_listed(harness, more_seeds, tmp_path):
    from harness.document import write_document
    from harness.tables import curriculum

    _, runs = harness
    place = runs.Place(tmp_path / "results", tmp_path, tmp_path)
    shutil.copytree(more_seeds / "curriculum", place.results / "curriculum")
    write_document(tmp_path / "page.md", place, [curriculum])
    others = len([*place.results.glob("*/*_s10.json"), *place.results.glob("*/*_s4.json")])
    done, listed = len([*place.results.glob("*/*.json")]) - others, len(curriculum.runs())
    text = " ".join((tmp_path / "page.md").read_text().split())
    assert f"curriculum: {done} of {listed}, and {others} of other seeds." in text


def test_results_of_another_scale_have_folders_and_a_page_of_their_own():
    import learning

    usual, larger, smoke = (learning._place(scale, None) for scale in (1.0, 4.0, 0.01))
    root = BENCH.parent
    assert usual.results == BENCH / "results"
    assert learning._page(usual, None) == root / "docs" / "benchmarks.md"
    assert (larger.results, larger.checkpoints) == (BENCH / "results-x4", BENCH / "checkpoints-x4")
    assert learning._page(larger, None) == root / "docs" / "benchmarks-x4.md"
    assert larger.steps(500_000) == 2_000_000
    assert larger.look == 1.0  # what is learnt longer is not attacked harder
    for folder in (smoke.results, smoke.checkpoints, learning._page(smoke, None)):
        assert root / "runs" in folder.parents
    assert len({place.working for place in (usual, larger, smoke)}) == 3
    # Nor do those that stand elsewhere go over the page.
    elsewhere = root / "elsewhere" / "results"
    assert learning._page(learning._place(1.0, elsewhere), elsewhere).parent == elsewhere.parent


def test_a_page_of_another_scale_says_so_and_has_figures_of_its_own(harness, tmp_path):
    from harness.document import write_document
    from harness.tables import distillation_peers

    results, runs = harness
    place = runs.Place(tmp_path / "bench" / "results-x4", tmp_path, tmp_path, scale=4.0)
    curve = [(100, 1.0), (200, 2.0)]
    result = finished(
        harness, distillation_peers.TABLE, "ours", 1, final=2.0, curve=curve, budget=2_000_000
    )
    result = dataclasses.replace(result, figures={"seconds": 1.0})
    results.write_result(place.results, "Hopper_ours_s1", result)
    write_document(tmp_path / "docs" / "benchmarks-x4.md", place, [distillation_peers])
    text = " ".join((tmp_path / "docs" / "benchmarks-x4.md").read_text().split())
    assert "report --scale 4` from the files under `bench/results-x4`" in text
    assert "Every budget is 4 times that of the round which stands in" in text
    assert "(figures-x4/distillation-peers.svg)" in text
    assert (tmp_path / "docs" / "figures-x4" / "distillation-peers.svg").exists()
    assert "distillation-peers: 1 of 30" in text


def test_seeds_are_asked_for_one_by_one_and_by_ranges():
    import learning

    assert learning._seeds("4,5") == (4, 5)
    assert learning._seeds("1-3,7,2") == (1, 2, 3, 7)
    for wrong in ("x", "", "3-1", "0", "99-100"):
        with pytest.raises(argparse.ArgumentTypeError):
            learning._seeds(wrong)


def test_seeds_that_are_asked_for_are_listed_and_need_teachers_that_can_be():
    one_for_all = ("random", "budget")  # nothing in them differs by seed
    for each in tables():
        asked = each.runs((4, 5))
        if each.TABLE in one_for_all:
            assert asked == each.runs()
            continue
        usual = [run for run in each.runs() if run.seed == 1]
        assert len(asked) == 2 * len(usual)
        assert {run.seed for run in asked} == ({4, 5} if usual else set())
        assert all(1 <= needed.seed <= run.seed for run in asked for needed in run.needs)


def test_students_of_three_teachers_have_their_own_among_them():
    from harness.teaching import three_teachers

    assert [three_teachers(seed) for seed in (1, 2, 3)] == [(1, 2, 3)] * 3
    assert [three_teachers(seed) for seed in (4, 5, 10)] == [(2, 3, 4), (3, 4, 5), (8, 9, 10)]


def test_settings_of_results_are_not_of_the_seeds_they_were_found_on():
    for each in tables():
        assert max(each.SEEDS) < 100


@pytest.mark.parametrize("arm", ["behaviour-cloning 128-64", "ours 16-16", "ppo 16-16"])
def test_compression_from_teacher_to_table(hopper_place, arm):
    from harness import runs

    compression = table("compression")
    [run] = [r for r in compression.runs() if (r.task, r.arm, r.seed) == ("Hopper", arm, 1)]
    assert runs.go_on([run], hopper_place, quiet) == (1, [])
    text = compression.report(hopper_place.results, hopper_place.results / "figures")
    assert f"| Hopper | {arm} | 1 | " in text
    [row] = [line for line in text.splitlines() if f"| {arm} |" in line]
    _, _, _, _, parameters, steps, queries, *_ = [cell.strip() for cell in row.split("|")]
    widths = [11, *(int(width) for width in arm.split(" ")[1].split("-")), 3]
    expected = sum((a + 1) * b for a, b in itertools.pairwise(widths))
    assert int(parameters.replace(" ", "")) == expected
    assert int(steps.replace(" ", "")) >= 6000
    assert bool(queries) == (not arm.startswith("ppo"))


def test_a_commit_is_marked_where_more_than_results_differs_from_it(harness, tmp_path, monkeypatch):
    results, _ = harness
    monkeypatch.setattr(results, "_ROOT", tmp_path)
    assert results.commit() == "unknown"
    more = "bench/results-x4/ppo/a.json"
    for name in ("code.py", "bench/results/ppo/a.json", more, "docs/benchmarks.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "-A"], [*who, "commit", "-qm", "first"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    clean = results.commit()
    assert len(clean) == 12
    (tmp_path / "bench/results/ppo/a.json").unlink()
    (tmp_path / more).write_text("2")
    (tmp_path / "docs/benchmarks.md").write_text("2")
    assert results.commit() == clean
    (tmp_path / "code.py").write_text("2")
    assert results.commit() == f"{clean}+"


def test_the_page_is_what_the_committed_results_make_of_it(tmp_path):
    from harness.document import write_document
    from harness.runs import Place
    from harness.tables import CLAIMING

    place = Place(BENCH / "results", tmp_path, tmp_path)
    write_document(tmp_path / "benchmarks.md", place, tables(), CLAIMING)
    page = BENCH.parent / "docs" / "benchmarks.md"
    assert (tmp_path / "benchmarks.md").read_text() == page.read_text()


def test_runs_beside_other_work_are_said_to_be_such(harness):
    from harness.report import settings_note

    quiet_run = finished(harness, "ppo", "fast", 1, final=1.0)
    quiet_run = dataclasses.replace(quiet_run, machine={**quiet_run.machine, "load": 0.2})
    busy_run = dataclasses.replace(quiet_run, machine={**quiet_run.machine, "load": 2.1})
    assert "beside other work" not in settings_note([quiet_run])
    said = " ".join(settings_note([quiet_run, busy_run]).split())
    assert "**Seconds of 1 of these 2 runs were measured beside other work**" in said
