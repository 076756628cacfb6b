"""Which files a robot is made of: robot.toml, MJCF with all that it refers to, servo tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from ..hardware.model_table import MODELS
from ..hardware.robot import Robot

_FOLDERS = ("meshdir", "texturedir", "assetdir")  # of a <compiler>


def robot_files(robot: Robot) -> tuple[Path, ...]:
    """The files that simulations and buses of ``robot`` depend on, each once.

    Meshes and textures are found by name in every folder that the MJCF names for such.
    """
    models = {joint.servo for joint in robot.joint} | ({robot.imu.model} if robot.imu else set())
    tables = [MODELS / f"{model}.toml" for model in sorted(models)]
    found = (robot.folder / "robot.toml", *_mjcf_files(robot.model_path), *tables)
    return tuple(dict.fromkeys(found))


def _mjcf_files(path: Path) -> Iterator[Path]:
    documents = dict(_documents(path, path.parent))
    yield from documents
    elements = [each for root in documents.values() for each in root.iter()]
    named = (each.get(name) for each in elements for name in _FOLDERS if each.tag == "compiler")
    folders = [path.parent, *(path.parent / folder for folder in named if folder)]
    for name in (each.get("file") for each in elements if each.tag != "include"):
        yield from (folder / name for folder in folders if name and (folder / name).is_file())


def _documents(path: Path, folder: Path) -> Iterator[tuple[Path, ElementTree.Element]]:
    """An MJCF and those it includes, which are named relative to ``folder``."""
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError):  # MuJoCo says what is wrong
        return
    yield path, root
    for include in root.iter("include"):
        yield from _documents(folder / include.get("file", ""), folder)
