"""Benchmarks accumulate: a file per run, nothing done twice, nothing lost, tables from files."""

import dataclasses
import json
import sys

import pytest

from .conftest import quiet

pytestmark = pytest.mark.usefixtures("bench_on_path")


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


def test_a_student_is_made_anew_when_its_teacher_was(harness, place):
    results, runs = harness
    log = []
    teacher, student = listed(runs, ["teacher", "student"], log)
    student = dataclasses.replace(student, needs=(teacher,))
    assert runs.go_on([student], place, quiet) == (2, [])
    assert student.done(place)
    path = place.checkpoint(teacher)
    path.write_bytes(b"another one")
    assert not student.done(place)
    assert runs.go_on([student], place, quiet) == (1, [])
    [made] = [r for r in results.read_results(place.results, "t") if r.arm == "student"]
    assert list(made.checkpoints) == ["t/Task_teacher_s1"]
    path.unlink()  # where none is, nothing says that it was another
    assert student.done(place)
    assert log == ["teacher", "student", "student"]


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
