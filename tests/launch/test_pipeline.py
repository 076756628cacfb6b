"""``retort launch``: a stage that fails costs nothing, and is said in one sentence."""

from __future__ import annotations

import errno
import signal
import sys
from pathlib import Path

import pytest
from retort.distill.diverged import DivergedError
from retort.hardware import RetortError
from retort.launch import pipeline
from retort.launch.cli import main
from retort.launch.figures import Figure
from retort.launch.files import BusyError, at_work
from retort.launch.recipe import Recipe, load_recipe, save_recipe
from retort.launch.stages import ORDER


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (RetortError("the teacher is ill; feed it"), "distill failed: the teacher is ill; feed it"),
        (DivergedError("it left"), "distill failed: it left"),
        (
            OSError(errno.ENOSPC, "No space left on device", "x/y"),
            "x/y cannot be read or written (No space left on device)",
        ),
    ],
)
def test_a_failed_stage_is_reported_and_sets_the_exit_code(
    error: Exception,
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    done = []

    def do(name: str, recipe: Recipe, folder: Path, *, fresh: bool) -> bool:
        done.append(name)
        folder.mkdir(exist_ok=True)
        save_recipe(recipe, folder / "recipe.toml")
        if name == "distill":
            raise error
        return True

    monkeypatch.setattr(pipeline, "_do", do)
    out = tmp_path / "run"
    assert main(["launch", "balancer", "--out", str(out)]) == 1
    said = capsys.readouterr().err
    assert done == ["train", "distill"]
    assert sentence in said
    again = f"`retort launch {out}` goes on from there" in said
    assert again != isinstance(error, DivergedError)  # whose sentence says what to change first
    assert (out / "report.html").is_file()


def test_a_figure_that_depends_on_machine_and_seed_is_shown_and_does_not_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = Figure("Distillation time", "at most 90 s", "91 s", False)
    monkeypatch.setattr(pipeline, "_do", lambda *_, **__: True)
    monkeypatch.setattr(pipeline, "missed", lambda results: [slow])
    assert main(["launch", "balancer", "--out", str(tmp_path)]) == 0
    assert "missed: Distillation time: 91 s, wanted at most 90 s" in capsys.readouterr().err


def test_what_is_missed_on_the_bus_sets_the_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = []
    monkeypatch.setattr(pipeline, "_do", lambda name, *_, **__: done.append(name) or True)
    assert main(["launch", "balancer", "--out", str(tmp_path)]) == 1
    assert tuple(done) == ORDER
    assert "missed: Under the policy on the bus: not measured" in capsys.readouterr().err


def test_data_that_are_not_there_are_missed_before_anything_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    given = ["--set", "distill.mode=offline", "--set", f"distill.dataset={tmp_path / 'nowhere'}"]
    assert main(["launch", "balancer", "--out", str(out), *given]) == 2
    said = capsys.readouterr().err
    assert "nowhere" in said or ".[data]" in said  # what reads data sets may be missing, too
    assert not out.exists()


def test_a_run_that_is_not_there_is_missed_before_a_launch_and_may_come_after_a_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    given = [f"--out={out}", "--set", f'distill.teachers.others=["{tmp_path / "second"}"]']
    assert main(["launch", "balancer", *given]) == 2
    said = capsys.readouterr().err
    assert f"there is no {tmp_path / 'second'}, which distill.teachers.others names" in said
    assert not out.exists()
    monkeypatch.setattr("retort.launch.train._make", lambda *_, **__: None)
    assert main(["train", "balancer", *given]) == 0


@pytest.mark.parametrize(
    "given", [(), ("distill.mode=concurrent", "distill.teacher_share=0.75")], ids=str
)
def test_a_weight_that_follows_progress_is_rehearsed_where_both_act(
    given: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retort.launch.train._make", lambda *_, **__: None)
    terms = "distill.terms=[{name='policy_kl',schedule='progress'},{name='rl'},{name='value'}]"
    words = [f"--set={each}" for each in (terms, *given)]
    assert main(["train", "balancer", f"--out={tmp_path / 'run'}", *words]) == 0


def test_interrupting_says_how_to_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "_do", interrupted)
    arguments = ["launch", "balancer", "--out", str(tmp_path), "--set", "seed=3", "--fresh"]
    assert main(arguments) == 130
    said = capsys.readouterr().err
    assert f"`retort launch balancer --out {tmp_path} --set seed=3` resumes" in said


def test_a_run_folder_given_as_the_recipe_is_the_one_worked_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = []
    monkeypatch.setattr(pipeline, "_do", lambda _, __, folder, **___: folders.append(folder))
    save_recipe(load_recipe("balancer"), tmp_path / "second" / "recipe.toml")
    main(["launch", str(tmp_path / "second")])
    assert set(folders) == {tmp_path / "second"}


def test_nobody_else_gets_the_folder_between_two_stages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def do(name: str, recipe: object, folder: Path, *, fresh: bool) -> bool:
        asked.append(name)
        with pytest.raises(BusyError), at_work(folder):
            pass
        return False

    monkeypatch.setattr(pipeline, "_do", do)
    main(["launch", "balancer", "--out", str(tmp_path)])
    assert tuple(asked) == ORDER
    with at_work(tmp_path):
        pass  # it has ended


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_reaches_the_run_which_is_waited_for(number: int, tmp_path: Path) -> None:
    stopped = tmp_path / "stopped"
    child = (
        "import os, pathlib, signal, sys\n"
        f"signal.pthread_sigmask(signal.SIG_BLOCK, [{int(number)}])\n"
        f"os.kill(os.getppid(), {int(number)})\n"
        f"signal.sigwait([{int(number)}])\n"
        "pathlib.Path(sys.argv[1]).touch()\n"
    )
    before = signal.getsignal(number)
    assert pipeline._run([sys.executable, "-c", child, str(stopped)]) == 130
    assert stopped.exists()
    assert signal.getsignal(number) is before
