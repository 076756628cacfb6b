"""Batches whose episodes run on from one to the next, and data sets of other people's."""

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from retort.distill.batch import Batch, no_episodes
from retort.distill.distributions import Categorical, Gaussian, TanhGaussian
from retort.distill.teachers import TeacherOutput

TICKS, ENVS = 20, 6
ACTIONS = Box(-1, 1, (2,), np.float32)


def said_of(observation, family):
    """A teacher that is a plain function of what it sees, (..., 3)."""
    mean, std = torch.tanh(observation[..., :2]), 0.1 + observation[..., 1:].abs()
    value = observation.sum(-1)
    if family == "gaussian":
        return TeacherOutput(Gaussian(mean, std), value, features={"layer0": observation * 2})
    if family == "tanh_gaussian":
        scale = torch.tensor([2.0, 0.5]).expand_as(mean)
        return TeacherOutput(TanhGaussian(mean, std, scale, 0.25, 0.4), latent=observation[..., :1])
    return TeacherOutput(Categorical(observation), value, q=observation * 3)


def make_batches(count=3, *, family="gaussian", labelled=True, seed=0, axes=2):
    """Batches whose episodes run on from one to the next, as a rollout's do."""
    generator = torch.Generator().manual_seed(seed)

    def randn(*shape):
        return torch.randn(*shape, generator=generator)

    upcoming = {"student": randn(ENVS, 4), "teacher": randn(ENVS, 3)}
    reset = torch.ones(ENVS, dtype=torch.bool)
    for _ in range(count):
        rows = {group: [] for group in upcoming}
        final, index, resets = {group: [] for group in upcoming}, [], []
        ends = torch.rand(TICKS, ENVS, generator=generator)
        terminated, truncated = ends < 0.08, (ends > 0.06) & (ends < 0.15)
        terminated[4, 2] = truncated[4, 2] = True  # both at once
        for t in range(TICKS):
            resets.append(reset)
            done = terminated[t] | truncated[t]
            for group, values in upcoming.items():
                rows[group].append(values)
                after = randn(*values.shape)
                final[group].append(after[done])
                fresh = randn(*values.shape)
                upcoming[group] = torch.where(done[:, None], fresh, after)
            index += [(t, int(i)) for i in done.nonzero()]
            reset = done
        observations = {group: torch.stack(values) for group, values in rows.items()}
        said = said_of(observations["teacher"], family)
        yield Batch(
            observations=observations,
            action=said.distribution.sample(generator),
            log_prob=randn(TICKS, ENVS),
            driver=torch.zeros(ENVS),
            reward=randn(TICKS, ENVS),
            terminated=terminated,
            truncated=truncated,
            reset=torch.stack(resets),
            final_index=torch.tensor(index),
            final_observations={group: torch.cat(values) for group, values in final.items()},
            last_observations=upcoming,
            initial_state=torch.zeros(ENVS, 0),
            level=torch.rand(TICKS, ENVS, axes, generator=generator),
            task=torch.randint(3, (TICKS, ENVS), generator=generator),
            episodes=no_episodes(),
            labels=(said,) if labelled else None,
        )
        upcoming = dict(upcoming)


def foreign_data(path, observations, actions, episodes=4):
    """A data set as Minari writes it for anyone, without labels; the episodes just stop.

    Observations are one array, or its parts ``at`` and ``goal``, or those two under ``deep``.
    """
    from minari.data_collector.episode_buffer import EpisodeBuffer
    from minari.dataset.minari_storage import MinariStorage

    rng = np.random.default_rng(0)
    path.mkdir(exist_ok=True)
    storage = MinariStorage.new(path / "data", observation_space=observations, action_space=actions)
    storage.update_metadata({"dataset_id": "someone/else-v0"})
    for _ in range(episodes):
        seen = rng.normal(size=(41, 4)).astype(np.float32)
        if isinstance(actions, Discrete):
            action = (seen[:-1, 0] > 0).astype(np.int64) + actions.start
        else:
            action = 0.5 * seen[:-1, :2]
        whole = seen
        if isinstance(observations, gymnasium.spaces.Dict):
            whole = {"goal": seen[:, 2:], "at": seen[:, :2]}
            whole = {"deep": whole} if "deep" in observations.spaces else whole
        storage.update_episodes(
            [
                EpisodeBuffer(
                    observations=whole,
                    actions=action,
                    rewards=np.ones(40),
                    terminations=np.zeros(40, dtype=bool),
                    truncations=np.zeros(40, dtype=bool),
                )
            ]
        )
    return path


def box(size):
    return Box(-np.inf, np.inf, (size,), np.float32)
