"""Benchmarks accumulate: a file per run, nothing done twice, nothing lost, tables from files."""

import argparse
import dataclasses
import itertools
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"


pytestmark = pytest.mark.usefixtures("bench_on_path")


@pytest.fixture
def harness():
    from harness import results, runs

    return results, runs


def made(runs, value=1.0):
    point = sys.modules["harness.results"].Point(100, 1.5, value)
    return runs.Made({"size": 3}, [point], [value, value + 2.0], {"parameters": 7.0})


def listed(runs, names, log, fail=(), error=KeyboardInterrupt):
    """Runs that write down that they were done."""

    def execute(run, place, _):
        if run.arm in fail:
            raise error
        log.append(run.arm)
        place.checkpoint(run).parent.mkdir(parents=True, exist_ok=True)
        place.checkpoint(run).touch()
        return made(runs)

    return [
        runs.Run(table="t", task="Task", arm=arm, seed=1, budget=100, execute=execute)
        for arm in names
    ]


@pytest.fixture
def place(harness, tmp_path):
    return harness[1].Place(tmp_path / "results", tmp_path / "checkpoints", tmp_path / "working")


def quiet(text):
    pass


def test_a_result_comes_back_as_it_was_written(harness, tmp_path):
    results, _ = harness
    result = results.Result(
        table="t",
        task="Task",
        arm="a",
        seed=1,
        budget=10,
        settings={"gamma": 0.9},
        curve=[results.Point(1, 2.0, 3.0)],
        final=[1.0, 2.0],
        figures={"seconds": 4.0},
        machine=results.machine(),
        versions=results.versions(),
        commit=results.commit(),
        date=results.today(),
    )
    path = results.write_result(tmp_path, "one", result)
    assert results.read_result(path) == result
    assert results.read_results(tmp_path, "t") == [result]
    assert result.mean_return == 1.5
    assert {"processor", "cores", "load"} <= set(result.machine)
    assert {"torch", "mujoco"} <= set(result.versions)


def test_a_file_that_is_no_result_is_named(harness, tmp_path):
    results, _ = harness
    path = tmp_path / "t" / "x.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"curve": []}))
    with pytest.raises(ValueError, match=r"x\.json is not a result"):
        results.read_results(tmp_path, "t")


def test_a_command_that_was_interrupted_goes_on_where_its_files_end(harness, place):
    _, runs = harness
    log = []
    with pytest.raises(KeyboardInterrupt):
        runs.go_on(listed(runs, "abc", log, fail="c"), place, quiet)
    assert log == ["a", "b"]
    assert runs.go_on(listed(runs, "abc", log), place, quiet) == (1, [])
    assert log == ["a", "b", "c"]
    assert runs.go_on(listed(runs, "abc", log), place, quiet) == (0, [])


def test_a_run_that_fails_is_named_and_does_not_end_the_sweep(harness, place):
    _, runs = harness
    log, said = [], []
    every = listed(runs, "abc", log, fail="b", error=RuntimeError("out of luck"))
    assert runs.go_on(every, place, said.append) == (2, ["t/Task_b_s1"])
    assert log == ["a", "c"]
    assert "out of luck" in "".join(said)


def test_a_run_that_another_process_does_is_left_to_it(harness, place):
    from retort.launch.files import at_work

    _, runs = harness
    log = []
    every = listed(runs, "ab", log)
    with at_work(place.working / "t" / every[0].name):
        assert runs.go_on(every, place, quiet) == (1, [])
    assert log == ["b"]


def test_a_run_whose_teacher_left_no_checkpoint_here_does_the_teacher_again(harness, place):
    _, runs = harness
    log = []
    teacher, student = listed(runs, ["teacher", "student"], log)
    student = dataclasses.replace(student, needs=(teacher,))
    runs.go_on([teacher], place, quiet)
    place.checkpoint(teacher).unlink()
    runs.go_on([teacher, student], place, quiet)
    assert log == ["teacher", "teacher", "student"]


