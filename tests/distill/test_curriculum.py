"""The curriculum gates on what the student can do relative to the teacher."""

import numpy as np
import pytest
from retort.distill.curriculum import REPLAY, Curriculum, CurriculumConfig

AXES = ("noise", "pushes")


def make(num_envs=400, random_score=0.05, **kwargs):
    config = CurriculumConfig(levels=3, **kwargs)
    return Curriculum(config, AXES, num_envs, np.full(4, random_score))


def play(curriculum, student, teacher, rng, rounds=1):
    """Episodes whose scores are given by functions of (axis, level)."""
    n = len(curriculum.axis_of)
    ids = np.arange(n)
    by_teacher = ids % 5 == 0
    moves = []
    for _ in range(rounds):
        curriculum.assign(ids, rng)
        running = curriculum.running()
        score = np.array(
            [
                (teacher if taught else student)(AXES[axis] if axis >= 0 else None, level)
                for (axis, level), taught in zip(running, by_teacher, strict=True)
            ]
        )
        score = score + rng.normal(0, 0.05, n)
        curriculum.record(running, score, by_teacher)
        moves.append(curriculum.advance())
    return moves


def test_a_student_as_good_as_its_teacher_reaches_the_hardest_level():
    curriculum = make()
    play(curriculum, lambda a, v: 0.8, lambda a, v: 0.8, np.random.default_rng(0), rounds=3)
    assert curriculum.frontier == {"noise": 3, "pushes": 3}
    assert curriculum.finished


def test_an_axis_the_student_fails_on_stays_while_the_other_advances():
    curriculum = make()

    def student(axis, level):
        return 0.3 if axis == "pushes" and level > 0 else 0.8

    play(curriculum, student, lambda a, v: 0.8, np.random.default_rng(0), rounds=7)
    assert curriculum.frontier["noise"] == 3
    assert curriculum.frontier["pushes"] <= 1


def test_it_goes_back_when_the_student_has_become_bad():
    curriculum = make(start=2)
    moves = play(curriculum, lambda a, v: 0.2, lambda a, v: 0.9, np.random.default_rng(0))
    assert moves == [{"noise": -1, "pushes": -1}]


def test_between_the_bars_it_waits():
    curriculum = make(start=1)
    moves = play(curriculum, lambda a, v: 0.52, lambda a, v: 0.9, np.random.default_rng(0), 4)
    assert moves == [{}] * 4


def test_it_stops_where_the_teacher_itself_fails():
    curriculum = make()

    def either(axis, level):
        return 0.8 if level == 0 else 0.1

    play(curriculum, either, either, np.random.default_rng(0), rounds=6)
    assert max(curriculum.frontier.values()) <= 1


def test_too_few_episodes_decide_nothing():
    curriculum = make(num_envs=20)
    moves = play(curriculum, lambda a, v: 0.8, lambda a, v: 0.8, np.random.default_rng(0))
    assert moves == [{}]


def test_an_episode_has_one_axis_at_its_frontier_and_the_others_one_below_theirs():
    curriculum = make(start=2)
    curriculum.axes[1].frontier = 1
    ids = np.arange(400)
    levels = curriculum.assign(ids, np.random.default_rng(0)) * 3
    frontier = np.array([2, 1])
    assert (levels <= frontier).all()
    chosen = curriculum.axis_of
    own = chosen != REPLAY
    assert (levels[ids[own], chosen[own]] == frontier[chosen[own]]).all()
    other = 1 - chosen[own]
    assert (levels[ids[own], other] == frontier[other] - 1).all()
    assert 0.1 < (~own).mean() < 0.3
    replayed = levels[~own]
    assert {tuple(row) for row in replayed} == {(a, b) for a in (0, 1, 2) for b in (0, 1)}


def test_replayed_episodes_do_not_count():
    curriculum = make(replay=1.0)
    moves = play(curriculum, lambda a, v: 0.8, lambda a, v: 0.8, np.random.default_rng(0), 3)
    assert moves == [{}] * 3


def test_fixed_spends_the_budget_evenly_and_none_starts_at_the_hardest():
    fixed = make(kind="fixed")
    seen = []
    for fraction in (0.0, 0.2, 0.3, 0.6, 0.9, 1.0):
        fixed.advance(fraction)
        seen.append(fixed.frontier["noise"])
    assert seen == [0, 0, 1, 2, 3, 3]
    later = make(kind="fixed", start=2)
    later.advance(0.4)
    assert later.frontier["noise"] == 2
    later.advance(0.5)
    assert later.frontier["noise"] == 3
    none = make(kind="none")
    assert (none.assign(np.arange(400), np.random.default_rng(0)) == 1.0).all()


@pytest.mark.parametrize("kind", ["gated", "fixed", "none"])
def test_every_kind_knows_how_far_the_student_is(kind):
    curriculum = make(kind=kind)
    assert curriculum.relative_score() == 0.0
    play(curriculum, lambda a, v: 0.45, lambda a, v: 0.85, np.random.default_rng(0))
    assert curriculum.relative_score() == pytest.approx(0.5, abs=0.02)


def test_its_state_survives_a_checkpoint(tmp_path):
    from retort.distill.checkpoint import load_checkpoint, save_checkpoint

    curriculum, rng = make(), np.random.default_rng(0)
    play(curriculum, lambda a, v: 0.7, lambda a, v: 0.8, rng, rounds=2)
    save_checkpoint(tmp_path / "c.safetensors", {"curriculum": curriculum.state_dict()})
    other = make()
    other.load_state_dict(load_checkpoint(tmp_path / "c.safetensors")["curriculum"])
    assert other.frontier == curriculum.frontier
    assert other.relative_score() == curriculum.relative_score()
    later = play(curriculum, lambda a, v: 0.7, lambda a, v: 0.8, np.random.default_rng(1), 3)
    assert play(other, lambda a, v: 0.7, lambda a, v: 0.8, np.random.default_rng(1), 3) == later


def test_a_teacher_that_is_no_better_than_random_has_nothing_to_hand_over():
    curriculum = make()
    play(curriculum, lambda a, v: 0.01, lambda a, v: 0.02, np.random.default_rng(0))
    assert curriculum.relative_score() == 1.0
    play(curriculum, lambda a, v: 0.45, lambda a, v: 0.85, np.random.default_rng(0))
    assert 0.4 < curriculum.relative_score() < 0.6
