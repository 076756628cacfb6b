"""``retort bench host`` and ``--budget-us``: a file from the robot's computer, used in training."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from retort.controller import host as hosts
from retort.controller.host import load_host
from retort.launch import bench_host
from retort.launch.cli import main
from retort.launch.recipe import load_recipe
from retort.launch.train import chosen_recipe


@pytest.fixture(scope="module")
def host_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small grid, measured here by the verb itself."""
    path = tmp_path_factory.mktemp("host") / "pi.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hosts, "WIDTHS", (8, 32))
        assert main(["bench", "host", "--out", str(path), "--steps=5", "--passes=2"]) == 0
    return path


def test_every_kind_and_activation_is_measured(host_file: Path) -> None:
    host = load_host(host_file)
    seen = {(row.kind, row.memory_layers, row.dense_layers, row.activation) for row in host.timings}
    assert seen == {
        (kind, *family, activation)
        for kind, families in hosts.FAMILIES.items()
        for family in families
        for activation in hosts.ACTIVATIONS
    }
    assert all(0 < row.p50 <= row.p99 for row in host.timings)
    assert host.machine["machine"]
    assert host.versions["numpy"]


def test_the_robot_s_computer_needs_no_training_code_for_it(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from retort.controller import host\n"
        "host.WIDTHS = (8,)\n"
        "from retort.launch.cli import main\n"
        f"code = main(['bench', 'host', '--out', {str(tmp_path / 'h.json')!r}, '--steps=1'])\n"
        "heavy = {'torch', 'mujoco', 'gymnasium', 'rich', 'tomli_w'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else code)\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "next: retort launch" in ran.stdout


def test_a_budget_changes_the_student_s_widths_and_nothing_else(
    host_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from retort.launch.cli import _parser

    words = ["distill", "balancer", "--budget-us=100000", "--host", str(host_file)]
    recipe, plain = chosen_recipe(_parser()[0].parse_args(words)), load_recipe("balancer")
    assert recipe.student.hidden == (32,) * len(plain.student.hidden)
    assert recipe.student.kind == plain.student.kind
    assert recipe.distill == plain.distill
    assert "student: mlp of width 32" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--budget-us=50"], "belong together"),
        (["--budget-us=50", "--host=missing.json"], "retort bench host --out missing.json"),
        (["--budget-us=0.001", "--host=HOST"], "is expected to take"),
    ],
)
def test_a_budget_that_cannot_be_kept_is_one_sentence(
    words: list[str],
    said: str,
    host_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [word.replace("HOST", str(host_file)) for word in words]
    assert main(["distill", "balancer", "--out", str(tmp_path / "run"), *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_where_nothing_can_be_written_nothing_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(hosts, "time_steps", lambda *_: pytest.fail("it was measured"))
    (tmp_path / "file").touch()
    for out in (tmp_path / "file" / "pi.json", tmp_path):
        assert main(["bench", "host", "--out", str(out)]) == 1
        assert f"{out} cannot be written" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_measurement_that_is_interrupted_promises_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(hosts, "time_steps", interrupt)
    assert main(["bench", "host", "--out", str(tmp_path / "pi.json")]) == 130
    assert capsys.readouterr().err == "retort: interrupted\n"
    assert not list(tmp_path.iterdir())


def test_how_far_it_is_stands_on_lines_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(steps: int, passes: int, progress: Callable[[int, int], None]) -> None:
        for done in range(1, 8):
            progress(done, 73)
        raise KeyboardInterrupt

    monkeypatch.setattr(bench_host, "measure_host", measured)
    assert main(["bench", "host", "--out", str(tmp_path / "pi.json")]) == 130
    assert capsys.readouterr().err == "7 of 73 measured\nretort: interrupted\n"