def test_a_result_of_another_budget_or_none_at_all_is_not_that_of_the_run(harness, place):
    results, runs = harness
    log = []
    [run] = listed(runs, "a", log)
    longer = dataclasses.replace(run, budget=200)
    runs.go_on([run], place, quiet)
    assert run.done(place)
    assert not longer.done(place)
    assert runs.go_on([longer], place, quiet) == (1, [])
    [result] = results.read_results(place.results, "t")
    assert result.budget == 200
    (place.results / "t" / f"{run.name}.json").write_text("{}")
    assert not run.done(place)


def test_a_student_does_not_learn_from_a_teacher_of_another_budget(harness, place):
    _, runs = harness
    log = []
    teacher, student = listed(runs, ["teacher", "student"], log)
    runs.go_on([teacher], place, quiet)
    longer = dataclasses.replace(teacher, budget=200)
    student = dataclasses.replace(student, needs=(longer,))
    assert runs.go_on([student], place, quiet) == (2, [])
    assert log == ["teacher", "teacher", "student"]
    # A checkpoint alone is believed: results may stand elsewhere than what is shared.
    elsewhere = dataclasses.replace(place, results=place.working / "elsewhere")
    assert runs.go_on([student], elsewhere, quiet) == (1, [])


def test_no_run_begins_when_the_time_is_over(harness, place):
    _, runs = harness
    log = []
    assert runs.go_on(listed(runs, "ab", log), place, quiet, minutes=0.0) == (0, [])
    assert log == []


def test_a_run_without_its_package_is_left_out_and_says_what_is_missing(harness, place):
    _, runs = harness
    log, said = [], []
    [run, other] = listed(runs, "ab", log)
    run = dataclasses.replace(run, package="a_package_nobody_has")
    assert runs.go_on([run, other], place, said.append) == (1, [])
    assert log == ["b"]
    assert "install a_package_nobody_has" in said[0]


def test_words_choose_runs(harness):
    _, runs = harness
    every = listed(runs, ["ppo 16-16", "ours 16-16", "ours 128-64"], [])
    assert [r.name for r in runs.select(every, ["ours", "16-16"])] == ["Task_ours-16-16_s1"]
    assert runs.select(every, ["theirs"]) == []


def tables():
    from harness.tables import TABLES

    return TABLES


def table(name):
    [found] = [each for each in tables() if name == each.TABLE]
    return found


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
def more_seeds(tmp_path_factory):
    """The committed results with seed 10 beside the first one in all, and 4 in some runs only."""
    sys.path.insert(0, str(BENCH))
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
def test_compression_from_teacher_to_table(teacher_place, arm):
    from harness import runs

    compression = table("compression")
    [run] = [r for r in compression.runs() if (r.task, r.arm, r.seed) == ("Hopper", arm, 1)]
    assert runs.go_on([run], teacher_place, quiet) == (1, [])
    text = compression.report(teacher_place.results, teacher_place.results / "figures")
    assert f"| Hopper | {arm} | 1 | " in text
    [row] = [line for line in text.splitlines() if f"| {arm} |" in line]
    _, _, _, _, parameters, steps, queries, *_ = [cell.strip() for cell in row.split("|")]
    widths = [11, *(int(width) for width in arm.split(" ")[1].split("-")), 3]
    expected = sum((a + 1) * b for a, b in itertools.pairwise(widths))
    assert int(parameters.replace(" ", "")) == expected
    assert int(steps.replace(" ", "")) >= 6000
    assert bool(queries) == (not arm.startswith("ppo"))


@pytest.fixture(scope="module")
def teacher_place(tmp_path_factory):
    """A place with a small budget and a teacher of it."""
    import torch

    sys.path.insert(0, str(BENCH))
    from harness import runs
    from harness.teaching import teacher_run

    folder = tmp_path_factory.mktemp("bench")
    place = runs.Place(folder / "results", folder / "checkpoints", folder / "working", scale=1e-9)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    runs.go_on([teacher_run("Hopper", 1)], place, quiet)
    yield place
    torch.set_num_threads(threads)


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


