"""What stands in a run folder in another shape than a run leaves is left out, and that is said."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from retort.launch.results import Results, load_results

_NONE = object()


def _damaged(data: dict, path: str, value: object) -> dict:
    """``data`` with what stands at ``path`` taken away or exchanged for ``value``."""
    *parents, last = path.split("/")
    node: Any = data
    for key in parents:
        node = node[int(key) if isinstance(node, list) else key]
    if value is _NONE:
        del node[last]
    else:
        node[last] = value
    return data


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("levels", "x"),
        ("levels", [3]),
        ("levels/0/level", {}),
        ("levels/0/teacher", _NONE),
        ("levels/0/teacher", None),
        ("levels/0/student", {}),
        ("levels/0/student/score", "high"),
        ("levels/1/student/turn_rate_rmse", _NONE),
        ("levels/1/student/turn_rate_rmse", None),
        ("levels/1/teacher/turn_rate_rmse", math.nan),
        ("levels/2/ratio/low", True),
        ("levels/2/ratio", _NONE),
        ("levels/2/normalised", 0.9),
        ("hardest", []),
        ("hardest/episodes", 0),
        ("parameters/student", 0),
        ("parameters/teacher_actor", "many"),
    ],
)
def test_an_evaluation_of_another_shape_is_left_out_and_said(
    whole: Path, path: str, value: object
) -> None:
    file = whole / "evaluation.json"
    file.write_text(json.dumps(_damaged(json.loads(file.read_text()), path, value)))
    results = load_results(whole)
    assert "damaged" in results.notes["evaluation.json"]
    assert "--fresh` measures anew" in results.notes["evaluation.json"]
    assert results.evaluation is None


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("contract", None),
        ("contract/command", None),
        ("contract/joints", 3),
        ("period", 0.0),
        ("period", None),
        ("result", [1]),
        ("result", "done"),
        ("result/outcome", None),
        ("result/counters", {"imu": {"asked": 3}}),
        ("result/realtime", [3]),
    ],
)
def test_a_flight_of_another_shape_is_left_out_and_said(
    whole: Path, path: str, value: object
) -> None:
    file = whole / "flight" / "meta.json"
    file.write_text(json.dumps(_damaged(json.loads(file.read_text()), path, value)))
    results = load_results(whole)
    assert "The flight log is damaged and was left out" in results.notes["flight"]
    assert results.bus is None


@pytest.mark.parametrize("name", ["flight.npy", "wire.npy"])
def test_a_flight_of_other_rows_is_left_out_and_said(whole: Path, name: str) -> None:
    file = whole / "flight" / name
    cut = file.read_bytes()[:1000]
    np.save(file, np.ones(3))
    plain = file.read_bytes()
    np.save(file, np.ones(3, dtype=[("sequence", "u8")]))
    for content in (file.read_bytes(), plain, cut, b""):
        file.write_bytes(content)
        results = load_results(whole)
        assert results.notes["flight"].startswith("The flight log")
        assert results.bus is None


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("emulator.jsonl", {"time": 1.0, "event": "pose"}),
        ("emulator.jsonl", {"time": 1.0, "event": "pose", "position": None, "orientation": None}),
        ("emulator.jsonl", {"time": 1.0, "event": "pose", "position": [0, 0], "orientation": []}),
        ("emulator.jsonl", {"time": None, "event": "push"}),
        ("emulator.jsonl", {"time": "soon", "event": "push"}),
        ("emulator.jsonl", {"time": 1.0, "event": ["push"]}),
        ("teacher/progress.jsonl", {"steps": "many", "seconds": 1.0}),
        ("teacher/progress.jsonl", {"steps": 1, "seconds": 1.0, "score": "good"}),
        ("distillation/progress.jsonl", {"steps": 1, "seconds": 1.0, "terms": [1]}),
        ("distillation/progress.jsonl", {"steps": 1, "seconds": 1.0, "levels": {"a": None}}),
    ],
)
def test_a_row_of_another_shape_is_left_out_and_said(whole: Path, name: str, row: dict) -> None:
    lines = (whole / name).read_text()
    (whole / name).write_text(json.dumps(row) + "\n" + lines)
    results = load_results(whole)
    assert results.notes == {name: f"{name}: line 1 is not complete and was left out."}


def test_what_is_of_an_earlier_teacher_or_student_is_left_out_and_said(whole: Path) -> None:
    def read(**complete: bool) -> Results:
        records = {name: {"complete": is_so, "settings": {}} for name, is_so in complete.items()}
        (whole / "stages.json").write_text(json.dumps(records))
        return load_results(whole)

    assert load_results(whole).evaluation is not None  # nothing is known against it
    assert read(train=True, distill=True, eval=True).evaluation is not None
    for results in (read(train=True, distill=True), read(train=True, distill=True, eval=False)):
        assert results.evaluation is None
        assert "`retort eval`" in results.notes["evaluation"]
        assert results.student
    results = read(train=True)  # as after `train --fresh`
    assert (results.evaluation, results.student) == (None, [])
    assert "`retort distill`" in results.notes["distillation"]
    assert results.teacher
