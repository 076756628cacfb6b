"""Which stages of a run folder are complete, and with which settings they were made."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from ..hardware.errors import RetortError
from .recipe import Recipe, save_recipe, sections

LEDGER = "stages.json"


class StageError(RetortError):
    """A stage cannot begin: one before it is missing, or other settings were begun with."""


@dataclasses.dataclass(frozen=True)
class Stage:
    """One step from recipe to report."""

    name: str  # its verb
    settings: tuple[str, ...]  # the recipe's parts that it adds to those of the stages before
    precious: bool = False  # begun work is never thrown away without --fresh


STAGES = (
    Stage("train", ("robot", "task", "seed", "contract", "simulation", "teacher"), precious=True),
    Stage("distill", ("student", "distill", "curriculum"), precious=True),
    Stage("export", ()),
    Stage("eval", ("evaluation",)),
    Stage("run", ("run", "virtual")),
)
ORDER = tuple(stage.name for stage in STAGES)


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
                self._records = json.loads(self._path.read_text())
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            self._damage = f"{self._path} is damaged ({error}); --fresh starts this run over"

    def complete(self, name: str) -> bool:
        """Whether stage ``name`` is complete with the recipe's settings."""
        record = self._records.get(name, {})
        return bool(record.get("complete")) and record["settings"] == self._settings(name)

    def begin(self, name: str, *, fresh: bool = False) -> bool:
        """Prepare stage ``name``; False if there is nothing left to do.

        Raises:
            StageError: an earlier stage is not complete, the stage was begun with other settings
                and holds work that would be lost, or the ledger is damaged.
        """
        if not fresh and self.complete(name):
            return False
        if self._damage and not fresh:
            raise StageError(self._damage)
        for before in self._before(name):
            if not self.complete(before):
                self._refuse_changes(before)
                raise StageError(
                    f"{name} needs what {before} makes; run `retort {before} {self.recipe.name}` "
                    f"first, or `retort launch {self.recipe.name}` for all of it"
                )
        if not fresh:
            self._refuse_changes(name)
        for later in ORDER[ORDER.index(name) :]:
            self._records.pop(later, None)
        self._records[name] = {"complete": False, "settings": self._settings(name)}
        save_recipe(self.recipe, self.folder / "recipe.toml")
        self._save()
        return True

    def finish(self, name: str) -> None:
        """Stage ``name`` is complete."""
        self._records[name]["complete"] = True
        self._save()

    def _refuse_changes(self, name: str) -> None:
        record = self._records.get(name)
        if record is None or not STAGES[ORDER.index(name)].precious:
            return
        change = _first_change(record["settings"], self._settings(name))
        if change:
            raise StageError(
                f"{name} was begun in {self.folder} with other settings ({change}); --fresh "
                "starts it over, --out FOLDER keeps both"
            )

    def _settings(self, name: str) -> dict[str, Any]:
        parts = [part for stage in STAGES[: ORDER.index(name) + 1] for part in stage.settings]
        return json.loads(json.dumps(sections(self.recipe, parts)))

    def _before(self, name: str) -> tuple[str, ...]:
        """Stages whose results ``name`` needs; the evaluation is not needed to run."""
        earlier = ORDER[: ORDER.index(name)]
        return tuple(stage for stage in earlier if stage != "eval")

    def _save(self) -> None:
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps(self._records, indent=1) + "\n")
        partial.replace(self._path)


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
