"""Which stages of a run folder are complete, and with which settings they were made."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..distill.experiment import TEACHER_PARTS
from ..distill.stages.finished import teacher_digests
from ..distill.worlds import file_digests
from ..hardware.errors import RetortError
from .files import write_whole
from .recipe import Recipe, save_recipe, sections

LEDGER = "stages.json"


class StageError(RetortError):
    """A stage cannot begin: one before it is missing, or other settings were begun with."""


@dataclasses.dataclass(frozen=True)
class Stage:
    """One step from recipe to report."""

    name: str  # its verb
    file: str  # there when the stage is complete
    settings: tuple[str, ...]  # the recipe's parts that it adds to those of the stages before
    robot: bool = False  # for robots only
    precious: bool = False  # begun work is never thrown away without --fresh
    replaceable: bool = False  # others write that file too: only the very one made here counts


STAGES = (
    Stage(
        "train",
        "teacher/checkpoint.safetensors",
        TEACHER_PARTS,
        precious=True,
    ),
    Stage(
        "distill",
        "distillation/checkpoint.safetensors",
        ("student", "distill", "curriculum"),
        precious=True,
    ),
    Stage("export", "student/manifest.json", (), robot=True),
    Stage("eval", "evaluation.json", ("evaluation",)),
    Stage("run", "flight/meta.json", ("run", "virtual"), robot=True, replaceable=True),
)
ORDER = tuple(stage.name for stage in STAGES)


def stages_of(recipe: Recipe) -> tuple[str, ...]:
    """The stages that a recipe has, in their order: those of robots only where there is one."""
    return tuple(stage.name for stage in STAGES if not stage.robot or recipe.environment is None)


def ask_in_general(verb: str) -> str:
    """The command line of ``verb`` where nobody typed one."""
    return f"retort {verb} RECIPE"


class Ledger:
    """``stages.json`` of one run folder: what was begun and completed, with which settings.

    Args:
        folder: the run folder; made when a stage begins.
        recipe: what the caller wants done there.
    """

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        self.folder, self.recipe = folder, recipe
        self._path = folder / LEDGER
        self._records: dict[str, Any] = {}
        self._damage = ""
        try:
            if self._path.is_file():
                self._records = _checked(json.loads(self._path.read_text()))
        except ValueError as error:
            self._damage = f"{self._path} is damaged ({error}); --fresh starts this run over"

    def complete(self, name: str) -> bool:
        """Whether stage ``name`` is complete with the recipe's settings, and its file is there."""
        record = self._records.get(name)
        if record is None or not record["complete"] or not self.file(name).is_file():
            return False
        if record["settings"] != self._settings(name) or self._replaced(name):
            return False
        if self._changed(name):
            return False
        return not _stage(name).replaceable or record.get("made") == _digest(self.file(name))

    def file(self, name: str) -> Path:
        """What stage ``name`` makes, there when the stage is complete or was begun."""
        return self.folder / _stage(name).file

    def begin(
        self,
        name: str,
        *,
        fresh: bool = False,
        inputs: Callable[[], object] | None = None,
        asking: Callable[[str], str] = ask_in_general,
    ) -> bool:
        """Prepare stage ``name``; False if there is nothing left to do.

        Args:
            name: of the stage.
            fresh: do it even if it is complete.
            inputs: called before anything is forgotten; raises if the stage cannot be done.
            asking: the command line of another verb for the same recipe and folder.

        Raises:
            StageError: the recipe has no such stage, an earlier one is not complete, it was begun
                with other settings or files and holds work that would be lost, or the ledger is
                damaged.
            FileError: the run folder cannot be written.
        """
        if name not in stages_of(self.recipe):
            raise StageError(
                f"{name} is for a robot, whose contract goes into the bundle, and the environment "
                f"{self.recipe.environment!r} has none; its student stays in {self.file('distill')}"
            )
        if not fresh and self.complete(name):
            return False
        if self._damage and not fresh:
            raise StageError(self._damage)
        for before in self._before(name):
            if not self.complete(before):
                self._refuse_changes(before)
                raise StageError(
                    f"{name} needs what {before} makes; run `{asking(before)}` first, or "
                    f"`{asking('launch')}` for all of it"
                )
        if not fresh:
            self._refuse_changes(name)
        if inputs is not None:
            inputs()
        for later in ORDER[ORDER.index(name) :]:
            self._records.pop(later, None)
        self._records[name] = {
            "complete": False,
            "settings": self._settings(name),
            "files": self._files,
        }
        if name == "distill":
            self._records[name]["teachers"] = list(teacher_digests(self.recipe))
        save_recipe(self.recipe, self.folder / "recipe.toml")
        self._save()
        return True

    def finish(self, name: str) -> None:
        """Stage ``name`` is complete."""
        self._records[name]["complete"] = True
        if _stage(name).replaceable:
            self._records[name]["made"] = _digest(self.file(name))
        self._save()

    def note(self, name: str, key: str, value: str) -> None:
        """Keep ``value`` in the record of stage ``name``, until that begins anew."""
        self._records[name][key] = value
        self._save()

    def _refuse_changes(self, name: str) -> None:
        record = self._records.get(name)
        if record is None or not _stage(name).precious:
            return
        if not self.file(name).is_file():
            return  # begun, but nothing came of it
        change = _first_change(record["settings"], self._settings(name))
        if change:
            raise StageError(
                f"{name} was begun in {self.folder} with other settings ({change}); --fresh "
                "starts it over, --out FOLDER keeps both"
            )
        replaced = self._replaced(name)
        if replaced:
            raise StageError(
                f"{name} was begun in {self.folder} with another teacher than {replaced} now "
                "holds; give that one back, --fresh starts it over, --out FOLDER keeps both"
            )

        changed = self._changed(name)
        if changed:
            raise StageError(
                f"{changed} has changed since {name} was begun in {self.folder}; --fresh starts it "
                "over, --out FOLDER keeps this run"
            )

    @functools.cached_property
    def _files(self) -> dict[str, str]:
        return file_digests(self.recipe.world)

    def _changed(self, name: str) -> str:
        """The first file of the user's own that is another than when stage ``name`` was begun;
        empty if none is. One that is gone, or that nobody took down, is not held against it.
        """
        before = self._records[name].get("files", {})
        now = self._files
        return next((path for path in now if before.get(path, now[path]) != now[path]), "")

    def _replaced(self, name: str) -> str:
        """The first path that held another teacher when stage ``name`` was begun; empty if none
        did. One that is gone has been learnt from all the same.
        """
        before = self._records[name].get("teachers", ())
        if not before:
            return ""
        for other, old, new in zip(
            self.recipe.distill.teachers.named, before, teacher_digests(self.recipe), strict=False
        ):
            if old and new and old != new:
                return other.path
        return ""

    def _settings(self, name: str) -> dict[str, Any]:
        parts = [part for stage in STAGES[: ORDER.index(name) + 1] for part in stage.settings]
        settings = _said(json.loads(json.dumps(sections(self.recipe, parts))))
        code = self.recipe.code(parts)
        return {**settings, "code": code} if code else settings

    def _before(self, name: str) -> tuple[str, ...]:
        """Stages whose results ``name`` needs: nothing but a report needs the evaluation, and a
        student that learns from a data set needs no teacher but to be compared with.
        """
        spared = {"eval"}
        spared.update(set(ORDER) - set(stages_of(self.recipe)))
        if self.recipe.distill.dataset is not None and name != "eval":
            spared.add("train")
        return tuple(stage for stage in ORDER[: ORDER.index(name)] if stage not in spared)

    def _save(self) -> None:
        write_whole(self._path, json.dumps(self._records, indent=1) + "\n")


def _stage(name: str) -> Stage:
    return STAGES[ORDER.index(name)]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _checked(records: Any) -> dict[str, Any]:
    """The ledger's records, if they are such.

    Raises:
        ValueError: they are not.
    """
    whole = isinstance(records, dict) and all(
        isinstance(record, dict)
        and isinstance(record.get("complete"), bool)
        and isinstance(record.get("settings"), dict)
        and isinstance(record.get("teachers", []), list)
        and isinstance(record.get("files", {}), dict)
        for record in records.values()
    )
    if not whole:
        raise ValueError("it does not tell of stages")
    return {name: {**each, "settings": _said(each["settings"])} for name, each in records.items()}


def _said(settings: dict[str, Any]) -> dict[str, Any]:
    """Without switches where there are none, as settings are from before there were any."""
    return {key: value for key, value in settings.items() if key != "switches" or value}


def _first_change(old: Any, new: Any, where: str = "") -> str:
    """The first difference between two settings, for a person; empty if there is none."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            path = f"{where}.{key}" if where else key
            change = _first_change(old.get(key), new.get(key), path)
            if change:
                return change
        return ""
    return "" if old == new else f"{where}: {old} there, {new} here"
