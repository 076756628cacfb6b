"""Curricula that follow single episodes or filter particles, on students of known skill."""

import numpy as np
import pytest
from retort.distill.checkpoint import load_checkpoint, save_checkpoint
from retort.distill.curricula import CLASSES, make_curriculum
from retort.distill.curriculum import Curriculum, CurriculumConfig
from retort.hardware.checks import RangeError

AXES = ("noise", "pushes")
KINDS = ("promoted", "particles")
TEACHER = 0.8


def make(kind, *, num_envs=200, axes=AXES, random_score=0.0, **keywords):
    told = ("teacher_learns", "teacher_score")
    more = {name: keywords.pop(name) for name in told if name in keywords}
    config = CurriculumConfig(kind=kind, **{"levels": 4, "window": 10, **keywords})
    scores = np.full(config.levels + 1, random_score)
    return make_curriculum(config, axes, num_envs, scores, **more)


def play(curriculum, student, rng, rounds=1, *, teacher=lambda levels: TEACHER, noise=0.0):
    """Whole episodes of everybody, whose scores are functions of their levels, (axes,) integers.

    As in training, the next episodes begin before the last are judged. Returns the levels played.
    """
    n = len(curriculum.axis_of)
    ids, hardest = np.arange(n), curriculum.config.levels
    by_teacher = ids % 5 < 1 + (ids // 5 % 2)  # of both axes
    levels, began = curriculum.assign(ids, rng) * hardest, curriculum.running()
    played = []
    for _ in range(rounds):
        played.append(levels)
        pairs = zip(levels, by_teacher, strict=True)
        score = np.array([(teacher if taught else student)(own) for own, taught in pairs])
        finished = began
        levels, began = curriculum.assign(ids, rng) * hardest, curriculum.running()
        curriculum.record(finished, score + rng.normal(0, noise, n), by_teacher)
        curriculum.advance()
    return np.stack(played)[:, ~by_teacher]


def test_every_kind_has_one_class_and_no_class_takes_anothers():
    kinds = [kind for each in CLASSES for kind in each.kinds]
    assert sorted(kinds) == sorted(["gated", "fixed", "none", *KINDS])
    with pytest.raises(RangeError, match="'promoted'; make its curriculum by make_curriculum"):
        Curriculum(CurriculumConfig(kind="promoted"), AXES, 4, np.zeros(5))


def test_who_always_succeeds_is_promoted_to_the_hardest_level_and_then_anywhere():
    curriculum = make("promoted")
    played = play(curriculum, lambda levels: TEACHER, np.random.default_rng(0), 40)
    assert curriculum.frontier == {"noise": 4, "pushes": 4}
    assert curriculum.finished
    assert curriculum.relative_score() == pytest.approx(1.0)
    late = played[30:].reshape(-1, 2)
    assert (late.max(axis=1) == 4).all()  # the axis that is not on trial is at its hardest
    on_trial = late.min(axis=1)
    counts = np.bincount(on_trial.astype(int), minlength=5) / len(on_trial)
    # Begun evenly and climbed one by one, level k is met k + 1 times as often as level 0.
    np.testing.assert_allclose(counts, np.arange(1, 6) / 15, atol=0.05)


def test_who_always_fails_is_demoted_to_the_easiest_level():
    curriculum = make("promoted", start=4)
    play(curriculum, lambda levels: 0.2 * TEACHER, np.random.default_rng(0), 20)
    assert curriculum.frontier == {"noise": 0, "pushes": 0}
    assert curriculum.relative_score() == pytest.approx(0.2)


def test_one_episode_moves_an_environment_by_one_level():
    curriculum, rng = make("promoted", axes=("noise",), start=1), np.random.default_rng(0)
    ids = np.arange(200)
    curriculum.assign(ids, rng)
    ended = []
    for _ in range(2):  # the second episode has begun at level 1 too, before the first was judged
        ended.append(curriculum.running())
        curriculum.assign(ids, rng)
    for began in ended:
        curriculum.record(began, np.full(200, TEACHER), ids < 20)
    assert (curriculum.assign(ids, rng)[20:] == 2 / 4).all()


def test_between_the_bars_an_environment_stays():
    curriculum = make("promoted", start=2)
    play(curriculum, lambda levels: 0.55 * TEACHER, np.random.default_rng(0), 10)
    assert curriculum.frontier == {"noise": 2, "pushes": 2}


def test_a_failure_is_that_of_the_axis_on_trial():
    curriculum = make("promoted")
    skilled = lambda levels: 0.1 if levels[1] > 2 else TEACHER  # noqa: E731
    play(curriculum, skilled, np.random.default_rng(0), 40)
    assert curriculum.frontier["noise"] == 4
    assert curriculum.frontier["pushes"] in (2, 3)


def test_nobody_is_promoted_to_where_the_teacher_itself_fails():
    curriculum = make("promoted")
    good_at_easy = lambda levels: 0.05 if levels[0] > 2 else TEACHER  # noqa: E731
    rng = np.random.default_rng(0)
    played = play(curriculum, good_at_easy, rng, 60, teacher=good_at_easy)
    assert curriculum.frontier == {"noise": 2, "pushes": 4}
    assert curriculum.finished
    assert played[50:, :, 0].max() == 2
    learner = make("promoted", teacher_learns=True)
    play(learner, good_at_easy, rng, 60, teacher=good_at_easy)
    play(learner, lambda levels: TEACHER, rng, 60)
    assert learner.frontier == {"noise": 4, "pushes": 4}


@pytest.mark.parametrize("kind", ["gated", "promoted"])
def test_the_first_falls_to_end_do_not_tell_that_a_teacher_fails(kind):
    curriculum = make(kind, axes=("a",), teacher_score=TEACHER, window=40)
    rng, ids = np.random.default_rng(0), np.arange(200)
    by_teacher = ids < 80
    curriculum.assign(ids, rng)
    began = curriculum.running()
    fell = by_teacher & (ids % 3 == 2)  # soon after they began; all else stands to its end
    curriculum.assign(ids[fell], rng)
    curriculum.record(began[fell], np.full(fell.sum(), 0.01), by_teacher[fell])
    curriculum.advance()
    curriculum.assign(ids[~fell], rng)
    curriculum.record(began[~fell], np.full((~fell).sum(), TEACHER), by_teacher[~fell])
    for _ in range(30):
        curriculum.advance()
        ended = curriculum.running()
        curriculum.assign(ids, rng)
        curriculum.record(ended, np.full(200, TEACHER), by_teacher)
    assert curriculum.frontier == {"a": 4}


@pytest.mark.parametrize("kind", ["gated", "promoted"])
@pytest.mark.parametrize(("stands", "frontier"), [(0.5, 4), (0.0, 2)])
def test_a_level_is_closed_where_a_teacher_always_falls_and_not_where_it_does_half_the_time(
    kind, stands, frontier
):
    luck = np.random.default_rng(1)
    curriculum = make(kind, axes=("a",), teacher_score=TEACHER, window=40, num_envs=60)

    def either(levels):
        return TEACHER * (levels[0] < 3 or luck.random() < stands)

    play(curriculum, either, np.random.default_rng(0), 100, teacher=either)
    assert curriculum._top(curriculum.axes[0]) == frontier


SHARES = np.array([1.0, 1.0, 0.95, 0.8, 0.6, 0.3, 0.1, 0.0, 0.0])  # by the sum of both levels


def skill(levels):
    """The teacher's where it is easy, lost where it is hard, and in between in between."""
    return TEACHER * SHARES[round(levels.sum())]


def test_particles_gather_where_the_student_is_neither_sure_nor_lost():
    curriculum = make("particles", particles=40, num_envs=600, window=8, teacher_least=2)
    played = play(curriculum, skill, np.random.default_rng(0), 120, noise=0.02)
    late = SHARES[played[40:].sum(axis=2).round().astype(int)]
    wanted = ((late >= 0.5) & (late <= 0.9)).mean()
    evenly = (4 + 5) / 25  # of all levels of two axes, those with sums 3 and 4
    assert wanted > 0.65 > evenly + 0.25
    assert 0.5 < curriculum.relative_score() < 0.9


@pytest.mark.parametrize("replay", [0.0, 0.3])
def test_the_replay_memory_has_its_share_of_the_particles(replay):
    curriculum = make("particles", particles=2000, replay=replay, levels=1000, start=500)
    curriculum.memory = np.array([[0, 0]])
    curriculum.assign(np.arange(200), np.random.default_rng(0))
    curriculum._weights = np.zeros(2000)  # all alike
    levels = curriculum.assign(np.arange(200), np.random.default_rng(0))
    replayed = (curriculum.particles == 0).all(axis=1)
    assert replayed.mean() == pytest.approx(replay, abs=0.03)
    others = np.abs(curriculum.particles[~replayed] - 500).sum(axis=1)
    assert set(others) == {0, 1}
    assert others.mean() == pytest.approx(0.8, abs=0.03)
    assert set((levels * 1000).round().astype(int).ravel()) <= {0, 499, 500, 501}


def test_particles_remember_what_was_worth_it():
    curriculum = make("particles", particles=20, num_envs=400, window=8, teacher_least=2)
    play(curriculum, skill, np.random.default_rng(0), 60)
    first, *others = curriculum.memory.tolist()
    assert first == [0, 0]
    assert len(others) > 5
    assert {sum(levels) for levels in others} == {3, 4}


def test_where_the_teacher_itself_fails_no_particle_stays():
    curriculum = make("particles", particles=20, num_envs=400, window=8, teacher_least=2, start=2)
    hopeless = lambda levels: 0.02 if levels[0] > 2 else TEACHER  # noqa: E731
    half = lambda levels: 0.7 * hopeless(levels)  # noqa: E731
    played = play(curriculum, half, np.random.default_rng(0), 60, teacher=hopeless)
    assert (curriculum.memory[:, 0] <= 2).all()
    assert (played[20:, :, 0] > 2).mean() < 0.2  # tried, and not kept
    assert (played[20:, :, 1] > 2).mean() > 0.2


@pytest.mark.parametrize("kind", KINDS)
def test_its_state_goes_on_to_the_bit(kind, tmp_path):
    curriculum, rng = make(kind, num_envs=100, window=4, teacher_least=2), np.random.default_rng(0)
    play(curriculum, skill, rng, 13, noise=0.1)
    saved = {"curriculum": curriculum.state_dict(), "rng": rng.bit_generator.state}
    save_checkpoint(tmp_path / "c.safetensors", saved)
    played = play(curriculum, skill, rng, 12, noise=0.1)
    loaded = load_checkpoint(tmp_path / "c.safetensors")
    other, again = make(kind, num_envs=100, window=4, teacher_least=2), np.random.default_rng(1)
    other.load_state_dict(loaded["curriculum"])
    again.bit_generator.state = loaded["rng"]
    np.testing.assert_array_equal(play(other, skill, again, 12, noise=0.1), played)
    np.testing.assert_equal(other.state_dict(), curriculum.state_dict())
    assert len(np.unique(played)) > 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("axes", [(), AXES], ids=["no axes", "others draw the levels"])
def test_where_it_assigns_nothing_it_still_knows_how_far_the_student_is(kind, axes):
    curriculum = make(kind, axes=axes)
    by_teacher = np.arange(200) % 5 == 0
    for began in (curriculum.running(), np.zeros((200, 0), dtype=np.int64)):
        curriculum.record(began, np.where(by_teacher, 0.8, 0.4), by_teacher)
        assert curriculum.advance() == {}
        assert curriculum.relative_score() == pytest.approx(0.5)
    assert make(kind, axes=()).assign(np.arange(4), np.random.default_rng(0)).shape == (4, 0)


@pytest.mark.parametrize("unit", [0.01, 1000.0])
@pytest.mark.parametrize("kind", KINDS)
def test_levels_do_not_depend_on_the_unit_of_rewards(kind, unit):
    played = []
    for scale in (1.0, unit):
        curriculum = make(kind, random_score=-2.0 * scale, window=4, teacher_least=2)
        student = lambda levels: scale * (3.0 * skill(levels) - 2.0)  # noqa: B023, E731
        teacher = lambda levels: scale * (3.0 * TEACHER - 2.0)  # noqa: B023, E731
        played.append(play(curriculum, student, np.random.default_rng(0), 20, teacher=teacher))
    np.testing.assert_array_equal(*played)
