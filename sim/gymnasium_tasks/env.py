"""A Gymnasium ``VectorEnv`` over Gymnasium's MuJoCo tasks, stepped on native threads."""

from __future__ import annotations

import functools
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from ...hardware.checks import at_least, check
from ..arguments import check_choice, check_making, checked_actions, one_level_each, stagger
from ..env import LevelSource
from ..randomisation import Latency
from ..simulations import Simulations
from ..switches import Switch
from .contact_forces import ContactForces
from .difficulty import AXES, Difficulty, DifficultyError, Dynamics, has_contacts
from .student_view import StudentView
from .task import GymnasiumTask, Rows, load_gymnasium_model
from .tasks import make_task

_ALL = slice(None)
_RESET_EVERY = 10  # [ticks] staggered episodes end on multiples of it: fewer, larger resets
_NEVER = np.iinfo(np.int64).max
_EVERYTHING = StudentView()


class GymnasiumTaskEnv(gymnasium.vector.VectorEnv[Any, Any, Any]):
    """``num_envs`` copies of one of Gymnasium's MuJoCo tasks.

    At its defaults, and made with the same keyword arguments, it equals Gymnasium's environment in
    observation, reward, termination and truncation (tests compare to 1e-9). Observations are in
    ``info`` as ``student`` and ``teacher``, which are the same unless ``student``, ``difficulty``
    or ``switches`` say otherwise; then the teacher also sees how the dynamics differ from nominal,
    the actions that may still be on their way and the push that acts.

    With ``autoreset`` a finished environment starts its next episode in the same step
    (``AutoresetMode.SAME_STEP``); what it saw last is in ``info["final_obs"]``,
    ``info["final_student"]`` and ``info["final_teacher"]``, in the rows of ``info["_final_obs"]``.
    Without, finished rows go on unwatched and keep reporting what they finished with.

    Args:
        task: a task or its name, as ``HalfCheetah``.
        num_envs: environments.
        max_episode_steps: time limit (truncation); the task's own when None.
        difficulty: what the axes do; None is Gymnasium's task and no axes.
        level: on every axis in [0, 1], or one number per axis.
        switches: changes in the middle of episodes.
        student: what the student does not see.
        observation: which group ``reset`` and ``step`` return.
        actions: ``gymnasium`` are not clipped, ``clipped`` are clipped to the action space, and
            ``normalised`` are clipped to [-1, 1] and scaled to the motors' range.
        dtype: of observations.
        autoreset: see above.
        threads: of physics, 0 is one per core.
        render_mode: None or ``rgb_array``, the first environment as Gymnasium draws it.
        width, height: of pictures.
        keywords: the task's own, see its class.

    Raises:
        DifficultyError: the task cannot have such a difficulty, switch or view.
        TaskError: no such task or keyword.
        ModelError: its model does not load.
        EnvError: another argument that cannot be; RangeError if it is a number.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012  (Gymnasium's own declaration)
        "render_modes": ["rgb_array"],
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(
        self,
        task: GymnasiumTask | str,
        num_envs: int = 1,
        *,
        max_episode_steps: int | None = None,
        difficulty: Difficulty | None = None,
        level: float | tuple[float, ...] = 0.0,
        switches: tuple[Switch, ...] = (),
        student: StudentView = _EVERYTHING,
        observation: Literal["student", "teacher"] = "student",
        actions: Literal["gymnasium", "clipped", "normalised"] = "gymnasium",
        dtype: str = "float64",
        autoreset: bool = True,
        threads: int = 0,
        render_mode: str | None = None,
        width: int = 480,
        height: int = 480,
        **keywords: Any,
    ) -> None:
        check_making(num_envs, observation, render_mode)
        check_choice("actions", actions, ("gymnasium", "clipped", "normalised"))
        check_choice("dtype", np.dtype(dtype).name, ("float64", "float32"))
        if max_episode_steps is not None:
            check("max_episode_steps", max_episode_steps, at_least(1))
        self.task = make_task(task, keywords)
        self.num_envs = num_envs
        self.autoreset = autoreset
        self.group = observation
        self.difficulty = difficulty
        self.switches = switches
        self.episode_ticks = max_episode_steps or self.task.max_episode_steps
        self.dtype = np.dtype(dtype)
        self.render_mode = render_mode
        self._size = (width, height)
        self._renderer: Any = None
        self._started = False
        self._actions = actions
        model = load_gymnasium_model(self.task, delay=difficulty.latency if difficulty else 0.0)
        self.simulations = Simulations(
            model,
            num_envs,
            substeps=self.task.frame_skip,
            threads=threads,
            outputs=self.task.outputs,
            persistent=self.task.needs_contact_forces,
        )
        self.period = self.simulations.period
        self.resumable = True
        self._contact_forces = None
        if self.task.needs_contact_forces:
            self._contact_forces = ContactForces(self.simulations)
        self.axes: tuple[str, ...] = () if difficulty is None else AXES
        fixed = one_level_each(level, self.axes)
        self.level_source: LevelSource = lambda ids, rng: np.tile(fixed, (len(ids), 1))
        self._parts = self.task.parts(model)
        self._view = student
        self._columns = student.columns(self._parts)
        self._whole = len(self._columns) == sum(self._parts.values())
        self._std = self._noise_scale()
        self._allocate()
        self._spaces()
        mode = AutoresetMode.SAME_STEP if autoreset else AutoresetMode.DISABLED
        fps = round(1.0 / self.period)
        self.metadata = {**self.metadata, "autoreset_mode": mode, "render_fps": fps}

    def _allocate(self) -> None:
        n, model = self.num_envs, self.simulations.model
        self.levels = np.zeros((n, len(self.axes)))
        self.elapsed = np.zeros(n, dtype=np.int64)
        self.score = np.zeros(n)  # sum of rewards of the running episode
        self.switched = np.zeros(n, dtype=bool)  # whose dynamics changed in the last step
        self._failed = np.zeros(n, dtype=bool)  # how they finished, only without autoreset
        self._timed_out = np.zeros(n, dtype=bool)
        self._before = np.zeros(n)  # where each was at the start of the step
        self._noise = np.full(n, self._view.noise)  # [standard deviations]
        self._next_push = np.full(n, _NEVER)
        self._push_angle = np.zeros(n)
        self._next_switch = np.full((n, len(self.switches)), _NEVER)
        self._dynamics = self._latency = None
        self._latest = np.zeros((n, 0, model.nu))  # actions that may be on their way
        self._delay = np.zeros((n, 0))
        if self.difficulty is not None or self.switches:
            self._dynamics = Dynamics(self.simulations)
            if not has_contacts(model) and any(s.quantity == "friction" for s in self.switches):
                raise DifficultyError(
                    f"{self.task.name} has no contacts whose friction could switch; choose "
                    "payload or motor_strength"
                )
        if self.difficulty is not None and self.difficulty.latency > 0:
            self._latency = Latency(low=0.0, high=self.difficulty.latency)
            self._latency.bind(self.simulations)  # type: ignore[arg-type]
            late = int(np.ceil(self.difficulty.latency / self.period))
            self._latest = np.zeros((n, late, model.nu))
            self._delay = np.zeros((n, 1))

    def _spaces(self) -> None:
        model, privileged = self.simulations.model, self._privileged(slice(0, 1)).shape[1]
        whole = sum(self._parts.values())
        self.groups = {"student": len(self._columns), "teacher": whole + privileged}
        shape = (self.groups[self.group],)
        kind = self.dtype.type
        self.single_observation_space = gymnasium.spaces.Box(-np.inf, np.inf, shape, kind)
        self._action_range = model.actuator_ctrlrange.T.astype(np.float32)
        low, high = self._action_range
        if self._actions == "normalised":
            low, high = -np.ones_like(low), np.ones_like(high)
        self.single_action_space = gymnasium.spaces.Box(low, high, dtype=np.float32)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._action_shape = (self.num_envs, model.nu)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start every environment anew.

        Args:
            seed: of everything random from here on; goes on with the present stream when None.
                One environment alone starts where Gymnasium's with this seed does.
            options: ``{"stagger": True}`` starts each at a random time of its first episode.

        Raises:
            EnvError: another option.
        """
        staggered = stagger(options)
        super().reset(seed=seed)
        self._failed[:] = self._timed_out[:] = False
        self._reset_rows(np.arange(self.num_envs))
        self._started = True
        if staggered:
            phases = max(1, self.episode_ticks // _RESET_EVERY)
            self.elapsed[:] = self.np_random.integers(0, phases, self.num_envs) * _RESET_EVERY
            going = self._next_push != _NEVER
            self._next_push[going] += self.elapsed[going]
        info: dict[str, Any] = {}
        info["student"], info["teacher"] = self._observe(_ALL)
        return info[self.group], info

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One step of ``frame_skip`` physics steps.

        Args:
            actions: (num_envs, actions).

        Returns:
            Observation (num_envs, size), reward (num_envs,) float64, terminated and truncated
            (num_envs,) bool, and info: ``student`` and ``teacher`` observations; ``switched``,
            (num_envs,) bool, if there are switches; where episodes ended, ``final_obs``,
            ``final_student``, ``final_teacher``, ``_final_obs``, ``episode_score`` (sum of rewards
            over the time limit), ``episode_length`` and ``episode_levels``.

        Raises:
            EnvError: actions of another shape, or not finite.
            gymnasium.error.ResetNeeded: before the first ``reset`` or ``set_state``.
        """
        info: dict[str, Any] = {}
        reward, failed = self.advance(actions)
        late = self.elapsed >= self.episode_ticks
        student, teacher = self.observe()
        if self.switches:
            info["switched"] = self.switched
        if self.autoreset:
            self.score += reward
            terminated, truncated = failed, late
            done = terminated | truncated
            if done.any():
                student, teacher = self._end_episodes(done, student, teacher, info)
        else:
            running = ~self.finished
            reward = np.where(running, reward, 0.0)
            self.score += reward
            self._failed |= failed & running
            self._timed_out |= late & running
            terminated, truncated = self._failed.copy(), self._timed_out.copy()
        info["student"], info["teacher"] = student, teacher
        return info[self.group], reward, terminated, truncated, info

    @property
    def finished(self) -> np.ndarray:
        """Whose episode is over, (num_envs,) bool; only without autoreset."""
        return self._failed | self._timed_out

    def advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Physics, reward and failure of one step, with no time limit and no reset.

        Args:
            actions: (num_envs, actions).

        Returns:
            Reward (num_envs,) and who has failed (num_envs,) bool.

        Raises:
            EnvError, gymnasium.error.ResetNeeded: as ``step``.
        """
        simulations, task = self.simulations, self.task
        action = self._motor_action(actions)
        self._switch()
        if self._latest.shape[1]:
            self._latest = np.concatenate([self._latest[:, 1:], action[:, None]], axis=1)
        pushed = self._push()
        simulations.ctrl[:] = action
        simulations.step()
        if len(pushed):
            simulations.wrench[pushed] = 0.0
        if self._contact_forces is not None:
            self._contact_forces.compute()
        rows = self._rows(_ALL)
        place = task.track(rows)
        speed = (place - self._before) / self.period
        self._before = place
        self.elapsed += 1
        return task.reward(rows, action, speed), task.terminated(rows)

    def set_state(self, qpos: np.ndarray, qvel: np.ndarray) -> None:
        """Put every environment into a state, with nothing remembered of the time before.

        The same as ``mj_resetData`` and Gymnasium's ``set_state``.

        Args:
            qpos: (num_envs, nq).
            qvel: (num_envs, nv).
        """
        ids, simulations = np.arange(self.num_envs), self.simulations
        fields = {name: values.copy() for name, values in simulations.fields.items()}
        simulations.reset(ids)
        for name, values in fields.items():
            simulations.fields[name][:] = values
        simulations.qpos[:], simulations.qvel[:] = qpos, qvel
        self._settle(ids)
        self._started = True

    def observe(self) -> tuple[np.ndarray, np.ndarray]:
        """The student's and the teacher's observation now; noise is drawn anew."""
        return self._observe(_ALL)

    def _motor_action(self, actions: np.ndarray) -> np.ndarray:
        action = checked_actions(actions, self._action_shape, self._started)
        if self._actions == "gymnasium":
            return action
        low, high = self._action_range
        if self._actions == "clipped":
            return np.clip(action, low, high)
        return low + (np.clip(action, -1.0, 1.0) + 1.0) * ((high - low) / 2)

    def _rows(self, ids: slice | np.ndarray) -> Rows:
        simulations = self.simulations
        fields = {"qpos": simulations.qpos[ids], "qvel": simulations.qvel[ids]}
        fields |= {name: values[ids] for name, values in simulations.outputs.items()}
        fields |= {name: simulations.model_field(name)[ids] for name in self.task.model_fields}
        if self._contact_forces is not None:
            fields["cfrc_ext"] = self._contact_forces.values[ids]
        return Rows(fields, simulations.model)

    def _observe(self, ids: slice | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        whole = self.task.observe(self._rows(ids))
        student = whole if self._whole else whole[:, self._columns]
        if self._std is not None:
            noise = self.np_random.standard_normal(student.shape)
            student = student + noise * (self._noise[ids][:, None] * self._std)
        privileged = self._privileged(ids)
        teacher = np.concatenate([whole, privileged], axis=1) if privileged.shape[1] else whole
        return student.astype(self.dtype, copy=False), teacher.astype(self.dtype, copy=False)

    def _privileged(self, ids: slice | np.ndarray) -> np.ndarray:
        if self._dynamics is None:
            return np.zeros((1, 0))
        latest = self._latest[ids]
        parts = [self._dynamics.describe(ids), latest.reshape(len(latest), -1), self._delay[ids]]
        if self.difficulty is not None:
            due = self._next_push[ids] == self.elapsed[ids]
            parts.append(self._push_force(ids) * due[:, None])
        return np.concatenate(parts, axis=1)

    def _end_episodes(
        self, done: np.ndarray, student: np.ndarray, teacher: np.ndarray, info: dict[str, Any]
    ) -> tuple[np.ndarray, np.ndarray]:
        ids = np.flatnonzero(done)
        info["final_student"], info["final_teacher"] = student, teacher
        info["final_obs"] = info[f"final_{self.group}"]
        info["_final_obs"] = done
        info["episode_score"] = self.score / self.episode_ticks
        info["episode_length"] = self.elapsed.copy()
        info["episode_levels"] = self.levels.copy()
        self._reset_rows(ids)
        first_student, first_teacher = self._observe(ids)
        student, teacher = student.copy(), teacher.copy()
        student[ids], teacher[ids] = first_student, first_teacher
        return student, teacher

    def _reset_rows(self, ids: np.ndarray) -> None:
        rng, simulations = self.np_random, self.simulations
        model, n = simulations.model, len(ids)
        simulations.reset(ids)
        self.elapsed[ids] = 0
        self.score[ids] = 0.0
        qpos, qvel = self.task.initial_state(model.qpos0, np.zeros(model.nv), n, rng)
        simulations.qpos[ids], simulations.qvel[ids] = qpos, qvel
        if self._dynamics is not None:
            self._dynamics.reset(ids)
        if self.difficulty is not None:
            self._draw_difficulty(ids, self.difficulty, rng)
        if self._dynamics is not None:
            self._dynamics.apply(ids)
        for number, switch in enumerate(self.switches):
            seconds = rng.uniform(*switch.time, n)
            self._next_switch[ids, number] = np.rint(seconds / self.period)
        if self._contact_forces is not None:
            self._contact_forces.reset(ids)
        self._settle(ids)

    def _draw_difficulty(
        self, ids: np.ndarray, difficulty: Difficulty, rng: np.random.Generator
    ) -> None:
        levels = self.level_source(ids, rng)
        self.levels[ids] = levels
        width = dict(zip(self.axes, levels.T, strict=True))
        assert self._dynamics is not None
        self._dynamics.draw(ids, width["randomisation"], difficulty, rng)
        self._noise[ids] = self._view.noise + width["sensing"] * difficulty.noise
        self._latest[ids] = 0.0
        if self._latency is not None:
            drawn = self._latency.sample(self.simulations, ids, width["latency"], rng)  # type: ignore[arg-type]
            self._delay[ids] = drawn
        self._draw_push(ids, rng)

    def _settle(self, ids: np.ndarray) -> None:
        self.simulations.settle(ids)
        self._before[ids] = self.task.track(self._rows(ids))

    def _draw_push(self, ids: np.ndarray, rng: np.random.Generator) -> None:
        assert self.difficulty is not None
        low, high = (round(s / self.period) for s in self.difficulty.push_interval)
        self._next_push[ids] = self.elapsed[ids] + rng.integers(max(low, 1), max(high, 2), len(ids))
        self._push_angle[ids] = rng.uniform(0.0, 2 * np.pi, len(ids))

    def _push_force(self, ids: slice | np.ndarray) -> np.ndarray:
        """Horizontal force of the next push over the whole mass, (n, 2) [m/s^2]."""
        assert self.difficulty is not None
        angle = self._push_angle[ids]
        force = self.difficulty.push_speed / self.period * self.levels[ids, AXES.index("pushes")]
        return np.stack([np.cos(angle), np.sin(angle)], axis=1) * force[:, None]

    def _push(self) -> np.ndarray:
        ids = np.flatnonzero(self._next_push == self.elapsed)
        if len(ids):
            assert self._dynamics is not None
            force = self._push_force(ids) * self._dynamics.total_mass
            self.simulations.wrench[ids, 1, :2] = force
            self._draw_push(ids, self.np_random)
        return ids

    def _switch(self) -> None:
        """Make the changes that are due."""
        due = self._next_switch == self.elapsed[:, None]
        self.switched = due.any(axis=1)
        if self.switched.any():
            assert self._dynamics is not None
            for number, switch in enumerate(self.switches):
                ids = np.flatnonzero(due[:, number])
                values = self.np_random.uniform(*switch.value, len(ids))
                self._dynamics.set(switch.quantity, ids, values)
            ids = np.flatnonzero(self.switched)
            self._dynamics.apply(ids)
            self.simulations.batch.set_const(ids)

    def _noise_scale(self) -> np.ndarray | None:
        """Standard deviation of each number the student sees, or None where nothing is noisy."""
        noisy = self._view.noise > 0 or (self.difficulty is not None and self.difficulty.noise > 0)
        if not noisy:
            return None
        std = self._view.std
        if std is None:
            std = random_deviation(self.task)
        if len(std) != sum(self._parts.values()):
            raise DifficultyError(
                f"std needs {sum(self._parts.values())} numbers, one per observation, "
                f"got {len(std)}"
            )
        return np.asarray(std)[self._columns]

    def render(self) -> tuple[np.ndarray, ...] | None:
        """A picture of the first environment, ((height, width, 3) uint8,)."""
        if self.render_mode != "rgb_array":
            return None
        from .picture import Picture

        if self._renderer is None:
            self._renderer = Picture(self.task, self.simulations, *self._size)
        return (self._renderer.draw(),)

    def close_extras(self, **kwargs: Any) -> None:
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on to the bit: arrays, and the generator's state as JSON data."""
        state = {f"physics.{k}": v for k, v in self.simulations.state_dict().items()}
        if self._dynamics is not None:
            state |= {f"dynamics.{k}": v.copy() for k, v in self._dynamics.values.items()}
        state |= {name: getattr(self, name).copy() for name in _ARRAYS}
        return {**state, "rng": self.np_random.bit_generator.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of ``state_dict``."""

        def part(prefix: str) -> dict[str, Any]:
            return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}

        self.simulations.load_state_dict(part("physics."))
        if self._dynamics is not None:
            for name, values in part("dynamics.").items():
                self._dynamics.values[name][:] = values
        for name in _ARRAYS:
            setattr(self, name, np.asarray(state[name]).copy())
        self.np_random.bit_generator.state = state["rng"]
        self._started = True


_ARRAYS = (
    "levels",
    "elapsed",
    "score",
    "_failed",
    "_timed_out",
    "_before",
    "_noise",
    "_next_push",
    "_push_angle",
    "_next_switch",
    "_latest",
    "_delay",
)


@functools.lru_cache(maxsize=32)
def random_deviation(
    task: GymnasiumTask, num_envs: int = 32, steps: int = 128
) -> tuple[float, ...]:
    """Standard deviation of each observation under uniform random actions, always the same."""
    env = GymnasiumTaskEnv(task, num_envs, threads=1)
    observation, _ = env.reset(seed=0)
    rng, space = np.random.default_rng(0), env.single_action_space
    assert isinstance(space, gymnasium.spaces.Box)
    seen = [observation]
    for _ in range(steps):
        actions = rng.uniform(space.low, space.high, env.action_space.shape)
        seen.append(env.step(actions)[0])
    return tuple(np.concatenate(seen).std(axis=0).tolist())
