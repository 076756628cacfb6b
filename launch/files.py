"""Writing a run folder's files so that each is there whole or as it was before."""

from __future__ import annotations

from pathlib import Path

from ..hardware.errors import RetortError


class FileError(RetortError):
    """A file of a run folder cannot be written."""


def write_whole(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` in one step; its folder is made when missing.

    Raises:
        FileError: it cannot be written; what was there before still is.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.write_text(text, encoding="utf-8")
            partial.replace(path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise FileError(
            f"{path} cannot be written ({error.strerror or error}); make room or allow writing "
            "there, and run the same command again"
        ) from error
