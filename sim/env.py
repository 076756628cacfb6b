"""A Gymnasium ``VectorEnv`` over robots: the robot's own path between physics and policy.

Every tick is the controller's program (``controller.program``) around MuJoCo: actions become
targets, physics moves, sensors are read with their faults, readings become observations.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from ..controller import program
from ..controller.contract import Contract
from ..hardware.checks import POSITIVE, RangeError, between, check, check_fields
from ..hardware.robot import Robot, load_robot
from ..hardware.state import RobotState
from .arguments import check_making, checked_actions, stagger
from .episodes import Autoreset, EpisodesEnv, part, with_prefix
from .events import Events
from .physics import Physics
from .randomisation import Changeable
from .sensing import Sensing, SensorModel
from .switches import Switch, SwitchError, SwitchTimes
from .task import (
    ContractConfig,
    Rows,
    Task,
    TaskError,
    difficulty_axes,
    load_task,
    make_contract,
    randomised_on,
)

_ALL, _FIRST = slice(None), slice(0, 1)
_DELAYED_TARGETS = 3  # targets that may be on their way; the teacher sees them


@dataclasses.dataclass(frozen=True, kw_only=True)
class SimulationConfig:
    """How training simulates.

    Each of ``own_axes`` is a quantity that the task randomises, such as ``latency``, and gets a
    difficulty axis of its own instead of sharing one with others.
    """

    substeps: int = 4
    threads: int = 0  # 0: one per core
    sensors: SensorModel = SensorModel()
    own_axes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self, substeps=between(1, 10_000), threads=between(0, 1024))


class RobotEnv(EpisodesEnv):
    """``num_envs`` robots doing one task.

    Observations are the student's, (num_envs, observation_size) float32, not normalised, or the
    teacher's when ``observation="teacher"``; both are in ``info`` under these names.

    With ``autoreset`` a finished environment starts its next episode in the same step
    (``AutoresetMode.SAME_STEP``); what it saw last is in ``info["final_obs"]``,
    ``info["final_student"]`` and ``info["final_teacher"]``, in the rows of ``info["_final_obs"]``.
    With ``autoreset="next_step"`` it starts in the step behind it (``AutoresetMode.NEXT_STEP``, for
    wrappers that want that), which takes no notice of its action.
    Without, finished rows go on unwatched and keep reporting what they finished with; all
    randomness then is the same whatever the policy does, so that two policies can be compared on
    the same episodes.

    Args:
        robot: a robot, or its name or folder.
        task: a task, or its name or file.
        num_envs: robots.
        contract: what the policy sees and does; the task's defaults when None.
        level: difficulty in [0, 1] on every axis, or one number per axis.
        episode_seconds: time limit (truncation) [s].
        event_rate: how many times as often as the task says commands change and pushes come;
            training learns most from them.
        observation: which group ``reset`` and ``step`` return.
        autoreset: see above.
        simulation: substeps, threads, sensors.
        switches: changes in the middle of episodes, of quantities that the task randomises.
        render_mode: None or ``rgb_array``.

    Raises:
        EnvError: an argument that cannot be; RangeError if it is a number.
        SwitchError: the task does not have such a quantity.
        TaskError: it cannot have such an axis.

    ``reading`` is the last ``RobotState`` the program observed, ``command`` the command with it.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012  (Gymnasium's own declaration)
        "render_modes": ["rgb_array"],
        "render_fps": 50,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(
        self,
        robot: Robot | str = "balancer",
        task: Task | str = "balancer",
        num_envs: int = 1,
        *,
        contract: Contract | ContractConfig | None = None,
        level: float | tuple[float, ...] = 1.0,
        episode_seconds: float = 20.0,
        event_rate: float = 1.0,
        observation: Literal["student", "teacher"] = "student",
        autoreset: Autoreset = True,
        simulation: SimulationConfig = SimulationConfig(),
        switches: tuple[Switch, ...] = (),
        render_mode: str | None = None,
    ) -> None:
        check_making(num_envs, observation, render_mode)
        check("event_rate", event_rate, POSITIVE)
        check("episode_seconds", episode_seconds, POSITIVE)
        self.robot = robot if isinstance(robot, Robot) else load_robot(robot)
        self.task = load_task(task) if isinstance(task, str) else task
        if not isinstance(contract, Contract):
            contract = make_contract(
                self.robot, self.task, contract, trained_ranges(self.task, simulation)
            )
        self.contract = contract
        episode_ticks = round(episode_seconds * self.robot.control_rate)
        if episode_ticks < 1:
            raise RangeError(
                f"episode_seconds is {episode_seconds:g}; use at least {self.robot.period:g}, "
                "which is one tick"
            )
        super().__init__(
            num_envs,
            episode_ticks,
            axes=difficulty_axes(self.task, simulation.own_axes),
            level=level,
            group=observation,
            autoreset=autoreset,
        )
        self.render_mode = render_mode
        self.physics = Physics(
            self.robot, num_envs, substeps=simulation.substeps, threads=simulation.threads
        )
        self.sensing = Sensing(self.robot, simulation.sensors, self.physics)
        self.events = Events(self.task, self.physics, event_rate)
        self._drawn: dict[str, np.ndarray] = {}
        self._randomised = randomised_on(self.task, simulation.own_axes)
        for _, term in self._randomised:
            term.bind(self.physics)
            self._drawn[term.name] = np.zeros((num_envs, term.size), dtype=np.float32)
        self._changeable = {switch.quantity: self._term(switch.quantity) for switch in switches}
        self._switch_times = SwitchTimes(switches, num_envs, self.period)
        self._targets = np.zeros(
            (num_envs, _DELAYED_TARGETS, self.contract.action_size), dtype=np.float32
        )
        self._scale = np.array(self.contract.action.scale, dtype=np.float32)
        self._offset = np.array(self.contract.action.offset, dtype=np.float32)
        self._memory = program.initial_memory(self.contract, (num_envs,))
        self._spaces()
        self.reading: RobotState | None = None
        self._started = False
        self._renderer: Any = None

    def _spaces(self) -> None:
        size = self.contract.observation_size if self.group == "student" else self.teacher_size
        self.single_observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float32)
        self.single_action_space = gymnasium.spaces.Box(
            -1.0, 1.0, (self.contract.action_size,), np.float32
        )
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._action_shape = (self.num_envs, self.contract.action_size)

    @property
    def command(self) -> np.ndarray:
        """What is asked now, (num_envs, commands) float32; a change makes a new array."""
        return self.events.command

    @property
    def teacher_size(self) -> int:
        """Numbers in the privileged observation."""
        return self._privileged(_FIRST, self.task.measure(self.physics, _FIRST)).shape[1]

    @property
    def groups(self) -> dict[str, int]:
        """Observation groups and their sizes."""
        return {"student": self.contract.observation_size, "teacher": self.teacher_size}

    @property
    def measured(self) -> dict[str, np.ndarray]:
        """Which numbers of each group are the robot's state, (size,) bool.

        Of the student's all but ``program.UNMEASURED``. Of the teacher's all that its task tells
        it, which nobody takes apart, but neither targets on their way nor what was randomised.
        """
        contract = self.contract
        frame = np.concatenate(
            [np.full(term.size, term.name not in program.UNMEASURED) for term in contract.terms]
        )
        state = self.task.privileged(
            self.physics,
            _FIRST,
            self.task.measure(self.physics, _FIRST),
            self._memory.command[_FIRST],
        )
        return {
            "student": program.flatten(contract, np.tile(frame, (contract.history, 1))),
            "teacher": np.arange(self.teacher_size) < state.shape[1],
        }

    @property
    def period(self) -> float:
        """Time of one tick [s]."""
        return self.robot.period

    @property
    def resumable(self) -> bool:
        """A loaded state goes on to the bit."""
        return True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start every environment anew.

        Args:
            seed: of everything random from here on; goes on with the present stream when None.
            options: ``{"stagger": True}`` starts each at a random time of its first episode.

        Raises:
            EnvError: another option.
        """
        staggered = stagger(options)
        super().reset(seed=seed)
        everyone = np.arange(self.num_envs)
        self._reset_rows(everyone)
        self._memory = program.initial_memory(self.contract, (self.num_envs,))
        self._started = True
        if staggered:
            self._stagger()
        self.reading = self.sensing.read(self.np_random, ids=everyone)
        observation, self._memory = program.observe(
            self.contract, self.reading, self.command, self._memory
        )
        teacher = self._privileged(_ALL, self.task.measure(self.physics, _ALL))
        chosen = observation if self.group == "student" else teacher
        return chosen, {"student": observation, "teacher": teacher}

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One control tick.

        Args:
            actions: (num_envs, joints), clipped to [-1, 1].

        Returns:
            Observation (num_envs, size), reward (num_envs,), terminated and truncated (num_envs,)
            bool, and info: ``student`` and ``teacher`` observations; ``tracking``, the achieved
            values of ``command``, (num_envs, commands), which is the smoothed one; where episodes
            ended, what ``LearningEnv`` says.

        Raises:
            EnvError: actions of another shape, or not finite.
            TaskError: the reward is not finite.
            gymnasium.error.ResetNeeded: before the first ``reset``.
        """
        actions = checked_actions(actions, self._action_shape, self._started)
        command, self._memory = program.act(self.contract, actions, self._memory)
        self._targets[:, :-1] = self._targets[:, 1:]
        self._targets[:, -1] = (command.target - self._offset) / self._scale
        self._switch()
        pushed = self.events.push(self.elapsed, self.levels, self.np_random)
        self.physics.drive(command.target)
        self.physics.step()
        self.elapsed += 1
        measured = self.task.measure(self.physics, _ALL)
        wanted = self._memory.command  # smoothed: what the policy was asked to follow
        reward = self.task.reward(measured, wanted)
        terminated = self.task.terminated(measured)
        reward = np.where(terminated, np.float32(0.0), reward)
        if not np.isfinite(reward).all():
            raise TaskError(
                f"task {self.task.name}: reward is not finite in {(~np.isfinite(reward)).sum()} "
                f"of {self.num_envs} environments; give finite numbers only"
            )
        truncated = (self.elapsed >= self.episode_ticks) & ~terminated
        info: dict[str, Any] = {"tracking": self.task.tracking(measured)}
        info["command"] = wanted
        self.events.change_commands(self.elapsed, self.levels, self.np_random)
        self.reading = self.sensing.read(self.np_random)
        observation, self._memory = program.observe(
            self.contract, self.reading, self.command, self._memory
        )
        teacher = self._privileged(_ALL, measured)
        if len(pushed):
            self.physics.wrench[pushed] = 0.0
        finished = self.finished
        reward, terminated, truncated = self._count(reward, terminated, truncated)
        done = terminated | truncated
        if self.autoreset and done.any():
            info |= self._ended(done, {"student": observation, "teacher": teacher})
        if (ids := self._begin_anew(finished, done)).size:
            observation, teacher = self._begin_episodes(ids, observation, teacher)
        info["student"], info["teacher"] = observation, teacher
        chosen = observation if self.group == "student" else teacher
        return chosen, reward, terminated, truncated, info

    def _begin_episodes(
        self, ids: np.ndarray, observation: np.ndarray, teacher: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Reset ``ids``; both observations with what these see first."""
        self._reset_rows(ids)
        state = self.sensing.read(self.np_random, ids=ids)
        rows, memory = program.observe(
            self.contract,
            state,
            self.command[ids],
            program.initial_memory(self.contract, (len(ids),)),
        )
        self._memory = _put(self._memory, ids, memory)
        observation, teacher = observation.copy(), teacher.copy()
        observation[ids] = rows
        teacher[ids] = self._privileged(ids, self.task.measure(self.physics, ids))
        return observation, teacher

    def _reset_rows(self, ids: np.ndarray) -> None:
        rng = self.np_random
        levels = self.level_source(ids, rng)
        self.levels[ids] = levels
        width = dict(zip(self.axes, levels.T, strict=True))
        self.physics.reset(ids)
        for axis, term in self._randomised:
            self._drawn[term.name][ids] = term.sample(self.physics, ids, width[axis], rng)
        self.task.initial_state(self.physics, ids, rng)
        self.physics.settle(ids)
        self.sensing.reset(ids, width["sensing"], width["packet_loss"], rng)
        self._targets[ids] = 0.0
        self._begin(ids)
        self.events.begin(ids, self.levels, rng)
        self._switch_times.draw(ids, rng)

    def _term(self, quantity: str) -> Changeable:
        found = {term.name: term for _, term in self._randomised if isinstance(term, Changeable)}
        if quantity not in found:
            raise SwitchError(
                f"{self.task.name} randomises no {quantity} that could switch; it has "
                f"{', '.join(found) or 'nothing of that kind'}"
            )
        return found[quantity]

    def _switch(self) -> None:
        """Make the changes that are due; the teacher sees them."""
        for quantity, ids, value in self._switch_times.due(self.elapsed, self.np_random):
            drawn = self._drawn[quantity]
            drawn[ids] = self._changeable[quantity].change(self.physics, ids, value, drawn[ids])
            self.physics.batch.set_const(ids)

    def _privileged(self, rows: Rows, measured: Any) -> np.ndarray:
        targets = self._targets[rows]
        return np.concatenate(
            [
                self.task.privileged(self.physics, rows, measured, self._memory.command[rows]),
                targets.reshape(len(targets), -1),
                *(drawn[rows] for drawn in self._drawn.values()),
            ],
            axis=1,
        )

    def render(self) -> tuple[np.ndarray, ...] | None:
        """A picture of the first environment, ((height, width, 3) uint8,)."""
        if self.render_mode != "rgb_array":
            return None
        from .picture import Picture

        if self._renderer is None:
            self._renderer = Picture(self.physics, 320, 240)
        return (self._renderer.draw(),)

    def close_extras(self, **kwargs: Any) -> None:
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on to the bit: arrays, and the generator's state as JSON data."""
        return {
            **with_prefix("physics", self.physics.state_dict()),
            **with_prefix("sensing", self.sensing.state_dict()),
            **with_prefix("events", self.events.state_dict()),
            **with_prefix("drawn", {k: v.copy() for k, v in self._drawn.items()}),
            **with_prefix(
                "memory",
                {k: np.array(v) for k, v in dataclasses.asdict(self._memory).items()},
            ),
            "targets": self._targets.copy(),
            "switch_ticks": self._switch_times.ticks.copy(),
            **self._episode_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of ``state_dict``."""
        self.physics.load_state_dict(part(state, "physics"))
        self.sensing.load_state_dict(part(state, "sensing"))
        self.events.load_state_dict(part(state, "events"))
        for name, values in part(state, "drawn").items():
            self._drawn[name][:] = values
        self._memory = program.Memory(
            **{k: np.asarray(v).copy() for k, v in part(state, "memory").items()}
        )
        self._targets[:] = state["targets"]
        self._switch_times.ticks[:] = state["switch_ticks"]
        self._load_episode_state(state)
        self._started = True


def trained_ranges(task: Task, simulation: SimulationConfig) -> dict[str, tuple[float, float]]:
    """The ranges seen in training at full width, for the contract."""
    ranges: dict[str, tuple[float, float]] = {
        "packet_loss": (0.0, simulation.sensors.packet_loss),
        "gyro_noise": (0.0, simulation.sensors.gyro_noise),
    }
    for _, term in randomised_on(task):
        if term.name == "latency":
            ranges["latency"] = (term.low, term.high)  # type: ignore[attr-defined]
    return ranges


def _put(memory: program.Memory, ids: np.ndarray, rows: program.Memory) -> program.Memory:
    """``memory`` with ``rows`` at ``ids``. Its arrays are this tick's own and are written to,
    all but the history, which an observation may be a view of."""
    memory = dataclasses.replace(memory, history=memory.history.copy())
    for field in dataclasses.fields(memory):
        getattr(memory, field.name)[ids] = getattr(rows, field.name)
    return memory
