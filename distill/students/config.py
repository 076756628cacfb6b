"""What a recipe says of a student, and what a student must fit."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
from gymnasium.spaces import Discrete

from ...controller.architecture import ARCHITECTURES, Architecture, columns_read
from ...controller.contract import Contract
from ...hardware.checks import Range, between, check_fields, check_unused
from ...sim.definition import is_file
from ...sim.interface import LearningEnv
from ..networks import Activation


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudentConfig:
    """Which student, how large, and with which weights it leaves training.

    ``mlp``: dense layers ``hidden`` over the observation with its window of history.
    ``gru``: dense layers ``hidden``, then ``recurrent`` gated units, over the newest frame.
    ``tcn``: causal convolutions ``channels`` over the newest frames, the dilation doubling from
    layer to layer, then dense layers ``hidden``.

    The path of a Python file is the kind that it defines as ``STUDENT``, which makes of the widths
    what it likes.

    ``whiten``: what the first layer reads, history and all, is decorrelated while it learns
    (``whitening``); the robot runs the same network as without.
    """

    kind: str = "mlp"
    hidden: tuple[int, ...] = (32,)
    recurrent: int | None = None  # gru: units that remember; 16 when absent
    channels: tuple[int, ...] | None = None  # tcn: of each convolution; 16, 16 when absent
    kernel: int | None = None  # tcn: ticks each convolution looks at; 3 when absent
    whiten: bool = False  # mlp and tcn
    activation: Activation = "elu"
    initial_std: float = 0.3
    quantise: Literal["none", "int8"] = "none"  # weights; the normaliser stays float32
    group: int = 32  # neighbouring weights of a row that share an int8 scale

    def __post_init__(self) -> None:
        for name, kind in (("recurrent", "gru"), ("channels", "tcn"), ("kernel", "tcn")):
            if getattr(self, name) is not None and self.kind != kind and not is_file(self.kind):
                raise ValueError(
                    f"student.{name} belongs to kind = {kind!r}, the student is {self.kind!r}; "
                    "remove it or change the kind"
                )
        if self.whiten and self.kind not in ("mlp", "tcn"):
            raise ValueError(
                f"student.whiten is of kind = 'mlp' and 'tcn', the student is {self.kind!r}; "
                "remove it or use one of these"
            )
        width = between(1, 65_536)
        check_fields(
            self,
            hidden=width,
            channels=width,
            recurrent=width,
            group=width,
            kernel=between(2, 1000),
            initial_std=Range(0.0, 100.0, open_low=True),
        )
        if self.quantise == "none":
            check_unused(self, ["group"], "quantise is 'none'")
        if self.channels == ():
            raise ValueError("student.channels is empty; name at least one convolution's width")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Interface:
    """What goes into a student and what comes out, for tasks with or without a contract."""

    observation_size: int
    outputs: int  # actions, or choices if ``discrete``
    newest: tuple[int, ...]  # positions of the newest frame in the observation
    discrete: bool = False
    limit: float = 10.0  # normalised observations are clipped to +- this

    @staticmethod
    def of(contract: Contract) -> Interface:
        """Of a robot's contract."""
        return Interface(
            observation_size=contract.observation_size,
            outputs=contract.action_size,
            newest=tuple(columns_read(contract, ARCHITECTURES["gru"]).tolist()),
            limit=contract.normaliser_clip,
        )

    @staticmethod
    def plain(observation_size: int, outputs: int, *, discrete: bool = False) -> Interface:
        """Of a task whose observation is one frame."""
        return Interface(
            observation_size=observation_size,
            outputs=outputs,
            newest=tuple(range(observation_size)),
            discrete=discrete,
        )

    @staticmethod
    def of_env(env: LearningEnv) -> Interface:
        """Of environments whose observation is one frame."""
        space = env.single_action_space
        discrete = isinstance(space, Discrete)
        outputs = int(space.n) if isinstance(space, Discrete) else int(np.prod(space.shape or ()))
        return Interface.plain(env.groups["student"], outputs, discrete=discrete)

    def columns(self, architecture: Architecture | str) -> np.ndarray:
        """Positions of the observation that a student of that architecture reads, (inputs,)."""
        known = ARCHITECTURES[architecture] if isinstance(architecture, str) else architecture
        return np.arange(self.observation_size) if known.window else np.array(self.newest)
