"""A world of random numbers that takes no time, and who learns, teaches and is recorded there."""

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from retort.distill.distill_config import DistillConfig
from retort.distill.modes import MODES
from retort.distill.networks import Critic, make_actor
from retort.distill.ppo import PPO, PPOConfig
from retort.distill.sources.recording import Recording
from retort.distill.sources.rollout import RolloutSource
from retort.distill.students import Interface, StudentConfig, make_student
from retort.distill.teachers import ActorTeacher
from retort.distill.terms import TermConfig
from retort.sim.episodes import EpisodesEnv

N, TICKS, EPISODE = 8, 6, 9
STUDENT_SIZE, TEACHER_SIZE, ACTIONS = 4, 5, 2


class TinyEnv(EpisodesEnv):
    """Uniform numbers, the last of which the teacher alone sees, and the tick of the episode.

    One in twenty episodes ends at any tick. An action, or a choice, is right that has the first
    number's sign, or the order of the first ones.
    """

    period, resumable = 0.02, True
    groups = {"student": STUDENT_SIZE, "teacher": TEACHER_SIZE}  # noqa: RUF012

    def __init__(self, num_envs=N, *, discrete=False):
        super().__init__(num_envs, EPISODE)
        box = Box(-1.0, 1.0, (ACTIONS,), np.float32)
        self.single_action_space = Discrete(ACTIONS) if discrete else box

    def reset(self, *, seed=None, options=None):
        self.np_random = np.random.default_rng(seed)
        self._begin(np.arange(self.num_envs))
        if (options or {}).get("stagger"):
            self._stagger(every=1)
        return self._see()["student"], self._groups

    def step(self, actions):
        seen = self._groups["student"]
        if isinstance(self.single_action_space, Discrete):
            right = seen[np.arange(self.num_envs), actions] == seen[:, :ACTIONS].max(axis=1)
        else:
            right = np.sign(actions[:, 0]) == np.sign(seen[:, 0])
        self.elapsed += 1
        ended = self.np_random.random(self.num_envs) < 0.05, self.elapsed >= EPISODE
        reward, terminated, truncated = self._count(right.astype(np.float32), *ended)
        done, info = terminated | truncated, self._see()
        if done.any():
            info |= self._ended(done, self._groups)
            self._begin(np.flatnonzero(done))
            info |= self._see()
        return info["student"], reward, terminated, truncated, info

    def state_dict(self):
        return {**self._episode_state(), **self._groups}

    def load_state_dict(self, state):
        self._load_episode_state(state)
        self._groups = {group: np.asarray(state[group]) for group in self.groups}

    def _see(self):
        numbers = self.np_random.uniform(-1.0, 1.0, (self.num_envs, TEACHER_SIZE - 1))
        seen = np.column_stack([self.elapsed, numbers]).astype(np.float32)
        seen = np.roll(seen, -1, axis=1)  # numbers first, and the tick last
        self._groups = {"student": np.delete(seen, 3, axis=1), "teacher": seen}
        return dict(self._groups)


def make_teacher(seed=0, kind=ActorTeacher, discrete=False):
    """An actor with an opinion, and its critic."""
    space = TinyEnv(1, discrete=discrete).single_action_space
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        actor = make_actor(TEACHER_SIZE, space, (8,))
        torch.nn.init.normal_(actor.network[-1].weight, std=0.5)
        return kind(actor, Critic(TEACHER_SIZE, (8,)))


def make_learner(config=None, discrete=False):
    """A new student, and its critic."""
    interface = Interface.plain(STUDENT_SIZE, ACTIONS, discrete=discrete)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        student = make_student(config or StudentConfig(hidden=(8,)), interface)
        return student, Critic(TEACHER_SIZE, (8,))


def settings(mode="student", iterations=6, **changes):
    """Of distillation in the tiny world."""
    common = {
        "mode": mode,
        "steps": N * TICKS * iterations,
        "num_envs": N,
        "ticks": TICKS,
        "minibatches": 2,
        "teacher_share": 0.25,
        "learning_rate": 1e-2,
        "terms": (
            TermConfig(name="policy_kl"),
            TermConfig(name="rl", weight=0.1),
            TermConfig(name="value"),
        ),
    }
    if MODES[mode].keeps:
        common["kept_batches"] = 3
    return DistillConfig(**{**common, **changes})


def make_ppo(iterations=6):
    """A learner that begins as the teacher."""
    config = PPOConfig(
        steps=N * TICKS * iterations,
        num_envs=N,
        ticks=TICKS,
        hidden=(8,),
        critic_hidden=(8,),
        epochs=2,
        minibatches=2,
        learning_rate=1e-2,
    )
    ppo, teacher = PPO(config, TinyEnv(1), seed=0), make_teacher()
    ppo.actor.load_state_dict(teacher.actor.state_dict())
    ppo.critic.load_state_dict(teacher.critic.state_dict())
    return ppo


def recorded(teacher, batches=4):
    """Whole episodes of ``teacher``, with its word."""
    source = RolloutSource(TinyEnv(), TICKS)
    source.start(7)
    generator = torch.Generator().manual_seed(7)

    @torch.no_grad()
    def act(groups, state, reset):
        said, _ = teacher({group: rows[None] for group, rows in groups.items()}, state, reset[None])
        action = said.distribution.sample(generator)
        return action[0], said.distribution.log_prob(action)[0], state

    made = [source.collect(act) for _ in range(batches)]
    return [episode for env in range(N) for episode in _episodes(made, env, teacher)]


def _episodes(batches, env, teacher):
    rows = {
        name: torch.cat([getattr(batch, name)[:, env] for batch in batches])
        for name in ("action", "log_prob", "reward", "terminated", "truncated", "level", "task")
    }
    seen = {
        group: torch.cat([batch.observations[group][:, env] for batch in batches])
        for group in TinyEnv.groups
    }
    final = {
        (k * TICKS + int(tick), int(of)): {g: v[i] for g, v in batch.final_observations.items()}
        for k, batch in enumerate(batches)
        for i, (tick, of) in enumerate(batch.final_index)
    }
    begin = None  # the first one was not seen to begin
    for end in sorted(tick for tick, of in final if of == env):
        if begin is not None:
            part = slice(begin, end + 1)
            observations = {
                group: torch.cat([values[part], final[end, env][group][None]])
                for group, values in seen.items()
            }
            ours = {group: values[:-1, None] for group, values in observations.items()}
            never = torch.zeros(end + 1 - begin, 1, dtype=torch.bool)
            said = teacher(ours, teacher.initial_state(1), never)[0].select((slice(None), 0))
            columns = {name: values[part] for name, values in rows.items()}
            yield Recording(observations=observations, labels=(said,), **columns)
        begin = end + 1
