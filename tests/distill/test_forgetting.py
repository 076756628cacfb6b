"""Snapshots are taken as the curriculum moves on, and the matrix says what became of a level."""

import dataclasses
import json
import os
import signal

import numpy as np
import pytest
import torch
from retort.distill.checkpoint import load_checkpoint
from retort.distill.curriculum import CurriculumConfig
from retort.distill.distill_config import DistillConfig
from retort.distill.evaluation import EvaluationConfig, actor_of
from retort.distill.evaluation.forgetting import (
    ForgettingError,
    forgetting_of_run,
    keep_snapshots,
    level_histogram,
    load_snapshots,
    measure_forgetting,
)
from retort.distill.experiment import Experiment
from retort.distill.ppo import PPOConfig
from retort.distill.stages import verbs as stages
from retort.distill.students import Interface, StudentConfig, make_student
from retort.distill.terms import TermConfig

SMALL = Experiment(
    robot="balancer",
    task="balancer",
    teacher=PPOConfig(steps=16 * 24 * 2, num_envs=16, hidden=(8,), critic_hidden=(8,)),
    distill=DistillConfig(steps=16 * 24 * 8, num_envs=16, episode_seconds=0.3),
    curriculum=CurriculumConfig(kind="fixed", levels=2),
    evaluation=EvaluationConfig(episodes=3, seconds=0.2, hardest_episodes=3, hardest_seconds=0.2),
)


@pytest.fixture
def student():
    torch.manual_seed(0)
    return make_student(StudentConfig(hidden=(4,)), Interface.plain(2, 1))


def training(student, frontiers, first_step=0):
    """Figures of a training in which the student's first bias is the number of the iteration."""
    for number, (noise, pushes) in enumerate(frontiers, start=first_step + 1):
        with torch.no_grad():
            student.layers[0].bias.fill_(float(number))
        yield {"steps": number * 10, "levels": {"noise": noise, "pushes": pushes}}


def watched(student, env, frontiers, folder, **where):
    start = where.pop("start", {"noise": 0, "pushes": 0})
    first = where.get("steps_done", 0) // 10
    rows = training(student, frontiers, first)
    return list(keep_snapshots(rows, student, env, 4, folder, start=start, **where))


def contents(folder):
    """Everything that the snapshots in ``folder`` hold, comparable."""
    return [
        (s.steps, s.left, s.reached, {name: v.tolist() for name, v in student_of(s).items()})
        for s in load_snapshots(folder)
    ]


def student_of(snapshot):
    return load_checkpoint(snapshot.path)["student"]


def test_a_snapshot_is_the_student_that_was_trained_on_the_level_it_left(
    tmp_path, student, tracking
):
    env = tracking(3, axes=("noise", "pushes"))
    watched(student, env, [(0, 0), (1, 0), (1, 0), (1, 1)], tmp_path)
    first, second = load_snapshots(tmp_path)
    assert (first.steps, first.left) == (20, {"noise": 0, "pushes": 0})
    assert first.reached == second.left == {"noise": 1, "pushes": 0}
    saved = student_of(first)
    assert (saved["layers.0.bias"] == 2.0).all()
    student.load_state_dict(saved)


def test_an_axis_that_goes_to_and_fro_leaves_one_snapshot(tmp_path, student, tracking):
    env = tracking(3, axes=("noise", "pushes"))
    watched(student, env, [(1, 0), (0, 0), (1, 0), (0, 0), (1, 0)], tmp_path)
    assert [snapshot.steps for snapshot in load_snapshots(tmp_path)] == [10]


def test_going_on_forgets_what_came_after_the_checkpoint_and_keeps_the_rest(
    tmp_path, student, tracking
):
    env = tracking(3, axes=("noise", "pushes"))
    frontiers = [(1, 0), (1, 1), (1, 1), (2, 1)]
    watched(student, env, frontiers, tmp_path)
    before = contents(tmp_path)
    start = {"noise": 1, "pushes": 1}
    iterations = keep_snapshots(
        training(student, frontiers[2:], 2),
        student,
        env,
        4,
        tmp_path,
        start=start,
        steps_done=20,
    )
    next(iterations)
    assert [snapshot.steps for snapshot in load_snapshots(tmp_path)] == [10, 20]
    list(iterations)
    assert contents(tmp_path) == before


def test_another_training_in_the_folder_starts_without_the_first_one_s(tmp_path, student, tracking):
    env = tracking(3, axes=("noise", "pushes"))
    watched(student, env, [(1, 0), (2, 0)], tmp_path)
    watched(student, env, [(0, 0)], tmp_path)
    assert load_snapshots(tmp_path) == []


def test_levels_being_run_are_counted(student, tracking, tmp_path):
    env = tracking(4, axes=("noise", "pushes"))
    env.levels = np.array([[0.0, 1.0], [0.25, 1.0], [0.25, 0.5], [1.0, 0.0]])
    expected = {"noise": [1, 2, 0, 0, 1], "pushes": [1, 0, 1, 0, 2]}
    assert level_histogram(env, 4) == expected
    assert watched(student, env, [(0, 0)], tmp_path)[0]["level_histogram"] == expected


