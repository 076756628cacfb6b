"""What every stage of training has: checkpoint, progress file, TensorBoard, an end by signal."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from ..checkpoint import CheckpointError, load_checkpoint, save_checkpoint

Progress = Callable[[dict[str, Any]], None]

_SAVE_EVERY = 15.0  # [s]


class Stage:
    """One stage of training in a folder.

    Args:
        folder: gets ``checkpoint.safetensors``, ``progress.jsonl`` and TensorBoard events.
        key: text that is equal when two runs would train the same.
        budget: environment steps.
        fresh: forget what stands in the folder.
    """

    def __init__(self, folder: Path, key: str, budget: int, fresh: bool) -> None:
        self.folder, self.key, self.budget = folder, key, budget
        self.checkpoint = folder / "checkpoint.safetensors"
        self.progress_file = folder / "progress.jsonl"
        self.steps, self.seconds = 0, 0.0
        if fresh:
            self.checkpoint.unlink(missing_ok=True)
            self.progress_file.unlink(missing_ok=True)

    def begin(self) -> dict[str, Any] | None:
        """What was saved before, if anything."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.checkpoint.exists():
            self.progress_file.unlink(missing_ok=True)
            return None
        saved = load_checkpoint(self.checkpoint)
        if saved.get("key") != self.key:
            raise CheckpointError(
                f"{self.checkpoint} was made by a different recipe or other teachers; give the "
                "old ones back, start over with --fresh, or write elsewhere with --out"
            )
        self.steps, self.seconds = int(saved["steps"]), float(saved["seconds"])
        if self.progress_file.exists():
            rows = self.progress_file.read_text().splitlines(keepends=True)
            kept = [row for row in rows if row.endswith("\n") and _steps(row) <= self.steps]
            self.progress_file.write_text("".join(kept))
        return saved

    def run(
        self,
        iterations: Iterator[dict[str, Any]],
        snapshot: Callable[[], dict[str, Any]],
        progress: Progress | None,
    ) -> Path:
        """Consume ``iterations``, saving as it goes."""
        if self.steps < self.budget:
            with _refusals_named(self.folder):
                self._consume(iterations, snapshot, progress)
        return self.checkpoint

    def _consume(
        self,
        iterations: Iterator[dict[str, Any]],
        snapshot: Callable[[], dict[str, Any]],
        progress: Progress | None,
    ) -> None:
        writer = SummaryWriter(str(self.folder), purge_step=self.steps + 1)
        saved_at = time.monotonic()
        with self.progress_file.open("a") as file, _interrupt_flag() as interrupted:
            for figures in iterations:
                self.steps, self.seconds = figures["steps"], figures["seconds"]
                file.write(json.dumps(figures) + "\n")
                file.flush()
                for name, value in _scalars(figures):
                    writer.add_scalar(name, value, self.steps)
                if progress is not None:
                    progress({**figures, "budget": self.budget})
                if interrupted or time.monotonic() - saved_at > _SAVE_EVERY:
                    self._save(snapshot())
                    saved_at = time.monotonic()
                if interrupted:
                    writer.close()
                    raise KeyboardInterrupt
        self._save(snapshot())
        writer.close()

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """What a checkpoint holds is given back to those that go on.

        Raises:
            CheckpointError: something is not there that they need.
        """
        try:
            yield
        except KeyError as error:
            raise CheckpointError(
                f"{self.checkpoint} lacks {error}, as another version of retort wrote it; finish "
                "with that one, or start over with --fresh"
            ) from error

    def _save(self, state: dict[str, Any]) -> None:
        header = {"key": self.key, "steps": self.steps, "seconds": self.seconds}
        save_checkpoint(self.checkpoint, {**header, **state})


@contextmanager
def _refusals_named(folder: Path) -> Iterator[None]:
    """What the system refuses to write is said with its folder.

    TensorBoard writes in a thread, which would print a traceback of its own; what stopped it is
    raised when it is given the next number.

    Raises:
        CheckpointError: it has refused.
    """
    previous = threading.excepthook
    threading.excepthook = lambda told: (
        None if issubclass(told.exc_type, OSError) else previous(told)
    )
    try:
        yield
    except OSError as error:
        if error.filename is not None or isinstance(error, BrokenPipeError):  # a screen's
            raise
        raise CheckpointError(
            f"nothing more can be written to {folder} ({error.strerror or error}); make room or "
            "raise the limit on files there, and start the command again: it goes on from the last "
            "checkpoint"
        ) from error
    finally:
        threading.excepthook = previous


@contextmanager
def _interrupt_flag() -> Iterator[list[int]]:
    """A list that Ctrl-C or the like makes true, so that an iteration is never cut in two."""
    flag: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    previous = {
        number: signal.signal(number, lambda number, frame: flag.append(number))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN  # as under nohup
    }
    try:
        yield flag
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def write_json(path: Path, data: Any) -> None:
    """Write a JSON file so that a reader sees the old one or the new one."""
    temporary = path.with_suffix(".partial")
    temporary.write_text(json.dumps(data, indent=1) + "\n")
    os.replace(temporary, path)


def _steps(row: str) -> int:
    try:
        return int(json.loads(row)["steps"])
    except (ValueError, KeyError):
        return 1 << 62


def _scalars(figures: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in figures.items():
        if isinstance(value, dict):
            yield from _scalars(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and name not in ("steps", "seconds"):
            yield f"{prefix}{name}", float(value)
