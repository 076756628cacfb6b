"""A Gymnasium ``VectorEnv`` over Gymnasium's MuJoCo tasks, stepped on native threads."""

from __future__ import annotations

import functools
import importlib
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from ...hardware.checks import at_least, check
from ..arguments import check_choice, check_making, checked_actions, stagger
from ..episodes import Autoreset, EpisodesEnv, part, with_prefix
from ..simulations import Simulations
from ..switches import Switch
from .contact_forces import ContactForces
from .difficulty import REMOVAL, Difficulty, DifficultyError
from .disturbances import Disturbances
from .student_view import StudentView
from .task import GymnasiumTask, Rows, load_gymnasium_model
from .tasks import make_task

_ALL = slice(None)
_EVERYTHING = StudentView()


class GymnasiumTaskEnv(EpisodesEnv):
    """``num_envs`` copies of one of Gymnasium's MuJoCo tasks.

    With the same keyword arguments as Gymnasium's environment, and nothing said that it does not
    know, it equals that in observation, reward, termination and truncation (tests compare to 1e-9);
    Ant and Humanoid leave contact forces out unless they are asked for. Observations are in
    ``info`` as ``student`` and ``teacher``, which are the same unless ``student``, ``difficulty``
    or ``switches`` say otherwise; then the teacher also sees how the dynamics differ from nominal,
    the actions that may still be on their way and the push that acts.

    With ``autoreset`` a finished environment starts its next episode in the same step
    (``AutoresetMode.SAME_STEP``); what it saw last is in ``info["final_obs"]``,
    ``info["final_student"]`` and ``info["final_teacher"]``, in the rows of ``info["_final_obs"]``.
    With ``autoreset="next_step"`` it starts in the step behind it (``AutoresetMode.NEXT_STEP``, for
    wrappers that want that), which takes no notice of its action.
    Without, finished rows go on unwatched and keep reporting what they finished with.

    Args:
        task: a task or its name, as ``HalfCheetah``.
        num_envs: environments.
        max_episode_steps: time limit (truncation); the task's own when None.
        difficulty: what the axes do; None is Gymnasium's task and no axes but ``student``'s.
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
        autoreset: Autoreset = True,
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
        super().__init__(
            num_envs,
            max_episode_steps or self.task.max_episode_steps,
            axes=(
                *(() if difficulty is None else difficulty.axes),
                *((REMOVAL,) if student.fade else ()),
            ),
            level=level,
            group=observation,
            autoreset=autoreset,
        )
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
        self.metadata = {**self.metadata, "render_fps": round(1.0 / self.period)}
        self._contact_forces = None
        if self.task.needs_contact_forces:
            self._contact_forces = ContactForces(self.simulations)
        self._switching = bool(switches)
        self.disturbances = None
        if difficulty is not None or switches:
            self.disturbances = Disturbances(self.simulations, difficulty, switches)
        self._parts = self.task.parts(model)
        self._view = student
        self._columns = student.columns(self._parts)
        whole = sum(self._parts.values())
        self._whole = len(self._columns) == whole
        self._fading = np.setdiff1d(np.arange(whole if student.fade else 0), self._columns)
        self._missing = np.zeros((num_envs, len(self._fading)), dtype=bool)
        self._std = self._noise_scale(difficulty)
        self._before = np.zeros(num_envs)  # where each was at the start of the step
        self._told = np.zeros((num_envs, model.nu))  # the motors at the last step, in [-1, 1]
        self._spaces()

    @property
    def student_columns(self) -> np.ndarray:
        """Which number of the teacher's each of the student's is, (size,) of int, -1 for none."""
        own = np.full(self.simulations.model.nu if self._view.last_action else 0, -1)
        return np.concatenate([self._columns, own, self._fading])

    def _spaces(self) -> None:
        model, privileged = self.simulations.model, self._privileged(slice(0, 1)).shape[1]
        whole = sum(self._parts.values())
        self.groups = {"student": len(self.student_columns), "teacher": whole + privileged}
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
        self._reset_rows(np.arange(self.num_envs))
        self._started = True
        if staggered:
            self._stagger()
            if self.disturbances is not None:
                self.disturbances.postpone(self.elapsed)
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
            (num_envs,) bool, if there are switches; where episodes ended, what ``LearningEnv``
            says.

        Raises:
            EnvError: actions of another shape, or not finite.
            gymnasium.error.ResetNeeded: before the first ``reset`` or ``set_state``.
        """
        info: dict[str, Any] = {}
        reward, failed = self.advance(actions)
        late = np.greater_equal(self.elapsed, self.episode_ticks)
        student, teacher = self.observe()
        if self.disturbances is not None and self._switching:
            info["switched"] = self.disturbances.switched
        finished = self.finished
        reward, terminated, truncated = self._count(reward, failed, late)
        done = terminated | truncated
        if self.autoreset and done.any():
            info |= self._ended(done, {"student": student, "teacher": teacher})
        if (ids := self._begin_anew(finished, done)).size:
            student, teacher = self._begin_episodes(ids, student, teacher)
        info["student"], info["teacher"] = student, teacher
        return info[self.group], reward, terminated, truncated, info

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
        pushed = None
        if self.disturbances is not None:
            pushed = self.disturbances.act(action, self.elapsed, self.levels, self.np_random)
        simulations.ctrl[:] = action
        if self._view.last_action:
            low, high = self._action_range
            self._told = np.clip(2.0 * (action - low) / (high - low) - 1.0, -1.0, 1.0)
        simulations.step()
        if pushed is not None and len(pushed):
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
            level = np.full(len(student), self._view.noise)
            if self.disturbances is not None:
                level += self.disturbances.noise[ids]
            student = student + noise * (level[:, None] * self._std)
        if self._view.last_action:
            student = np.concatenate([student, self._told[ids]], axis=1)
        if self._view.fade:
            there = np.where(self._missing[ids], 0.0, whole[:, self._fading])
            student = np.concatenate([student, there], axis=1)
        teacher = whole
        if self.disturbances is not None:
            teacher = np.concatenate([whole, self._privileged(ids)], axis=1)
        return student.astype(self.dtype, copy=False), teacher.astype(self.dtype, copy=False)

    def _privileged(self, ids: slice | np.ndarray) -> np.ndarray:
        if self.disturbances is None:
            return np.zeros((1, 0))
        return self.disturbances.describe(ids, self.elapsed, self.levels)

    def _begin_episodes(
        self, ids: np.ndarray, student: np.ndarray, teacher: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Reset ``ids``; both observations with what these see first."""
        self._reset_rows(ids)
        first_student, first_teacher = self._observe(ids)
        student, teacher = student.copy(), teacher.copy()
        student[ids], teacher[ids] = first_student, first_teacher
        return student, teacher

    def _reset_rows(self, ids: np.ndarray) -> None:
        rng, simulations = self.np_random, self.simulations
        model, n = simulations.model, len(ids)
        simulations.reset(ids)
        self._begin(ids)
        qpos, qvel = self.task.initial_state(model.qpos0, np.zeros(model.nv), n, rng)
        simulations.qpos[ids], simulations.qvel[ids] = qpos, qvel
        if self.axes:
            self.levels[ids] = self.level_source(ids, rng)
        if self.disturbances is not None:
            self.disturbances.begin(ids, self.levels[ids], rng)
        if self._view.fade:
            removed = self.levels[ids, self.axes.index(REMOVAL), None]
            self._missing[ids] = rng.random((n, len(self._fading))) < removed
        if self._contact_forces is not None:
            self._contact_forces.reset(ids)
        self._settle(ids)

    def _settle(self, ids: np.ndarray) -> None:
        self.simulations.settle(ids)
        self._told[ids] = 0.0
        self._before[ids] = self.task.track(self._rows(ids))

    def _noise_scale(self, difficulty: Difficulty | None) -> np.ndarray | None:
        """Standard deviation of each number the student sees, or None where nothing is noisy."""
        if self._view.noise == 0 and (difficulty is None or difficulty.noise == 0):
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
        from ..picture import Picture

        if self._renderer is None:
            module = importlib.import_module(f"gymnasium.envs.mujoco.{self.task.module}")
            view = getattr(module, "DEFAULT_CAMERA_CONFIG", {})
            self._renderer = Picture(self.simulations, *self._size, view)
        return (self._renderer.draw(),)

    def close_extras(self, **kwargs: Any) -> None:
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on to the bit: arrays, and the generator's state as JSON data."""
        state = {
            **with_prefix("physics", self.simulations.state_dict()),
            "before": self._before.copy(),
            **self._episode_state(),
        }
        if self.disturbances is not None:
            state |= with_prefix("disturbances", self.disturbances.state_dict())
        if self._view.last_action:
            state["told"] = self._told.copy()
        if self._view.fade:
            state["missing"] = self._missing.copy()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of ``state_dict``."""
        self.simulations.load_state_dict(part(state, "physics"))
        self._before[:] = state["before"]
        if self._view.last_action:
            self._told[:] = state["told"]
        if self._view.fade:
            self._missing[:] = state["missing"]
        if self.disturbances is not None:
            self.disturbances.load_state_dict(part(state, "disturbances"))
        self._load_episode_state(state)
        self._started = True


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
