"""What holds for every mode of distillation, and for one that somebody adds."""

from pathlib import Path

import numpy as np
import pytest
import torch
from retort.distill.batch import STUDENT, TEACHER
from retort.distill.checkpoint import load_checkpoint, save_checkpoint
from retort.distill.concurrent import ConcurrentConfig, LearningTeacher
from retort.distill.curriculum import Curriculum, CurriculumConfig
from retort.distill.distiller import Distiller
from retort.distill.loop import distil
from retort.distill.modes import MODES, Mode
from retort.distill.sources.offline import DatasetSource, distil_offline
from retort.distill.sources.rollout import RolloutSource
from retort.distill.terms import TermConfig

from .tiny import TICKS, N, TinyEnv, make_learner, make_ppo, make_teacher, recorded, settings

# In how many environments the teacher acts, iteration by iteration; it did in all that is recorded.
OWN = str(Path(__file__).with_name("own_mode.py"))
DRIVEN = {
    "offline": [8, 8, 8, 8, 8, 8],
    "student": [2, 2, 2, 2, 2],
    "teacher": [8, 8, 8, 8, 8],
    "mixed": [7, 6, 5, 4, 3],
    "aggregate": [2, 2, 2, 2, 2],
    "concurrent": [2, 2, 2, 2, 2],
    "added": [4, 4, 4, 2, 2],
    OWN: [4, 4, 4, 2, 2],
}
ADDED = Mode(share=lambda own, fraction: own if fraction > 0.5 else 0.5, keeps=True)


