"""The bundle: the folder that leaves training and reaches the robot. Writing, reading, verifying.

``contract.json`` (with its hash), ``policy.safetensors``, ``golden.npz``, exports for other
runtimes, and ``manifest.json`` with the SHA-256 of every other file.
"""

from __future__ import annotations

import ctypes
import dataclasses
import errno
import hashlib
import io
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..hardware.errors import RetortError
from .contract import Contract
from .golden import TOLERANCE, Golden, check_shapes, replay
from .policy import Policy, Tensors, load_policy
from .program import term_size

FORMAT = 2  # 2: golden vectors hold hidden states
CONTRACT, POLICY, GOLDEN, MANIFEST = (
    "contract.json",
    "policy.safetensors",
    "golden.npz",
    "manifest.json",
)


class BundleError(RetortError):
    """A bundle cannot be written, or is not what it says it is."""


@dataclasses.dataclass(frozen=True)
class Bundle:
    """A verified policy with everything that says what it means."""

    folder: Path
    contract: Contract
    policy: Policy
    meta: dict[str, Any]  # architecture, activation and whatever the export noted
    golden: Golden
    manifest: dict[str, Any]


def save_bundle(
    folder: str | Path,
    contract: Contract,
    policy_meta: Mapping[str, Any],
    tensors: Tensors,
    golden: Golden,
    extra_files: Mapping[str, bytes | Path] | None = None,
) -> Bundle:
    """Write and verify a bundle; ``folder`` is replaced at once or not at all.

    Args:
        folder: where; an older bundle there is replaced.
        contract: of the policy.
        policy_meta: ``{"architecture": "mlp", "activation": "elu"}`` and what should be noted.
        tensors: as ``load_policy`` takes them.
        golden: from ``record_golden`` with the trained network.
        extra_files: by name, content or a file to copy: ``policy.onnx``, ``policy.h``.

    Raises:
        BundleError: the disk is full, the folder holds something else, or the written bundle does
            not give the golden vectors. What was at ``folder`` before is untouched.
    """
    folder = Path(folder).absolute()
    if folder.exists() and not _replaceable(folder):
        raise BundleError(
            f"{folder} exists and is not a bundle; name another folder or remove it first"
        )
    temporary = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        _write_files(temporary, contract, policy_meta, tensors, golden, extra_files or {})
        verified = load_bundle(temporary)
        temporary.chmod(0o755)
        _replace(temporary, folder)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "the disk is full" if full else error.strerror or str(error)
        remedy = "free some space and export again" if full else "mend that and export again"
        raise BundleError(
            f"the bundle {folder} could not be written: {reason}; {remedy} (what was there before "
            "is untouched)"
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    return dataclasses.replace(verified, folder=folder)


def load_bundle(folder: str | Path) -> Bundle:
    """Read a bundle and verify it: digests, files, contract hash, golden vectors.

    Raises:
        BundleError: anything is not as it was exported; one sentence says what.
    """
    folder = Path(folder)
    manifest = _read_manifest(folder)
    content = _read_files(folder, manifest)
    try:
        record = json.loads(content[CONTRACT])
        contract = Contract.from_dict(record["contract"])
        stated = record["hash"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BundleError(
            f"{folder / CONTRACT} is not a contract: {error!r}; export again"
        ) from error
    except RetortError as error:
        raise BundleError(f"{folder / CONTRACT}: {error}; export again") from error
    _check_terms(folder, contract)
    for where, digest in ((CONTRACT, stated), (MANIFEST, manifest["contract_hash"])):
        if digest != contract.hash():
            raise BundleError(
                f"{folder}: {where} states contract hash {str(digest)[:12]}, its content gives "
                f"{contract.hash()[:12]}; the contract was changed after export, export again"
            )
    policy = _read_policy(folder, contract, manifest["policy"], content[POLICY])
    golden = _read_golden(folder, contract, content[GOLDEN])
    for what, difference in replay(contract, policy, golden).items():
        if not difference <= TOLERANCE:
            raise BundleError(
                f"{folder}: the policy's {what} differs by {difference:.2g} from the golden "
                f"vectors (at most {TOLERANCE:.0e}); weights, normaliser or contract are not those "
                "that were trained, export again"
            )
    return Bundle(folder, contract, policy, manifest["policy"], golden, manifest)


def _write_files(
    folder: Path,
    contract: Contract,
    policy_meta: Mapping[str, Any],
    tensors: Tensors,
    golden: Golden,
    extra_files: Mapping[str, bytes | Path],
) -> None:
    import importlib.metadata  # slow to import, and only an export needs them

    import safetensors.numpy

    record = {"hash": contract.hash(), "contract": contract.to_dict()}
    archive = io.BytesIO()
    np.savez_compressed(archive, **vars(golden))
    stored = {
        name: np.ascontiguousarray(value, np.int8 if value.dtype == np.int8 else np.float32)
        for name, value in tensors.items()
    }
    content: dict[str, bytes] = {
        CONTRACT: _json(record),
        POLICY: safetensors.numpy.save(stored),
        GOLDEN: archive.getvalue(),
    }
    for name, source in extra_files.items():
        if name in content or name == MANIFEST or Path(name).name != name:
            raise BundleError(f"an extra file cannot be called {name!r}; use a plain new name")
        content[name] = source if isinstance(source, bytes) else Path(source).read_bytes()
    manifest = {
        "format": FORMAT,
        "retort": importlib.metadata.version("retort"),
        "contract_hash": contract.hash(),
        "policy": dict(policy_meta),
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in content.items()},
    }
    content[MANIFEST] = _json(manifest)
    for name, data in content.items():
        with open(folder / name, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    _sync_folder(folder)


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not path.is_file():
        raise BundleError(
            f"{folder} is not a bundle: it has no {MANIFEST}; `retort export` makes one"
        )
    try:
        manifest = json.loads(path.read_bytes())
        got = manifest["format"]
        complete = (
            isinstance(manifest["files"], dict)
            and isinstance(manifest["policy"], dict)
            and "contract_hash" in manifest
        )
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path} cannot be read ({error!r}); export again") from error
    if got != FORMAT or not complete:
        raise BundleError(f"{path} has format {got}, this retort reads {FORMAT}; export again")
    return manifest


def _read_files(folder: Path, manifest: dict[str, Any]) -> dict[str, bytes]:
    expected, present = set(manifest["files"]), {path.name for path in folder.iterdir()}
    if missing := sorted((expected | {CONTRACT, POLICY, GOLDEN}) - present):
        raise BundleError(f"{folder} lacks {', '.join(missing)}; export or copy it again")
    if unknown := sorted(present - expected - {MANIFEST}):
        raise BundleError(
            f"{folder} holds {', '.join(unknown)}, which its manifest does not list; remove what "
            "does not belong there or export again"
        )
    content = {}
    for name, digest in manifest["files"].items():
        content[name] = (folder / name).read_bytes()
        got = hashlib.sha256(content[name]).hexdigest()
        if got != digest:
            raise BundleError(
                f"{folder / name} has SHA-256 {got[:12]}, the manifest says {str(digest)[:12]}; "
                "the file was changed or damaged, export or copy it again"
            )
    return content


def _check_terms(folder: Path, contract: Contract) -> None:
    """Every observation term must be one this program knows, of the size it has there."""
    for term in contract.terms:
        try:
            size = term_size(term.name, len(contract.joints), len(contract.command))
        except KeyError as error:
            raise BundleError(f"{folder / CONTRACT}: {error.args[0]}; export again") from error
        if term.size != size:
            raise BundleError(
                f"{folder / CONTRACT}: the term {term.name} has size {term.size}, this robot and "
                f"command give it {size}; export again"
            )


def _read_policy(folder: Path, contract: Contract, meta: dict[str, Any], data: bytes) -> Policy:
    import safetensors
    import safetensors.numpy

    try:
        return load_policy(contract, meta, safetensors.numpy.load(data))
    except (RetortError, safetensors.SafetensorError, KeyError, ValueError, TypeError) as error:
        raise BundleError(f"{folder / POLICY}: {error}") from error


def _read_golden(folder: Path, contract: Contract, data: bytes) -> Golden:
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            golden = Golden(**{name: archive[name] for name in archive.files})
    except (OSError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise BundleError(f"{folder / GOLDEN} cannot be read ({error}); export again") from error
    if problem := check_shapes(contract, golden):
        raise BundleError(f"{folder / GOLDEN}: {problem}; export again")
    return golden


def _json(data: Any) -> bytes:
    return (json.dumps(data, indent=1) + "\n").encode()


def _replaceable(folder: Path) -> bool:
    return folder.is_dir() and ((folder / MANIFEST).is_file() or not any(folder.iterdir()))


def _replace(new: Path, folder: Path) -> None:
    """Put ``new`` at ``folder``; afterwards ``new`` holds what was there, or nothing."""
    if not folder.exists() or not _exchange(new, folder):
        if folder.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
            folder.rename(old)
            try:
                new.rename(folder)
            except OSError:
                old.rename(folder)
                raise
            shutil.rmtree(old, ignore_errors=True)
        else:
            new.rename(folder)
    _sync_folder(folder.parent)


def _exchange(first: Path, second: Path) -> bool:
    """Swap two folders in one step, so that there is always a whole one; False if not possible."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    at_cwd, exchange = -100, 2
    return rename is not None and (
        rename(at_cwd, os.fsencode(first), at_cwd, os.fsencode(second), exchange) == 0
    )


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