def test_the_matrix_and_what_is_forgotten_are_as_reckoned(tracking, tracker):
    # Off by 0, 1 and 2 after levels 0, 1 and at the end; a level costs 4 times its difficulty.
    actors = [(10 * (off + 1), {"noise": off}, actor_of(tracker(float(off)))) for off in (1, 0, 2)]
    result = measure_forgetting(tracking(12, axes=("noise",)), actors, (0.0, 0.5, 1.0), 5)
    np.testing.assert_allclose(
        result.matrix, [[9.0, 7.0, 5.0], [10.0, 8.0, 6.0], [8.0, 6.0, 4.0]], rtol=1e-5
    )
    shares = [share.value for share in result.forgotten]
    np.testing.assert_allclose(shares, [0.2, 0.25, 2.0 / 6.0], rtol=1e-4)
    assert result.worst[0] == 1.0
    assert result.episodes == 4
    said = json.loads(json.dumps(result.to_json()))
    assert said["worst"]["level"] == 1.0


def test_a_student_that_only_gets_better_has_forgotten_nothing(tracking, tracker):
    actors = [(off, {}, actor_of(tracker(float(off)))) for off in (3, 2, 1)]
    result = measure_forgetting(tracking(4, axes=("noise",)), actors, (0.0, 1.0), 5)
    assert [share.value for share in result.forgotten] == [0.0, 0.0]


def test_a_level_nobody_scored_on_is_none_that_can_be_forgotten(tracking, tracker):
    actors = [(0, {}, actor_of(tracker(off))) for off in (20.0, 30.0)]
    result = measure_forgetting(tracking(4, axes=("noise",)), actors, (0.0, 1.0), 5)
    assert result.forgotten == (None, None)
    assert result.worst is None


def test_environments_must_be_shared_out_evenly(tracking, tracker):
    actors = [(0, {}, actor_of(tracker()))]
    with pytest.raises(ForgettingError, match="5 environments for 2 levels"):
        measure_forgetting(tracking(5, axes=("noise",)), actors, (0.0, 1.0), 5)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    stages.train_teacher(SMALL, folder)
    stages.distil_student(SMALL, folder)
    return folder


def test_a_run_leaves_a_matrix_of_its_levels_on_held_out_episodes(finished):
    result = forgetting_of_run(SMALL, finished)
    assert result.levels == (0.0, 0.5, 1.0)
    assert [set(stand.after.values()) for stand in result.stands] == [{0}, {1}, {2}]
    assert result.stands[-1].steps == SMALL.distill.steps
    assert result == forgetting_of_run(SMALL, finished)


def test_a_run_goes_on_with_the_snapshots_it_would_have_left_uninterrupted(finished, tmp_path):
    (tmp_path / "teacher").symlink_to(finished / "teacher")
    seen = []

    def interrupt(figures):
        seen.append(figures)
        if len(seen) == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        stages.distil_student(SMALL, tmp_path, progress=interrupt)
    stages.distil_student(SMALL, tmp_path)
    ours, theirs = (contents(f / "distillation" / "levels") for f in (tmp_path, finished))
    assert ours == theirs
    assert len(ours) == 2


@pytest.mark.parametrize(
    ("curriculum", "remedy"),
    [
        ({"kind": "none"}, "set curriculum.kind to 'gated' or 'fixed'"),
        ({"kind": "fixed", "start": 2}, "set curriculum.start below 2, which is the hardest level"),
        ({"kind": "gated"}, "lower curriculum.bar, raise distill.steps, or set curriculum.kind to"),
    ],
    ids=str,
)
def test_a_run_whose_curriculum_never_moved_says_what_lets_it(
    finished, tmp_path, curriculum, remedy
):
    still = dataclasses.replace(SMALL, curriculum=CurriculumConfig(levels=2, **curriculum))
    (tmp_path / "teacher").symlink_to(finished / "teacher")
    stages.distil_student(still, tmp_path)
    with pytest.raises(ForgettingError, match=f"never moved on .*; {remedy}.* with --fresh"):
        forgetting_of_run(still, tmp_path)


def test_a_run_from_data_says_that_it_has_no_curriculum(finished, tmp_path):
    pytest.importorskip("minari")
    pytest.importorskip("h5py")
    terms = (TermConfig(name="policy_kl"),)
    distill = dataclasses.replace(SMALL.distill, mode="offline", recorded_steps=400, terms=terms)
    recorded = dataclasses.replace(SMALL, distill=distill)
    (tmp_path / "teacher").symlink_to(finished / "teacher")
    stages.distil_student(recorded, tmp_path)
    with pytest.raises(ForgettingError, match=r"no curriculum; set distill\.mode to 'student'"):
        forgetting_of_run(recorded, tmp_path)