@pytest.fixture(scope="module", params=[*MODES, "added", OWN])
def mode(request):
    """The name of each, one more entry among them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODES, "added", ADDED)
        yield request.param


@pytest.fixture(scope="module")
def ended(mode):
    """Six iterations of it."""
    setting = Setting(mode)
    setting.progress = list(setting.rows())
    return setting


class Setting:
    """Distillation in a mode, and what its distiller was given and learnt from."""

    def __init__(self, mode, iterations=6, **changes):
        self.config, self.mode = settings(mode, iterations, **changes), MODES[mode]
        student, critic = make_learner()
        self.learning = None
        if self.mode.teacher_learns:
            self.learning = LearningTeacher(make_ppo(iterations), ConcurrentConfig())
        self.teacher = make_teacher() if self.learning is None else self.learning.teacher
        self.distiller = Distiller(self.config, student, self.teacher, critic, seed=0)
        self.parts = {"learner": self.distiller}
        if self.mode.acts:
            self.curriculum = Curriculum(CurriculumConfig(kind="none"), (), N, [0.0])
            self.source = RolloutSource(TinyEnv(), TICKS, running=self.curriculum.running)
            self.source.share_with_teacher(self.config.share(0.0))
            self.source.start(0)
            self.parts["curriculum"] = self.curriculum
        else:
            recordings = recorded(self.teacher)
            self.source = DatasetSource(recordings, num_envs=N, ticks=TICKS, seed=0)
        self.parts["source"] = self.source
        if self.learning is not None:
            self.parts["teacher"] = self.learning
        self.recorded, self.likely, self.picked = [], [], []
        self._watch()

    def _watch(self):
        distiller, record, pick = self.distiller, self.distiller.record, self.distiller._kept.pick

        def watched(batch, *given):
            seen = batch.observations["student"]
            with torch.no_grad():
                said, _ = distiller.student(seen, batch.initial_state, batch.reset)
            self.likely.append(said.log_prob(batch.action))
            self.recorded.append(record(batch, *given))
            return self.recorded[-1]

        def picked(generator):
            self.picked.append(pick(generator))
            return self.picked[-1]

        distiller.record, distiller._kept.pick = watched, picked

    def rows(self, **done):
        if self.mode.acts:
            return distil(
                self.distiller, self.source, self.curriculum, learning=self.learning, **done
            )
        return distil_offline(self.distiller, self.source, **done)

    def state(self):
        return {name: part.state_dict() for name, part in self.parts.items()}


def test_it_spends_its_budget_and_no_more(ended):
    first = 2 if ended.mode.acts else 1  # one rollout is for the scale
    assert [row["steps"] for row in ended.progress] == [N * TICKS * k for k in range(first, 7)]


def test_observations_are_normalised_by_all_that_was_seen_what_gave_the_scale_too(ended):
    learnt = sum(each.batch.reward.numel() for each in ended.recorded)
    scale = N * TICKS if ended.mode.acts else ended.source.transitions
    assert float(ended.distiller.student.normaliser.count) == scale + learnt
    if ended.learning is not None:  # by what it did, then
        taught = sum(TICKS * int((each.batch.driver == TEACHER).sum()) for each in ended.recorded)
        assert float(ended.learning.ppo.actor.normaliser.count) == scale + taught


def test_teacher_and_student_act_where_they_should(mode, ended):
    assert [int((each.batch.driver == TEACHER).sum()) for each in ended.recorded] == DRIVEN[mode]


def test_what_was_done_is_as_likely_as_whoever_did_it_says(ended):
    for likely, each in zip(ended.likely, ended.recorded, strict=True):
        batch, student = each.batch, each.batch.driver == STUDENT
        torch.testing.assert_close(likely[:, student], batch.log_prob[:, student])
        if not ended.mode.teacher_learns:  # or it has moved by the time that it is asked
            said = each.teachers[0].distribution.log_prob(batch.action)
            torch.testing.assert_close(said[:, ~student], batch.log_prob[:, ~student])


def test_all_is_labelled_and_its_own_is_what_the_student_did(ended):
    for each in ended.recorded:
        [said] = each.teachers
        assert said.distribution.batch_shape == said.value.shape == (TICKS, N)
        assert torch.equal(each.own.bool(), (each.batch.driver == STUDENT).expand(TICKS, N))
    asked = len(ended.progress) * TICKS * N if ended.mode.acts else 0
    assert ended.progress[-1]["teacher_queries"] == asked


def test_only_where_batches_are_kept_is_learnt_from_old_ones(ended):
    config, keeps = ended.config, ended.mode.keeps
    assert len(ended.distiller._kept) == (config.kept_batches if keeps else 0)
    again = len(ended.progress) * (config.epochs - 1) * config.minibatches
    assert len(ended.picked) == (again if keeps else 0)
    assert not any(old.own.any() for old in ended.picked)


def test_the_teacher_changes_only_where_it_learns_too(ended):
    begun = Setting(ended.config.mode).teacher.actor.parameters()
    pairs = zip(begun, ended.teacher.actor.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs) != ended.mode.teacher_learns


def test_the_student_comes_nearer_to_its_teacher(mode):
    rows = Setting(mode, 20, terms=(TermConfig(name="policy_kl"),)).rows()
    kl = [row["terms"]["policy_kl"] for row in rows]
    assert np.mean(kl[-3:]) < 0.5 * kl[0]


def test_it_resumes_to_the_bit(mode, ended, tmp_path):
    first = Setting(mode)
    rows = first.rows()
    done = [next(rows) for _ in range(3)][-1]
    save_checkpoint(tmp_path / "x.safetensors", first.state())
    saved = load_checkpoint(tmp_path / "x.safetensors")
    second = Setting(mode)
    for name, part in second.parts.items():
        part.load_state_dict(saved[name])
    rest = list(second.rows(steps_done=done["steps"], seconds=done["seconds"]))
    assert [untimed(row) for row in rest] == [untimed(row) for row in ended.progress[3:]]
    same(ended.state(), second.state())


def untimed(row):
    return {name: value for name, value in row.items() if "second" not in name}


def same(one, other):
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for name, value in one.items():
            same(value, other[name])
    elif isinstance(one, torch.Tensor | np.ndarray):
        assert np.array_equal(np.asarray(one), np.asarray(other), equal_nan=True)
    else:
        assert one == other
