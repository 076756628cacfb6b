"""Bundles: written whole or not at all, and read only if they are what was trained."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from retort.controller import BundleError, load_bundle, record_golden
from retort.controller.golden import STATE_FIELDS, replay
from retort.hardware.robot import Robot
from retort.hardware.state import RobotState

from .conftest import Parts, make_parts


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def redigest(folder: Path) -> None:
    """Make the manifest agree with the files, as somebody who edits a bundle would."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for name in manifest["files"]:
        manifest["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_what_is_saved_is_what_is_loaded(parts: Parts, tmp_path: Path) -> None:
    saved = parts.save(tmp_path / "b", extra_files={"policy.onnx": b"onnx"})
    loaded = load_bundle(tmp_path / "b")
    assert loaded.contract == parts.contract
    assert loaded.folder == saved.folder == tmp_path / "b"
    assert loaded.meta == {"architecture": "mlp", "activation": "elu"}
    assert (tmp_path / "b" / "policy.onnx").read_bytes() == b"onnx"
    assert set(loaded.manifest["files"]) == set(files_of(tmp_path / "b")) - {"manifest.json"}
    assert max(replay(loaded.contract, loaded.policy, loaded.golden).values()) < 1e-6


def test_saving_again_replaces_the_whole_bundle_and_leaves_nothing_else(
    robot: Robot, tmp_path: Path
) -> None:
    make_parts(robot).save(tmp_path / "b", extra_files={"old.h": b""})
    make_parts(robot, seed=5).save(tmp_path / "b")
    assert "old.h" not in files_of(tmp_path / "b")
    load_bundle(tmp_path / "b")
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


@pytest.mark.parametrize(
    ("number", "words"), [(errno.ENOSPC, "the disk is full; free some"), (errno.EIO, "mend that")]
)
def test_a_full_disk_leaves_the_old_bundle_untouched(
    robot: Robot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    make_parts(robot).save(tmp_path / "b")
    before = files_of(tmp_path / "b")

    def fail(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(BundleError, match=words):
        make_parts(robot, seed=5).save(tmp_path / "b")
    assert files_of(tmp_path / "b") == before
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_an_export_that_does_not_reproduce_the_network_is_never_published(
    robot: Robot, tmp_path: Path
) -> None:
    parts = make_parts(robot)
    parts.tensors["normaliser.mean"] = np.zeros_like(parts.tensors["normaliser.mean"])
    with pytest.raises(BundleError, match="policy's action differs"):
        parts.save(tmp_path / "b")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_no_bundle_is_not_overwritten(parts: Parts, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("years of work")
    with pytest.raises(BundleError, match="is not a bundle"):
        parts.save(tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter1.tex").read_text() == "years of work"


@pytest.mark.parametrize("name", ["policy.safetensors", "manifest.json", "../escape", "a/b"])
def test_an_extra_file_cannot_take_another_place(parts: Parts, tmp_path: Path, name: str) -> None:
    with pytest.raises(BundleError, match="extra file"):
        parts.save(tmp_path / "b", extra_files={name: b""})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name", ["contract.json", "policy.safetensors", "golden.npz", "policy.onnx"]
)
def test_a_damaged_file_is_noticed(parts: Parts, tmp_path: Path, name: str) -> None:
    parts.save(tmp_path / "b", extra_files={"policy.onnx": b"onnx"})
    data = bytearray((tmp_path / "b" / name).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "b" / name).write_bytes(data)
    with pytest.raises(BundleError, match=rf"{name} has SHA-256 \w+, the manifest says"):
        load_bundle(tmp_path / "b")


def edit_contract(folder: Path, edit: Callable[[dict], object]) -> None:
    record = json.loads((folder / "contract.json").read_text())
    edit(record)
    (folder / "contract.json").write_text(json.dumps(record))


def damage(folder: Path, name: str, data: bytes | None) -> None:
    if data is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(data)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: damage(f, "golden.npz", None), "lacks golden.npz"),
        (lambda f: damage(f, "notes.txt", b"hi"), "holds notes.txt, which its manifest"),
        (lambda f: damage(f, "manifest.json", None), "is not a bundle"),
        (lambda f: damage(f, "manifest.json", b"{"), "cannot be read"),
        (lambda f: damage(f, "manifest.json", b'{"format": 9, "files": {}}'), "cannot be read"),
        (
            lambda f: damage(
                f,
                "manifest.json",
                b'{"format": 9, "files": {}, "policy": {}, "contract_hash": ""}',
            ),
            "has format 9, this retort reads 2",
        ),
        (
            lambda f: edit_contract(f, lambda r: r["contract"].update(control_rate=50.0)),
            "the contract was changed after export",
        ),
        (lambda f: edit_contract(f, lambda r: r["contract"].update(colour=1)), "unknown key"),
        (lambda f: edit_contract(f, lambda r: r.pop("hash")), "is not a contract"),
        (lambda f: damage(f, "policy.safetensors", b"junk"), "policy.safetensors"),
        (lambda f: damage(f, "golden.npz", b"junk"), "golden.npz cannot be read"),
    ],
)
def test_a_bundle_that_is_not_whole_is_refused(
    parts: Parts, tmp_path: Path, spoil: Callable[[Path], None], words: str
) -> None:
    folder = tmp_path / "b"
    parts.save(folder)
    manifest = (folder / "manifest.json").read_bytes()
    spoil(folder)
    if (
        (folder / "manifest.json").exists()
        and (folder / "manifest.json").read_bytes() == manifest
        and "lacks" not in words
    ):
        redigest(folder)
    with pytest.raises(BundleError, match=words):
        load_bundle(folder)


def state_anew(folder: Path) -> None:
    """Let hash and digests be those of the contract as it stands, as a careful editor would."""
    record = json.loads((folder / "contract.json").read_text())
    canonical = json.dumps(record["contract"], sort_keys=True, separators=(",", ":"))
    record["hash"] = hashlib.sha256(canonical.encode()).hexdigest()
    (folder / "contract.json").write_text(json.dumps(record))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["contract_hash"] = record["hash"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    redigest(folder)


def put(data: Any, path: tuple[str | int, ...], value: object) -> None:
    for key in path[:-1]:
        data = data[key]
    data[path[-1]] = value


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ((), None, "must be a table, got None"),
        ((), [], "must be a table"),
        (("control_rate",), 0, r"control_rate is 0\.0; use more than 0"),
        (("control_rate",), math.nan, "control_rate is nan"),
        (("control_rate",), 10**400, "control_rate has too many digits"),
        (("joints",), [], "joints are"),
        (("default_pose",), [math.nan, 0.0], r"default_pose\[0\] is nan"),
        (("history",), 0, "history is 0; use 1 to"),
        (("history",), 10**12, "history is 1000000000000"),
        (("terms", 0, "name"), "x", "there is no observation term 'x'; there are"),
        (("terms", 0, "size"), 4, "has size 4, this robot and command give it 3"),
        (("terms", 0, "scale"), math.inf, "scale is inf"),
        (("terms", 1, "name"), "projected_gravity", "no two of one name"),
        (("command", 0, "low"), math.nan, "is nan; use a finite number"),
        (("command", 0, "high"), math.nan, "is nan; use a finite number"),
        (("command", 0, "high"), -9.0, "give the lower one first"),
        (("command", 0, "slew"), 0.0, "slew is 0"),
        (("action", "scale"), [math.nan, 1.0], r"action\.scale\[0\] is nan"),
        (("action", "smoothing"), 0.0, r"action\.smoothing is 0\.0; use more than 0, at most 1"),
        (("action", "slew"), -1.0, r"action\.slew is -1\.0"),
        (("normaliser_clip",), 0.0, r"normaliser_clip is 0\.0"),
        (("trained",), {"latency": [2.0, 1.0]}, r"trained\.latency is"),
    ],
)
def test_a_contract_that_cannot_be_is_refused_even_with_its_digests(
    parts: Parts,
    tmp_path: Path,
    path: tuple[str | int, ...],
    value: object,
    words: str,
) -> None:
    folder = tmp_path / "b"
    parts.save(folder)
    edit_contract(folder, lambda record: put(record, ("contract", *path), value))
    state_anew(folder)
    with pytest.raises(BundleError, match=words) as refused:
        load_bundle(folder)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("value", [["mlp"], {}, None, 3])
