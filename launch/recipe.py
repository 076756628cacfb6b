"""Recipes: everything one run is made of, as a strict TOML file. Nothing here runs anything."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import tomllib
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from ..controller import CommandError, Schedule
from ..distill.experiment import OF_ROBOTS, Experiment
from ..distill.modes import MODES
from ..hardware.checks import SEED, check_fields, nearest
from ..hardware.errors import RetortError
from ..hardware.parsing import parse
from ..sim.definition import is_file
from .files import write_whole
from .ports import VIRTUAL
from .run_config import RunConfig
from .virtual import VirtualConfig

RECIPES = Path(__file__).parent
SUFFIX = ".toml"
# What keeps what it holds where no such path is.
_NAMES = ("robot", "task", "name", "kind", "mode", "xml_file", "dataset", "faults")
_CODE = ("task", "name", "kind", "mode")  # what else is so called is not meant
_OF_FALLS = {"teacher": ("fall_penalty", "final_fall_penalty"), "distill": ("fall_penalty",)}
_RUNS = {"run": RunConfig(), "virtual": VirtualConfig()}  # of robots, as ``OF_ROBOTS``


class RecipeError(RetortError):
    """A recipe does not exist, or holds a key or value that is not allowed."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe(Experiment):
    """What is learnt (``Experiment``) and, of a robot, how the result is run."""

    name: str
    run: RunConfig = dataclasses.field(default_factory=RunConfig)
    virtual: VirtualConfig = dataclasses.field(default_factory=VirtualConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.environment is not None:
            self.refuse_robots(_RUNS)
        name = self.name
        if name in ("", ".", "..") or "/" in name or not name.isprintable():
            raise ValueError(f"name is {name!r}; it names the run's folder and may hold no '/'")
        check_fields(self, seed=SEED)
        if self.virtual.faults and self.run.port != VIRTUAL:
            raise ValueError(
                f"virtual.faults is for virtual robots and run.port is {self.run.port!r}; leave it "
                f"out, or set run.port to {VIRTUAL!r}"
            )

    def check(self) -> None:
        """What one key alone cannot show: whether what is named is there and fits, and the recipe's
        times fit it; and whether its evaluation is held out.

        Raises:
            RetortError: there is no such robot, task or environment, they do not fit each other, or
                a value does not fit them.
        """
        self.evaluation.check_held_out(self.seed)
        self.world.check()
        self._check_levels()
        if self.environment is None:
            self._check_times()

    def _check_levels(self) -> None:
        distill, kind = self.distill, self.curriculum.kind
        waits = self.curriculum.follows_scores and MODES[distill.mode].acts
        if waits and self.world.axes and not distill.both_act:
            raise RecipeError(
                f"curriculum.kind is {kind!r}, which compares episodes of student and teacher, and "
                f"of {distill.num_envs} environments one of them drives none (distill.mode is "
                f"{distill.mode!r}, teacher_share {distill.teacher_share:g}): no level would ever "
                "move; set curriculum.kind to 'fixed' or 'none', or let both act"
            )

    def _check_times(self) -> None:
        robot, _, contract = self.robot_world().load()
        times = {
            "teacher.episode_seconds": self.teacher.episode_seconds,
            "distill.episode_seconds": self.distill.episode_seconds,
            "evaluation.seconds": self.evaluation.seconds,
            "evaluation.hardest_seconds": self.evaluation.hardest_seconds,
        }
        for name, seconds in times.items():
            if round(seconds * robot.control_rate) < 1:
                raise RecipeError(
                    f"{name} is {seconds:g}; one tick of {robot.name} takes {robot.period:g} s, "
                    "use at least that"
                )
        try:
            Schedule(contract, [(step.time, step.values) for step in self.run.command])
        except CommandError as error:
            raise RecipeError(f"run.command: {error}") from error


def find_recipe(name: str | Path) -> Path:
    """The file of a recipe: a path, a run folder, or a name in ``launch/``.

    Raises:
        RecipeError: there is none; the message lists those there are.
    """
    path = Path(name)
    if path.is_dir() and (path / f"recipe{SUFFIX}").is_file():
        return path / f"recipe{SUFFIX}"
    if path.suffix == SUFFIX and path.is_file():
        return path
    shipped = RECIPES / f"{name}{SUFFIX}"
    if shipped.is_file():
        return shipped
    if path.suffix == SUFFIX:
        raise RecipeError(f"there is no file {path}; give the path of a recipe, or the name of one")
    if path.is_dir():
        raise RecipeError(
            f"the folder {path} holds no recipe{SUFFIX}; give that of a run, or a {SUFFIX} file"
        )
    known = sorted(file.stem for file in RECIPES.glob(f"*{SUFFIX}"))
    raise RecipeError(
        f"there is no recipe {str(name)!r}{nearest(str(name), known)}; retort has "
        f"{', '.join(known)}, or name a {SUFFIX} file or a run folder"
    )


def load_recipe(name: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe and apply overrides.

    A robot, task, model, data set, student, term, teacher, mode or profile of faults given as a
    path is taken relative to the recipe's folder, in an override relative to the working directory;
    where it is not there, relative to the other of the two.

    Args:
        name: a name in ``launch/``, a TOML file, or the folder of an earlier run.
        overrides: ``key.sub=value`` each, the value written as in TOML.

    Raises:
        RecipeError: no such recipe, an unknown key, or a value that is not allowed.
    """
    path = find_recipe(name)
    try:
        data = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not valid TOML: {error}") from error
    data.setdefault("name", path.stem)
    _resolve(data, path.parent, Path.cwd())
    try:
        return _read(data, overrides, path.parent)
    except (TypeError, ValueError) as error:
        blamed = _to_blame(data, overrides, path)
        raise RecipeError(f"{blamed}: {error}") from error


def _read(data: dict[str, Any], overrides: Sequence[str], folder: Path) -> Recipe:
    data = copy.deepcopy(data)
    for override in overrides:
        _apply(data, override)
    _resolve(data, Path.cwd(), folder)
    _refuse_lone_ends(data)
    if "environment" in data:
        _leave_falls(data)
    return parse(Recipe, data)


def _leave_falls(data: dict[str, Any]) -> None:
    """Where nothing is said of falls there are none in an environment: it may be its goal that ends
    an episode, and a robot's penalty would teach to avoid it.
    """
    for table, names in _OF_FALLS.items():
        if isinstance(data.setdefault(table, {}), dict):
            for name in names:
                data[table].setdefault(name, 0.0)


def _to_blame(data: dict[str, Any], overrides: Sequence[str], path: Path) -> str:
    """The override without which the rest can be read, or else all there is."""
    for i, override in enumerate(overrides):
        with contextlib.suppress(TypeError, ValueError):
            _read(data, [*overrides[:i], *overrides[i + 1 :]], path.parent)
            return f"--set {override!r}"
    return f"{path} with --set" if overrides else str(path)


def _resolve(data: dict[str, Any], first: Path, second: Path) -> None:
    """Make paths absolute that lead to something from ``first`` or ``second``, and those of
    teachers, which may be still to come, from ``first``.
    """
    for table, key in _paths(data):
        value = table[key]
        if not isinstance(value, str) or not value:
            continue
        found = [folder for folder in (first, second) if _stands(key, folder / value)]
        if found:
            table[key] = str((found[0] / value).resolve())
        elif key not in _NAMES:
            table[key] = str((first / value).absolute())


def _refuse_lone_ends(data: dict[str, Any]) -> None:
    """A term with an ``end`` says how its weight comes there; 0 could not be told from nothing once
    it has been read.

    Raises:
        ValueError: one does not.
    """
    distill = data.get("distill")
    terms = distill.get("terms") if isinstance(distill, dict) else None
    for i, term in enumerate(terms if isinstance(terms, list) else []):
        if isinstance(term, dict) and "end" in term and "schedule" not in term:
            raise ValueError(
                f"distill.terms[{i}].end is {term['end']!r} and does nothing where schedule is "
                "'constant', as it is where nothing is said; add schedule = 'linear', or leave it "
                "out"
            )


def _stands(key: Any, path: Path) -> bool:
    """What ``key`` names is at ``path``, and not a run folder, say, called as a robot is."""
    if key == "robot":
        return path.is_file() or (path / "robot.toml").is_file()
    if key in _CODE:
        return path.is_file() and is_file(path)
    return path.exists()


def _paths(data: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    """Where paths may stand in a recipe: a table or list, and the key or position in it."""

    def under(table: Any, *keys: str) -> Iterator[tuple[Any, Any]]:
        yield from ((table, key) for key in keys if isinstance(table, dict) and key in table)

    yield from under(data, "robot", "task")
    yield from under(data.get("virtual"), "faults")
    gymnasium = data.get("gymnasium")
    if isinstance(gymnasium, dict):
        yield from under(gymnasium.get("keywords"), "xml_file")
    yield from under(data.get("student"), "kind")
    distill = data.get("distill")
    yield from under(distill, "mode", "dataset")
    terms = distill.get("terms") if isinstance(distill, dict) else None
    for term in terms if isinstance(terms, list) else []:
        yield from under(term, "name")
    teachers = distill.get("teachers") if isinstance(distill, dict) else None
    others = teachers.get("others") if isinstance(teachers, dict) else None
    for i, entry in enumerate(others if isinstance(others, list) else []):
        yield from under(entry, "file", "statistics") if isinstance(entry, dict) else [(others, i)]


def save_recipe(recipe: Recipe, path: Path) -> None:
    """Write the resolved recipe, so that ``load_recipe(path)`` gives it again.

    Raises:
        FileError: it cannot be written.
    """
    data = plain(recipe)
    if recipe.environment is not None:  # where what is of robots says nothing
        for name in {**OF_ROBOTS, **_RUNS}:
            *tables, last = name.split(".")
            functools.reduce(dict.__getitem__, tables, data).pop(last, None)
    write_whole(path, tomli_w.dumps(data))


def plain(config: Any) -> dict[str, Any]:
    """A config dataclass as TOML data; keys that are None are left out."""
    return _without_none(dataclasses.asdict(config))


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_without_none(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _apply(data: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise RecipeError(f"--set {override!r} is not of the form key.sub=value")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError as error:
        if text.lstrip().startswith(("[", "{", '"', "'")):
            raise RecipeError(
                f"--set {override!r} is not as TOML writes it ({error}); the shell takes quotes "
                "away that are not within others, as in --set 'distill.terms=[{name=\"rl\"}]'"
            ) from error
        value = text  # a bare word, as in --set robot=balancer
    *tables, last = key.strip().split(".")
    table = data
    for name in tables:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise RecipeError(f"--set {override!r}: {name} is not a table in this recipe")
    table[last] = value


def sections(recipe: Recipe, names: Sequence[str]) -> dict[str, Any]:
    """The parts of a recipe called ``names``, as TOML data.

    Raises:
        KeyError: no such part (a mistake in retort, not in the recipe).
    """
    known = typing.get_type_hints(Recipe)
    missing = [name for name in names if name not in known]
    if missing:
        raise KeyError(f"a recipe has no {missing}")
    data = plain(recipe)
    return {name: data[name] for name in names if name in data}
