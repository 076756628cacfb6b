"""The animation is left out with one sentence where nothing can render."""

from __future__ import annotations

from pathlib import Path

import pytest
from retort.launch.animation import render


def test_where_nothing_can_render_a_sentence_says_so(
    flown: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUJOCO_GL", "no-such-platform")
    image, why = render(flown)
    assert image is None
    assert why.startswith("There is no animation")
    assert "\n" not in why
