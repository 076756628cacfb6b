"""The curriculum gates on what the student can do relative to the teacher."""

import itertools
import math

import numpy as np
import pytest
from retort.distill.curriculum import REPLAY, Curriculum, CurriculumConfig
from retort.distill.score_window import upper_bound

AXES = ("noise", "pushes")


def make(
    num_envs=400, random_score=0.05, axes=AXES, teacher_score=None, teacher_learns=False, **kwargs
):
    return Curriculum(
        CurriculumConfig(levels=3, **kwargs),
        axes,
        num_envs,
        np.full(4, random_score),
        teacher_score=teacher_score,
        teacher_learns=teacher_learns,
    )


def play(curriculum, student, teacher, rng, rounds=1, noise=0.05):
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
                for (axis, level, _), taught in zip(running, by_teacher, strict=True)
            ]
        )
        score = score + rng.normal(0, noise, n)
        curriculum.assign(ids, rng)  # none of them runs any more
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


def test_it_settles_below_the_level_where_the_teacher_itself_fails():
    curriculum = make()

    def either(axis, level):
        return 0.8 if level < 3 else 0.1

    moves = play(curriculum, either, either, np.random.default_rng(0), rounds=20)
    assert curriculum.frontier == {"noise": 2, "pushes": 2}
    for axis in AXES:  # up to where it fails and back, once
        assert [move[axis] for move in moves if axis in move] == [1, 1, 1, -1]
    assert curriculum.finished
    difficulty = curriculum.assign(np.arange(400), np.random.default_rng(0))
    assert difficulty.max() == pytest.approx(2 / 3)


def test_a_teacher_that_learns_is_tried_again_where_it_failed():
    curriculum, rng = make(teacher_learns=True), np.random.default_rng(0)

    def beginner(axis, level):
        return 0.8 if level < 2 else 0.06

    moves = play(curriculum, beginner, beginner, rng, rounds=40)
    tried = [n for n, move in enumerate(moves) if move.get("noise") == 1][1:]
    assert all(later - earlier >= 10 for earlier, later in itertools.pairwise(tried))
    assert len(tried) >= 2
    play(curriculum, lambda a, v: 0.8, lambda a, v: 0.8, rng, rounds=20)
    assert curriculum.frontier == {"noise": 3, "pushes": 3}


def test_one_unlucky_window_of_the_teacher_does_not_close_a_level():
    curriculum = make(start=2, teacher_score=0.85, random_score=0.0, window=8)
    for _ in range(2):  # those that are told of have ended, others run
        curriculum.assign(np.arange(400), np.random.default_rng(0))
    began = np.column_stack([np.tile([0, 2], (16, 1)), np.arange(16)])
    by_teacher = np.arange(16) < 8
    unlucky = np.where(np.arange(16) < 8, 0.0, 0.9)  # all of the teacher's fell
    curriculum.record(began, unlucky, by_teacher)
    curriculum.advance()
    play(curriculum, lambda a, v: 0.85, lambda a, v: 0.85, np.random.default_rng(0), rounds=6)
    assert curriculum.frontier["noise"] == 3


@pytest.mark.parametrize(
    ("stands", "fewest", "least", "most"),
    [(0.5, 8, 0.0, 1e-3), (0.25, 8, 0.0, 0.1), (0.02, 16, 0.65, 1.0)],
)
def test_whether_a_teacher_fails_is_sure_for_all_or_nothing_scores_too(stands, fewest, least, most):
    """How likely up to 40 episodes say that it earns less than a quarter of its best, by the exact
    distribution of how often it stands.
    """
    for count in range(fewest, 41):
        found = sum(
            math.comb(count, k) * stands**k * (1.0 - stands) ** (count - k)
            for k in range(count + 1)
            if upper_bound([2.0] * k + [0.0] * (count - k), 2.0, 1.645) < 0.25 * 2.0
        )
        assert least <= found <= most


