"""What is installed is what stands in the tree."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PROJECT["tool"]["setuptools"]
LAYERS = ("hardware", "controller", "sim", "distill", "launch")
IGNORED = {"__pycache__"}


def _tree() -> set[str]:
    """Every file under the layers, by the name it must have in the wheel."""
    return {
        f"retort/{path.relative_to(ROOT).as_posix()}"
        for layer in LAYERS
        for path in (ROOT / layer).rglob("*")
        if path.is_file() and not IGNORED & set(path.parts)
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names of the files in a wheel built from a copy of the tree."""
    work = tmp_path_factory.mktemp("wheel")
    source = work / "source"
    source.mkdir()
    for name in (*LAYERS, "pyproject.toml", "README.md", "LICENSE"):
        (source / name).symlink_to(ROOT / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", "--no-index", "--wheel-dir", str(work), str(source)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    (path,) = work.glob("*.whl")
    return {name for name in zipfile.ZipFile(path).namelist() if not name.endswith("/")}


def test_wheel_holds_every_file_of_the_tree_and_nothing_else(wheel: set[str]) -> None:
    packaged = {name for name in wheel if ".dist-info/" not in name}
    assert packaged == _tree()


def test_wheel_puts_nothing_beside_the_namespace(wheel: set[str]) -> None:
    tops = {name.split("/")[0] for name in wheel}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"retort"}


def test_every_folder_with_python_is_a_listed_package() -> None:
    folders = {
        "retort." + ".".join(path.parent.relative_to(ROOT).parts)
        for layer in LAYERS
        for path in (ROOT / layer).rglob("*.py")
    }
    assert folders == set(SETUPTOOLS["packages"])


def test_launch_and_the_namespace_have_no_init() -> None:
    assert not (ROOT / "launch" / "__init__.py").exists()
    assert not (ROOT / "retort").exists()


def test_constraints_pin_every_direct_requirement() -> None:
    pinned = {
        re.split(r"==", line)[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    project = PROJECT["project"]
    wanted = [*project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        wanted.extend(extra)
    names = {re.split(r"[\[<>=]", requirement)[0].lower() for requirement in wanted}
    assert names - {"retort"} <= pinned


def test_the_command_starts_without_what_only_training_needs() -> None:
    script = (
        "import sys, retort.launch.cli as cli\n"
        "code = cli.main(['--help'])\n"
        "unwanted = {'torch', 'mujoco', 'gymnasium', 'matplotlib', 'onnx', 'rich'}\n"
        "heavy = unwanted & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else code)\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "usage: retort" in ran.stdout
