"""What a Gymnasium MuJoCo task is: one frozen dataclass of its keyword arguments, whose methods are
its observation, reward and termination over rows of environments.
"""

from __future__ import annotations

import dataclasses
import typing
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import gymnasium
import mujoco
import numpy as np

from ...hardware.checks import FINITE, between, check, check_fields, check_rising
from ..physics import ModelError

Range = tuple[float, float]

# Parts of an observation that are velocities; see ``StudentView``.
VELOCITIES = ("qvel", "cvel")


@dataclasses.dataclass(frozen=True)
class Rows:
    """Fields of MjData and MjModel by name, (n, ...): rows are environments."""

    fields: Mapping[str, np.ndarray]
    model: mujoco.MjModel

    def __getitem__(self, field: str) -> np.ndarray:
        return self.fields[field]

    def __len__(self) -> int:
        return len(self.fields["qpos"])

    def body(self, name: str | int) -> int:
        """Number of a body."""
        return int(self.model.body(name).id)


@dataclasses.dataclass(frozen=True, kw_only=True)
class GymnasiumTask(ABC):
    """One task. Keyword arguments have Gymnasium's names, defaults and meaning.

    Arithmetic follows Gymnasium's in order and precision; costs of an action are summed in the
    action's own precision, as there.
    """

    xml_file: str
    frame_skip: int

    name: ClassVar[str]
    module: ClassVar[str]  # of Gymnasium's environment, for its camera
    max_episode_steps: ClassVar[int] = 1000
    reward_threshold: ClassVar[float | None] = None
    first_joints: ClassVar[tuple[str, ...]]  # kinds of those whose numbers it reads by their place
    sites: ClassVar[int] = 0  # that it reads by their place
    outputs: ClassVar[tuple[str, ...]] = ()  # derived MjData fields it reads
    model_fields: ClassVar[tuple[str, ...]] = ()  # MjModel fields it reads

    def __post_init__(self) -> None:
        check_fields(self, frame_skip=between(1, 10_000))
        hints = typing.get_type_hints(type(self))
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if hints[field.name] == Range:
                check_rising(field.name, value, strictly=True)
            elif hints[field.name] is float:
                check(field.name, value, FINITE)

    @property
    def bodies(self) -> tuple[int | str, ...]:
        """Those that it reads, by number or name."""
        return ()

    @property
    def needs_contact_forces(self) -> bool:
        """It reads ``cfrc_ext``, which ``mujoco.batch`` does not compute: exact, but slower."""
        return False

    @abstractmethod
    def parts(self, model: mujoco.MjModel) -> dict[str, int]:
        """The observation's parts in order, and how many numbers each has."""

    @abstractmethod
    def initial_state(
        self, qpos: np.ndarray, qvel: np.ndarray, n: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw starts of ``n`` episodes around the model's own ``qpos`` (nq,) and ``qvel`` (nv,).

        For n = 1 the draws are Gymnasium's, in its order.

        Returns:
            (n, nq) and (n, nv).
        """

    def track(self, rows: Rows) -> np.ndarray:
        """The place whose change per time is ``speed``, (n,) [m]; 0 where none is rewarded."""
        return np.zeros(len(rows))

    @abstractmethod
    def observe(self, rows: Rows) -> np.ndarray:
        """(n, size) float64; a new array."""

    @abstractmethod
    def reward(self, rows: Rows, action: np.ndarray, speed: np.ndarray) -> np.ndarray:
        """(n,) float64.

        Args:
            rows: after the step.
            action: (n, actions), not clipped.
            speed: (n,) [m/s] forward over the step.
        """

    def terminated(self, rows: Rows) -> np.ndarray:
        """Who has failed, (n,) bool."""
        return np.zeros(len(rows), dtype=bool)


def control_cost(weight: float, action: np.ndarray) -> np.ndarray:
    """``weight sum a^2`` in the action's precision, (n,)."""
    return weight * np.square(action).sum(axis=1)


def within(span: Range, values: np.ndarray) -> np.ndarray:
    """Which ``values`` are in the open interval ``span``, bool of their shape."""
    return (span[0] < values) & (values < span[1])


def finite(rows: Rows) -> np.ndarray:
    """Whose positions and velocities all are, (n,) bool."""
    return np.isfinite(np.concatenate([rows["qpos"], rows["qvel"]], axis=1)).min(axis=1)


def uniform_and_normal(
    qpos: np.ndarray, qvel: np.ndarray, scale: float, n: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """``qpos`` +- uniform ``scale``, ``qvel`` + normal of deviation ``scale``."""
    position = qpos + rng.uniform(-scale, scale, (n, len(qpos)))
    return position, qvel + scale * rng.standard_normal((n, len(qvel)))


def uniform(
    qpos: np.ndarray, qvel: np.ndarray, scale: float, n: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Both +- uniform ``scale``."""
    position = qpos + rng.uniform(-scale, scale, (n, len(qpos)))
    return position, qvel + rng.uniform(-scale, scale, (n, len(qvel)))


def flat(field: np.ndarray) -> np.ndarray:
    """(n, ...) as (n, size)."""
    return field.reshape(len(field), -1)


def load_gymnasium_model(task: GymnasiumTask, *, delay: float = 0.0) -> mujoco.MjModel:
    """Compile the model file that Gymnasium ships, or the user's own.

    Args:
        task: names the file, as Gymnasium's ``xml_file`` does.
        delay: longest delay that actuators may be given [s].

    Raises:
        ModelError: there is no such file, it does not compile, or it lacks what the task reads.
    """
    with _quietly():
        try:
            spec = mujoco.MjSpec.from_file(_model_path(task.xml_file))
            if delay:
                samples = int(np.ceil(delay / spec.option.timestep - 1e-9))
                for actuator in spec.actuators:
                    actuator.nsample = samples
            model = spec.compile()
        except (OSError, ValueError) as error:
            raise ModelError(
                f"{task.name} cannot load {task.xml_file!r}: {error}; give the name of one of "
                "Gymnasium's models, or the path of a file"
            ) from error
    if lacks := next(_lacking(task, model), None):
        raise ModelError(
            f"{task.name} cannot use {task.xml_file!r}: {lacks}; give it a model built like its own"
        )
    return model


def _lacking(task: GymnasiumTask, model: mujoco.MjModel) -> Iterator[str]:
    """What ``task`` reads of a model, or moves, and this one has not."""
    kinds = tuple(mujoco.mjtJoint(kind).name[6:].lower() for kind in model.jnt_type)
    wanted = task.first_joints
    if kinds[: len(wanted)] != wanted:
        first = ", ".join(kinds[: len(wanted)]) or "none at all"
        yield f"its first joints are {first}, expected {', '.join(wanted)}"
    for body in task.bodies:
        named = isinstance(body, str)
        number = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, body) if named else body
        if not 0 <= number < model.nbody:
            names = ", ".join(model.body(i).name or str(i) for i in range(model.nbody))
            yield f"it has no body {body!r}, its bodies are {names}"
    if model.nsite < task.sites:
        yield f"it has {model.nsite} sites, expected {task.sites}"
    low, high = model.actuator_ctrlrange.T
    if not model.nu or not (low < high).all():
        yield "it has no motors, or one without a ctrlrange"


@contextmanager
def _quietly() -> Iterator[None]:
    """Without warnings of what is deprecated in the shipped files, which nobody here can change."""
    previous = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda message: None)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            yield
    finally:
        mujoco.set_mju_user_warning(previous)


def _model_path(file: str) -> str:
    """Where a model file is: among those Gymnasium ships if it is a bare name.

    Gymnasium's own function stands in a module that also loads its viewers.
    """
    if file.startswith((".", "/", "~")):
        return str(Path(file).expanduser())
    return str(Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets" / file)