def section(harness, name, every, folder):
    results, _ = harness
    for result in every:
        results.write_result(folder, f"{result.task}_{result.arm}_s{result.seed}", result)
    return table(name).report(folder, folder / "figures")


def cells(text, start):
    [row] = [line for line in text.splitlines() if line.startswith(start)]
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_a_verdict_waits_for_the_seeds_of_what_is_compared_too(harness):
    from harness.report import verdict

    ours, peer = (
        [finished(harness, "t", arm, seed, final=1.0) for seed in seeds]
        for arm, seeds in (("ours", (1, 2, 3)), ("peer", (1, 2)))
    )
    assert verdict(True, ours, (1, 2, 3)) == "yes"
    assert verdict(True, ours, (1, 2, 3), peer) == "yes, so far"
    assert verdict(False, ours, (1, 2), ours, peer) == "no"


@pytest.mark.parametrize(
    ("middle", "whole", "seeds", "answer"),
    [
        (False, False, (1,), "no, so far"),
        (True, True, (1,), "one seed"),  # whose interval is a point
        (True, False, (1,), "one seed"),
        (True, True, (1, 2), "yes, so far"),
        (True, True, (1, 2, 3), "yes"),
        (True, False, (1, 2, 3), "not shown"),
    ],
)
def test_an_interval_shows_nothing_of_one_seed(harness, middle, whole, seeds, answer):
    from harness.report import shown_by_interval

    ours = [finished(harness, "t", "ours", seed, final=1.0) for seed in seeds]
    assert shown_by_interval(middle, whole, ours, (1, 2, 3)) == answer
    peer = [finished(harness, "t", "peer", seed, final=1.0) for seed in (3, 4)]
    if middle:  # seeds that the peer has not are no pairs
        assert shown_by_interval(middle, whole, ours, (1, 2, 3), peer) == "one seed"


def test_one_pair_is_not_enough_to_be_better_by(harness, tmp_path):
    every = [
        finished(harness, "several_teachers", "best single", 1, final=100.0),
        finished(harness, "several_teachers", "weights by value", 1, final=103.0),
        finished(harness, "several_teachers", "equal weights", 1, final=97.0),
    ]
    text = section(harness, "several_teachers", every, tmp_path)
    assert cells(text, "| Hopper | weights by value")[-2:] == ["1.030", "one seed"]
    assert cells(text, "| Hopper | equal weights")[-2:] == ["0.970", "no, so far"]


def test_steps_saved_are_of_runs_that_stayed_at_their_target(harness, tmp_path):
    student = [(10, 96.0), (20, 90.0), (30, 95.0), (40, 99.0)]  # at 10 it was luck
    scratch = [(100, 10.0), (300, 95.0), (400, 96.0)]
    every = [
        finished(harness, "teachers", "teacher", 1, final=100.0),
        finished(harness, "compression", "ours 16-16", 1, final=99.0, curve=student),
        finished(harness, "compression", "ppo-all 16-16", 1, final=96.0, curve=scratch, budget=400),
    ]
    text = section(harness, "sample-efficiency", every, tmp_path)
    assert cells(text, "| Hopper | ours")[4:] == ["30", "300", "10.0", "s1 10.0", "yes, so far"]


def test_a_run_that_never_got_there_counts_as_longer_than_its_budget(harness, tmp_path):
    scratch = [(200, 10.0), (400, 94.0)]
    every = [
        finished(harness, "teachers", "teacher", 1, final=100.0),
        finished(harness, "compression", "ppo-all 16-16", 1, final=94.0, curve=scratch, budget=400),
    ]
    for at, times, met in (
        (20, "more than 20.0", "yes, so far"),
        (80, "more than 5.0", "not shown"),
    ):
        curve = [(at, 96.0), (at + 1, 96.0)]
        student = finished(harness, "compression", "ours 16-16", 1, final=99.0, curve=curve)
        text = section(harness, "sample-efficiency", [*every, student], tmp_path)
        steps = "more than 400 (0 of 1)"
        assert cells(text, "| Hopper | ours")[5:] == [steps, times, f"s1 {times}", met]


