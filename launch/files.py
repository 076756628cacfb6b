"""A run folder's files: each there whole or as it was before, and one worker at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from ..hardware.errors import RetortError


class FileError(RetortError):
    """A file of a run folder cannot be written."""


class FolderError(FileError):
    """What was named as a folder to write to is none, or cannot be made."""


class BusyError(RetortError):
    """Another process is at work in a run folder."""


@contextlib.contextmanager
def made_folder(folder: Path) -> Iterator[None]:
    """Make ``folder`` unless it is there, and take it away again if nothing came of it.

    Raises:
        FolderError: it is something else, or cannot be made.
    """
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = "it is a file" if folder.is_file() else error.strerror or str(error)
        raise FolderError(
            f"{folder} cannot be the folder to write to ({why}); name another one with --out"
        ) from error
    try:
        yield
    finally:
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()


@contextlib.contextmanager
def at_work(folder: Path) -> Iterator[None]:
    """Be the only one at work in ``folder``, which is made if it is not there.

    The lock is on the folder itself: it leaves no file and ends with the process.

    Raises:
        FolderError: there can be no such folder.
        BusyError: another process is at work there.
    """
    with made_folder(folder):
        try:
            descriptor = os.open(folder, os.O_RDONLY)
        except OSError as error:
            raise FolderError(f"{folder} cannot be opened ({error.strerror})") from error
        try:
            _lock(descriptor, folder)
            yield
        finally:
            os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise BusyError(
            f"another retort is at work in {folder}; wait until it is done, or give another --out"
        ) from error


def require_writable(path: Path) -> None:
    """Before what is to be written there is worked out; its folder is made when missing.

    Raises:
        FileError: nothing can be written there.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()
        partial.unlink()
        if path.is_dir():
            raise IsADirectoryError("it is a folder")
    except OSError as error:
        raise unwritable(path, error) from error


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
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> FileError:
    """What to say of a file that the system refused to write."""
    return FileError(
        f"{path} cannot be written ({error.strerror or error}); make room or allow writing there "
        "and run the same command again, or name another place"
    )


def refusal(error: OSError) -> str:
    """The same of any file, where nobody has said which one it was and what for."""
    why = error.strerror or str(error)
    if error.filename is None:
        return (
            f"the system refused to read or write ({why}) without naming a file; look for room and "
            "rights where this command writes, and run it again"
        )
    return (
        f"{error.filename} cannot be read or written ({why}); see that it is there, with room and "
        "rights, or name another file, and run the same command again"
    )
