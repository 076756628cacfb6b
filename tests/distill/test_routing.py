"""Teachers of different tasks: whom a student listens to, and who drives where."""

import functools

import pytest
import torch
from retort.distill.batch import STUDENT, TEACHER
from retort.distill.distill_config import DistillConfig
from retort.distill.distiller import Distiller
from retort.distill.distributions import Gaussian
from retort.distill.networks import Critic
from retort.distill.sources.rollout import RolloutSource
from retort.distill.students import StudentConfig, make_student
from retort.distill.teachers import TeacherOutput
from retort.distill.teachers.mixture import MixtureConfig, MixtureError
from retort.distill.terms import TermConfig
from retort.sim import RobotEnv

from .counting import Counting


class Shifted(Counting):
    """Does one thing, and a little more at each tick of an episode."""

    def __init__(self, done):
        super().__init__(actions=2)
        self.done = done

    def __call__(self, observations, state, resets):
        said, state = super().__call__(observations, state, resets)
        mean = self.done + 0.001 * said.distribution.mean
        return TeacherOutput(Gaussian(mean, torch.full_like(mean, 1e-6))), state


DONE = (0.1, 0.6)  # by the teacher of each task


def distiller_for(env):
    """A student of two teachers."""
    config = DistillConfig(
        terms=(TermConfig(name="policy_kl"), TermConfig(name="policy_kl", weight=0.5)),
        teachers=MixtureConfig(weighting="task"),
        num_envs=env.num_envs,
    )
    student = make_student(StudentConfig(hidden=(4,)), env.contract)
    critic = Critic(env.groups["teacher"], (4,))
    return Distiller(config, student, [Shifted(done) for done in DONE], critic, 0)


def source_of(tasks, share):
    source = RolloutSource(
        RobotEnv(num_envs=len(tasks), episode_seconds=0.2), 5, tasks=torch.tensor(tasks)
    )
    source.start(0)
    source.share_with_teacher(share)
    return source


def test_teachers_are_routed_by_the_tasks_a_source_names():
    source = source_of([0, 1, 1, 0], 0.0)
    distiller = distiller_for(source.env)
    recorded = distiller.record(source.collect(distiller.act), 0.0)
    assert (recorded.weights.argmax(-1) == source.tasks).all()
    assert (recorded.weights.sum(-1) == 1).all()


def test_each_drives_at_its_own_task_and_goes_on_in_the_next_batch():
    source = source_of([0] * 6 + [1] * 6, 0.5)
    distiller = distiller_for(source.env)
    driving = functools.partial(distiller.act_as_teacher, tasks=source.tasks)
    for _ in range(2):
        batch = source.collect(distiller.act, driving)
        recorded = distiller.record(batch, 0.0)
        for task, done in enumerate(DONE):
            taught = (source.tasks == task) & (source.drivers == TEACHER)
            label = recorded.teachers[task].distribution.mean
            torch.testing.assert_close(batch.action[:, taught], label[:, taught], atol=1e-4, rtol=0)
            assert (batch.action[:, taught] - done).abs().max() < 0.05


@pytest.mark.parametrize(
    ("tasks", "words"),
    [
        (None, r"give act_as_teacher those of the source \(tasks="),
        ([0, 1, 2, 2], "tasks 0 to 2 were seen"),
    ],
)
def test_a_teacher_does_not_drive_at_a_task_that_is_not_known(tasks, words):
    source = source_of([0, 1, 0, 1], 1.0)
    distiller = distiller_for(source.env)
    told = None if tasks is None else torch.tensor(tasks)
    with pytest.raises(MixtureError, match=words):
        source.collect(distiller.act, functools.partial(distiller.act_as_teacher, tasks=told))


@pytest.mark.parametrize(
    ("tasks", "share", "drivers"),
    [
        ([0, 0, 0, 1, 1, 1], 2 / 3, "TTSTTS"),
        ([0, 1, 0, 1], 0.5, "TTSS"),
        ([2, 1, 0], 1 / 3, "STS"),  # of all together it is a third
        ([0] * 5, 0.4, "TTSSS"),
    ],
)
def test_the_share_of_the_teachers_is_one_of_every_task(tasks, share, drivers):
    who = {"T": TEACHER, "S": STUDENT}
    assert source_of(tasks, share).drivers.tolist() == [who[letter] for letter in drivers]
