"""The layers: who may import whom, and what never reaches the robot's side."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYERS = ("hardware", "controller", "sim", "distill", "launch")
ROBOT_SIDE = {"numpy", "serial", "fastcrc", "array_api_compat", "safetensors"}
ALLOWED = {
    "hardware": ROBOT_SIDE - {"safetensors"},
    "controller": ROBOT_SIDE - {"serial", "fastcrc"},
}
FORBIDDEN = {"sim": {"torch", "tensorboard", "onnx", "matplotlib"}}
FILES = [path for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py"))]
TASKS = ROOT / "sim" / "tasks"  # are copied to begin with, so they import as users do


def _imports(path: Path) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Line and full dotted path of each import of ``path``, relative ones resolved."""
    package = ("retort", *path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, tuple(alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            for alias in node.names:
                module = tuple(node.module.split(".")) if node.module else ()
                yield node.lineno, (*base, *module, alias.name)


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_imports_point_up_the_list_of_layers_only(path: Path) -> None:
    layer = LAYERS.index(path.relative_to(ROOT).parts[0])
    wrong = [
        f"line {line} imports {'.'.join(name)}"
        for line, name in _imports(path)
        if name[0] == "retort" and len(name) > 1 and name[1] in LAYERS[layer + 1 :]
    ]
    assert not wrong


@pytest.mark.parametrize("path", [path for path in FILES if path.parent != TASKS], ids=_name)
def test_siblings_are_imported_relatively(path: Path) -> None:
    tree = ast.parse(path.read_text())
    absolute = [
        node.lineno
        for node in ast.walk(tree)
        if (isinstance(node, ast.Import) and any(a.name.startswith("retort") for a in node.names))
        or (
            isinstance(node, ast.ImportFrom)
            and not node.level
            and (node.module or "")[:6] == "retort"
        )
    ]
    assert not absolute


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.relative_to(ROOT).parts[0] in ALLOWED], ids=_name
)
def test_robot_side_imports_only_what_the_robot_has(path: Path) -> None:
    allowed = ALLOWED[path.relative_to(ROOT).parts[0]] | set(sys.stdlib_module_names) | {"retort"}
    assert {name[0] for _, name in _imports(path)} <= allowed


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.relative_to(ROOT).parts[0] in FORBIDDEN], ids=_name
)
def test_simulation_imports_no_training_library(path: Path) -> None:
    assert not {name[0] for _, name in _imports(path)} & FORBIDDEN[path.relative_to(ROOT).parts[0]]


def test_the_resolver_sees_wrong_imports(tmp_path: Path) -> None:
    path = ROOT / "hardware" / "deep" / "file.py"  # where the text below would stand

    class Text:
        def relative_to(self, root: Path) -> Path:
            return path.relative_to(root)

        def read_text(self) -> str:
            return "from ...sim import env\nfrom ..bus import Bus\nimport torch.nn\n"

    names = [name for _, name in _imports(Text())]  # type: ignore[arg-type]
    assert names == [
        ("retort", "sim", "env"),
        ("retort", "hardware", "bus", "Bus"),
        ("torch", "nn"),
    ]


def test_there_is_no_package_at_namespace_level_and_launch_is_a_namespace() -> None:
    assert not (ROOT / "__init__.py").exists()
    assert not (ROOT / "launch" / "__init__.py").exists()


def test_robot_side_loads_no_training_code() -> None:
    code = (
        "import sys, retort.controller, retort.hardware\n"
        "heavy = {'torch', 'mujoco', 'gymnasium'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_only_the_writer_calls_what_changes_a_servo() -> None:
    changing = {"write", "torque", "prepare"}
    callers = set()
    for path in sorted((ROOT / "controller").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            owner = ast.unparse(node.func.value)
            if node.func.attr in changing and owner.rsplit(".")[-1] in ("bus", "_bus"):
                callers.add(path.name)
    assert callers == {"writer.py"}


def test_only_the_gate_makes_gate_results() -> None:
    makers = set()
    for path in sorted((ROOT / "controller").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("GateResult"):
                makers.add(path.name)
    assert makers == {"gate.py"}