def judged_first(share_of_falls, rng, num_envs=512, ticks=100):
    """What the first decision at a level takes the student for, by the gain of its whole episodes:
    those that fall do so in the first tenth of the time and earn a tenth.
    """
    curriculum = make(num_envs, random_score=0.0, start=1, window=40)
    taught = np.arange(num_envs) % 5 == 0
    ids, left = np.arange(num_envs), rng.integers(0, ticks, num_envs)  # as staggered ones end
    falls, running = np.zeros(num_envs, dtype=bool), curriculum.running()
    for _ in range(3 * ticks):
        ended = ids[left == 0]
        began, score = running[ended], np.where(falls[ended], 0.1, 1.0)
        curriculum.assign(ended, rng)
        running = curriculum.running()
        falls[ended] = (rng.random(len(ended)) < share_of_falls) & ~taught[ended]
        left[ended] = np.where(falls[ended], ticks // 10, ticks)
        curriculum.record(began, score, taught[ended])
        axis = curriculum.axes[0]
        if axis.window.full:
            return axis.window.take(0.0).student.mean()
        left -= 1
    raise AssertionError("it never came to a decision")


def test_falls_that_end_first_do_not_count_for_more():
    rng = np.random.default_rng(0)
    found = [judged_first(0.3, rng) for _ in range(60)]
    assert np.mean(found) == pytest.approx(0.7 + 0.3 * 0.1, abs=0.03)


@pytest.mark.parametrize("unit", [0.13, 1.0, 1000.0])
def test_it_moves_alike_whatever_unit_rewards_are_in(unit):
    curriculum = make(random_score=0.0)

    def teacher(axis, level):
        return unit * (0.1 if axis == "pushes" and level > 1 else 0.9)

    rng = np.random.default_rng(0)
    play(curriculum, teacher, teacher, rng, rounds=12, noise=0.05 * unit)
    assert curriculum.frontier == {"noise": 3, "pushes": 1}


def test_a_teacher_fails_relative_to_what_it_earns_where_it_is_easy():
    def weak(axis, level):
        return 0.85 if level == 0 else 0.15

    for known, expected in ((0.85, 0), (None, 3)):  # unknown, it is as good as it ever was seen
        curriculum = make(start=2, teacher_score=known)
        play(curriculum, weak, weak, np.random.default_rng(0), rounds=6)
        assert set(curriculum.frontier.values()) == {expected}


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


@pytest.mark.parametrize("kind", ["gated", "fixed", "none"])
@pytest.mark.parametrize("width", [0, 3], ids=["nobody asked", "asked"])
def test_without_axes_of_its_own_it_knows_how_far_the_student_is_too(kind, width):
    for axes in ((), AXES):  # with AXES, but somebody else draws their levels
        curriculum = make(kind=kind, axes=axes)
        began = curriculum.running()[:, :width]
        by_teacher = np.arange(400) % 5 == 0
        curriculum.record(began, np.where(by_teacher, 0.85, 0.45), by_teacher)
        assert curriculum.relative_score() == 0.0
        assert curriculum.advance() == {}
        assert curriculum.relative_score() == pytest.approx(0.5)
        assert make(axes=()).assign(np.arange(4), np.random.default_rng(0)).shape == (4, 0)


def test_its_state_survives_a_checkpoint(tmp_path):
    from retort.distill.checkpoint import load_checkpoint, save_checkpoint

    def either(axis, level):
        return 0.8 if level < 2 else 0.1

    curriculum, rng = make(), np.random.default_rng(0)
    play(curriculum, either, either, rng, rounds=4)
    save_checkpoint(tmp_path / "c.safetensors", {"curriculum": curriculum.state_dict()})
    other = make()
    other.load_state_dict(load_checkpoint(tmp_path / "c.safetensors")["curriculum"])
    assert other.frontier == curriculum.frontier == {"noise": 1, "pushes": 1}
    assert other.finished
    assert other.relative_score() == curriculum.relative_score()
    later = play(curriculum, either, either, np.random.default_rng(1), 3)
    assert play(other, either, either, np.random.default_rng(1), 3) == later == [{}] * 3


def test_an_axis_whose_teacher_is_hardly_better_than_random_does_not_outweigh_the_others():
    curriculum = make()
    hardly = {"noise": 0.06, "pushes": 0.85, None: 0.85}  # where a random policy has 0.05
    rng = np.random.default_rng(0)
    play(curriculum, lambda a, v: 0.45, lambda a, v: hardly[a], rng, noise=0.0)
    assert curriculum.relative_score() == pytest.approx((1.0 + 0.5) / 2, abs=0.02)


def test_a_teacher_that_is_no_better_than_random_has_nothing_to_hand_over():
    curriculum = make()
    play(curriculum, lambda a, v: 0.01, lambda a, v: 0.02, np.random.default_rng(0))
    assert curriculum.relative_score() == 1.0
    play(curriculum, lambda a, v: 0.45, lambda a, v: 0.85, np.random.default_rng(0))
    assert 0.4 < curriculum.relative_score() < 0.6