def test_a_policy_of_no_known_kind_is_refused(parts: Parts, tmp_path: Path, value: object) -> None:
    folder = tmp_path / "b"
    parts.save(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["policy"]["architecture"] = value
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"policy\.safetensors"):
        load_bundle(folder)


def test_golden_vectors_that_are_no_numbers_are_refused(parts: Parts, tmp_path: Path) -> None:
    golden = dataclasses.replace(parts.golden, action=parts.golden.action.astype("U9"))
    with pytest.raises(BundleError, match="golden action does not hold numbers"):
        dataclasses.replace(parts, golden=golden).save(tmp_path / "b")


@pytest.mark.parametrize(
    "name", ["layers.0.weight", "layers.1.bias", "normaliser.mean", "normaliser.std"]
)
def test_changed_weights_are_noticed_even_with_their_digest(
    parts: Parts, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "b"
    parts.save(folder)
    tensors = safetensors.numpy.load((folder / "policy.safetensors").read_bytes())
    tensors[name].flat[0] += 0.01
    (folder / "policy.safetensors").write_bytes(safetensors.numpy.save(tensors))
    redigest(folder)
    with pytest.raises(BundleError, match=r"policy's action differs by .* golden vectors"):
        load_bundle(folder)


def test_golden_vectors_of_another_shape_or_none_at_all_are_refused(
    parts: Parts, tmp_path: Path
) -> None:
    for change, words in (
        ({"action": parts.golden.action[..., :1]}, "golden action has shape"),
        (
            {
                f.name: getattr(parts.golden, f.name)[:, :0]
                for f in dataclasses.fields(parts.golden)
            },
            "golden vectors are empty",
        ),
    ):
        golden = dataclasses.replace(parts.golden, **change)
        with pytest.raises(BundleError, match=words):
            dataclasses.replace(parts, golden=golden).save(tmp_path / "b")


def test_nan_in_golden_vectors_is_never_within_tolerance(parts: Parts, tmp_path: Path) -> None:
    action = parts.golden.action.copy()
    action[0, 0, 0] = np.nan
    golden = dataclasses.replace(parts.golden, action=action)
    with pytest.raises(BundleError, match="differs by inf"):
        dataclasses.replace(parts, golden=golden).save(tmp_path / "b")


def test_golden_vectors_hold_what_the_given_network_says(parts: Parts) -> None:
    states = RobotState(**{name: getattr(parts.golden, name) for name in STATE_FIELDS})
    golden = record_golden(
        parts.contract,
        lambda o, hidden: (np.array([0.3, -2.0]), hidden),
        states,
        parts.golden.command,
    )
    assert golden.action[0, 0].tolist() == pytest.approx([0.3, -2.0])
    np.testing.assert_allclose(golden.target[0, 0], [0.03, -0.1], atol=1e-6)  # clipped to -1


def test_a_bundle_is_replaced_also_where_folders_cannot_be_exchanged(
    robot: Robot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_parts(robot).save(tmp_path / "b")
    monkeypatch.setattr("retort.controller.bundle._exchange", lambda first, second: False)
    second = make_parts(robot, seed=5)
    second.save(tmp_path / "b")
    np.testing.assert_array_equal(load_bundle(tmp_path / "b").golden.action, second.golden.action)
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
    before = files_of(tmp_path / "b")
    rename = Path.rename

    def fail_for_the_new(path: Path, target: Path) -> Path:
        if (path / "manifest.json").exists() and path.name.startswith(".b.") and not moved:
            moved.append(path)
            raise OSError(errno.EIO, "Input/output error")
        return rename(path, target)

    moved: list[Path] = []
    monkeypatch.setattr(Path, "rename", fail_for_the_new)
    with pytest.raises(BundleError, match="Input/output error"):
        make_parts(robot).save(tmp_path / "b")
    assert files_of(tmp_path / "b") == before