def test_of_two_runs_one_of_which_never_got_there_only_a_bound_is_known(harness, tmp_path):
    every = []
    for seed, steps in enumerate((200, 999), start=1):
        scratch = [(steps, 96.0), (1000, 96.0 if steps == 200 else 94.0)]
        student = [(10 * seed, 96.0), (50, 96.0)]
        every += [
            finished(harness, "teachers", "teacher", seed, final=100.0),
            finished(harness, "compression", "ours 128-64", seed, final=99.0, curve=student),
            finished(
                harness,
                "compression",
                "ppo-all 128-64",
                seed,
                final=96.0,
                curve=scratch,
                budget=1000,
            ),
        ]
    text = section(harness, "sample-efficiency", every, tmp_path)
    assert cells(text, "| Hopper | ours")[4:] == [
        "15",  # half way between two
        "more than 600 (1 of 2)",
        "more than 40.0",
        "s1 20.0, s2 more than 50.0",
        "yes, so far",
    ]


@pytest.mark.parametrize(
    ("mine", "scratch", "shown"),
    [
        ((30, 10), (390, 60), ["11.2", "s1 13.0, s2 6.0", "no, so far"]),
        ((10, 30), (160, 180), ["8.5", "s1 16.0, s2 6.0", "no, so far"]),
        ((10, 30), (160, 240), ["10.0", "s1 16.0, s2 8.0", "yes, so far"]),
    ],
)
def test_one_seed_does_not_make_up_for_the_others(harness, tmp_path, mine, scratch, shown):
    every = []
    for seed, ends in enumerate(zip(mine, scratch, strict=True), start=1):
        every.append(finished(harness, "teachers", "teacher", seed, final=100.0))
        for arm, end in zip(("ours 128-64", "ppo-all 128-64"), ends, strict=True):
            curve = [(end, 96.0), (end + 1, 96.0)]
            every.append(finished(harness, "compression", arm, seed, final=9.0, curve=curve))
    text = section(harness, "sample-efficiency", every, tmp_path)
    assert cells(text, "| Hopper | ours")[6:] == shown


def test_steps_saved_are_claimed_of_one_arm_whichever_is_quicker(harness, tmp_path):
    curves = {"ours": [(20, 96.0), (30, 96.0)], "student-driven": [(10, 96.0), (20, 96.0)]}
    every = [
        finished(harness, "teachers", "teacher", 1, final=100.0),
        *(
            finished(harness, "compression", f"{arm} 128-64", 1, final=99.0, curve=curve)
            for arm, curve in {**curves, "ppo-all": [(100, 96.0), (200, 96.0)]}.items()
        ),
    ]
    section(harness, "sample-efficiency", every, tmp_path)
    [claim] = table("sample-efficiency").claims(tmp_path)
    assert claim.what.endswith("by `ours`")
    assert (claim.found, claim.met) == ("5.0 (s1 5.0)", "no, so far")


@pytest.mark.parametrize(
    ("finals", "met"),
    [
        ((101.0, 102.0, 103.0), "yes"),
        ((101.0, 94.0, 102.0), "no"),
        ((101.0, 102.0), "yes, so far"),
        ((101.0, 94.0), "no, so far"),
        ((101.0,), "one seed"),
        ((94.0,), "no, so far"),
    ],
)
def test_compression_is_met_by_middle_lower_end_and_published_ratio(harness, tmp_path, finals, met):
    every = [
        made
        for seed, final in enumerate(finals, start=1)
        for made in (
            finished(harness, "teachers", "teacher", seed, final=100.0),
            finished(harness, "compression", "ours 128-64", seed, final=final),
        )
    ]
    assert cells(section(harness, "compression", every, tmp_path), "| Hopper | ours")[-1] == met
    [claim] = table("compression").claims(tmp_path)
    assert claim.met == met
    assert claim.found.endswith("by `ours`")
