"""Many simulations of one MuJoCo model on native threads, some model fields their own.

Knows MuJoCo only; nothing of robots, tasks, observations or rewards.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

import mujoco
import numpy as np
from mujoco import batch

from ..hardware.errors import RetortError

GRAVITY = "opt.gravity"


class ModelError(RetortError):
    """A model does not load, or does not fit what it is to simulate."""


class Simulations:
    """``num_envs`` simulations of ``model``.

    ``qpos``, ``qvel``, ``ctrl`` and ``wrench`` are live: a write is the state at the next step.
    Derived fields describe the state before the last substep, as they do after ``mj_step``.

    Args:
        model: shared by all, but for the fields that ``expand`` makes their own.
        num_envs: simulations.
        substeps: physics steps of one ``step``.
        threads: 0 is one per core.
        outputs: derived ``MjData`` fields that ``outputs`` gives.
        persistent: keep a whole ``MjData`` of each, for what ``mujoco.batch`` does not compute.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        num_envs: int,
        *,
        substeps: int,
        threads: int = 0,
        outputs: Sequence[str] = (),
        persistent: bool = False,
    ) -> None:
        self.model = model
        self.num_envs = num_envs
        self.substeps = substeps
        self.batch = batch.Batch(model, num_envs, nthread=threads, persistent=persistent)
        self.qpos = self.batch.bind("qpos")
        self.qvel = self.batch.bind("qvel")
        self.ctrl = self.batch.bind("ctrl")
        self.wrench = self.batch.bind("xfrc_applied")
        self.outputs = {name: self.batch.bind(name) for name in outputs}
        self.nominal: dict[str, np.ndarray] = {}
        self.fields: dict[str, np.ndarray] = {}

    @property
    def period(self) -> float:
        """Time of one ``step`` [s]."""
        return self.model.opt.timestep * self.substeps

    def expand(self, field: str) -> np.ndarray:
        """Per-simulation values of a model field, (num_envs, ...); remembers the nominal ones.

        Fields of its options are called ``opt.<name>``.
        """
        if field not in self.fields:
            self.nominal[field] = np.array(attrgetter(field)(self.model), copy=True)
            self.fields[field] = self.batch.expand(field)
        return self.fields[field]

    def model_field(self, field: str) -> np.ndarray:
        """Values of a model field, (num_envs, ...), whether they differ or not; read only."""
        if field in self.fields:
            return self.fields[field]
        shared = attrgetter(field)(self.model)
        return np.broadcast_to(shared, (self.num_envs, *shared.shape))

    def reset(self, ids: np.ndarray) -> None:
        """Put simulations ``ids`` back to the model's defaults and nominal fields, uncomputed."""
        self.batch.reset(ids, stage=mujoco.mjtStage.mjSTAGE_NONE)
        for name, values in self.fields.items():
            values[ids] = self.nominal[name]

    def settle(self, ids: np.ndarray) -> None:
        """Compute derived constants and fields of ``ids`` after a reset and writes to them."""
        if self.fields:
            self.batch.set_const(ids)
        self.batch.forward(ids)

    def step(self) -> None:
        """``substeps`` physics steps of everybody in one native call."""
        self.batch.step(nstep=self.substeps)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything needed to go on to the bit."""
        arrays = {f"field.{name}": np.array(values) for name, values in self.fields.items()}
        return {"state": np.array(self.batch.state), **arrays}

    def load_state_dict(self, arrays: dict[str, np.ndarray]) -> None:
        """The inverse of ``state_dict``."""
        for name, values in self.fields.items():
            values[:] = arrays[f"field.{name}"]
        if self.fields:
            self.batch.set_const()
        self.batch.state[:] = arrays["state"]
        self.batch.forward()
        self.batch.state[:] = arrays["state"]  # forward moves the solver's warm start
