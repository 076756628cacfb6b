"""The curriculum of every kind: those of ``..curriculum``, and two more from the literature."""

from __future__ import annotations

from typing import Any

from ..curriculum import Curriculum, CurriculumConfig
from .particles import ParticleCurriculum
from .promoted import PromotedCurriculum

CLASSES = (Curriculum, PromotedCurriculum, ParticleCurriculum)

__all__ = ["CLASSES", "make_curriculum"]


def make_curriculum(config: CurriculumConfig, *args: Any, **keywords: Any) -> Curriculum:
    """The curriculum of ``config.kind``; arguments are those of ``Curriculum``."""
    [kind] = [kind for kind in CLASSES if config.kind in kind.kinds]
    return kind(config, *args, **keywords)
