"""A mode as a recipe's own file defines it."""

from retort.distill.modes import Mode

MODE = Mode(share=lambda own, fraction: own if fraction > 0.5 else 0.5, keeps=True)
