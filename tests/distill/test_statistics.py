"""Statistics over few seeds against brute force, enumeration, and rliable where it is installed."""

import itertools

import numpy as np
import pytest
from retort.distill.evaluation import statistics as st


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_a_normalised_ratio_is_0_for_a_random_policy_and_1_for_the_teacher():
    got = st.normalised_ratio(np.array([-50.0, 10.0]), np.array([-10.0, 10.0]), -90.0)
    np.testing.assert_allclose(got, [0.5, 1.0])
    with pytest.raises(st.StatisticsError, match="must be better"):
        st.normalised_ratio(np.ones(1), np.ones(1), 1.0)


@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (5, 4), (10, 1), (7, 3)])
def test_interquartile_mean_drops_a_quarter_at_either_end(rng, shape):
    scores = rng.normal(size=shape)
    flat, cut = sorted(scores.ravel().tolist()), scores.size // 4
    kept = flat[cut : len(flat) - cut]
    assert st.interquartile_mean(scores) == pytest.approx(sum(kept) / len(kept))


def test_interquartile_mean_shrugs_at_outliers():
    assert st.interquartile_mean(np.array([[1.0], [2.0], [3.0], [1e9]])) == 2.5


def test_probability_of_improvement_counts_pairs_and_halves_ties():
    ours, theirs = (
        np.array([[1.0, 5.0], [2.0, 5.0]]),
        np.array([[1.0, 5.0], [3.0, 6.0], [0.0, 4.0]]),
    )
    pairs = []
    for task in range(2):
        wins = [
            (x > y) + 0.5 * (x == y) for x, y in itertools.product(ours[:, task], theirs[:, task])
        ]
        pairs.append(np.mean(wins))
    assert st.probability_of_improvement(ours, theirs) == pytest.approx(np.mean(pairs))
    assert st.probability_of_improvement(ours, ours + 9) == 0.0


def test_a_ratio_is_undefined_unless_every_denominator_is_above_zero(rng):
    got = st.ratio(np.array([3.0, 3.0, -3.0]), np.array([2.0, 0.0, -2.0]))
    np.testing.assert_array_equal(got, [1.5, np.nan, np.nan])
    four = np.array([[1.0], [2.0], [3.0], [np.nan]])
    assert np.isnan(st.interquartile_mean(four))  # trimming must not lose what is undefined

    def share(a, b):
        return st.ratio(st.mean(a), st.mean(b))

    ours, sure = rng.normal(1.0, 0.1, (20, 1)), rng.normal(2.0, 0.1, (20, 1))
    found = st.bootstrap_ratio(share, [ours, sure], rng)
    assert found.value == pytest.approx(ours.mean() / sure.mean())
    assert found.low < found.value < found.high
    unsure = np.linspace(-1.0, 1.1, 20)[:, None]  # a mean of 0.05
    assert st.bootstrap_ratio(share, [ours, unsure], rng) is None


def test_performance_profile_is_the_share_above_each_threshold(rng):
    scores = rng.normal(size=(4, 5, 3)).round(1)
    thresholds = np.linspace(-1, 1, 21).round(1)
    got = st.performance_profile(scores, thresholds)
    expected = [[(run > level).mean() for level in thresholds] for run in scores]
    np.testing.assert_allclose(got, expected)


@pytest.mark.parametrize("statistic", [st.interquartile_mean, st.mean])
def test_statistics_of_many_draws_are_those_of_each(rng, statistic):
    scores = rng.normal(size=(6, 5, 3))
    np.testing.assert_allclose(statistic(scores), [statistic(one) for one in scores])


def test_bootstrap_equals_the_enumeration_of_all_samples_of_each_task():
    """Two tasks of three runs: all 27 x 27 stratified samples."""
    scores = np.array([[0.0, 10.0], [1.0, 13.0], [5.0, 17.0]])
    samples = [
        np.stack([scores[list(a), 0], scores[list(b), 1]], axis=1)
        for a in itertools.product(range(3), repeat=3)
        for b in itertools.product(range(3), repeat=3)
    ]
    exact = np.quantile([st.mean(sample) for sample in samples], [0.025, 0.975])
    got = st.bootstrap(st.mean, scores, np.random.default_rng(1), draws=50_000)
    assert got.value == pytest.approx(scores.mean())
    np.testing.assert_allclose([got.low, got.high], exact, atol=0.17)  # one step of the values


def test_intervals_cover_the_truth_about_as_often_as_they_say(rng):
    """Percentile intervals of a mean of 20 runs: 95 % less what is known to lack at this size."""
    hits = 0
    for _ in range(300):
        interval = st.bootstrap(st.mean, rng.normal(size=(20, 1)), rng, draws=400)
        hits += interval.low <= 0.0 <= interval.high
    assert 0.88 <= hits / 300 <= 0.98


def test_paired_seeds_take_out_what_they_share(rng):
    seeds = rng.normal(size=(10, 2)) * 100
    ours, theirs = seeds + 1.0 + 0.1 * rng.normal(size=(10, 2)), seeds

    def difference(a, b):
        return a.mean((-2, -1)) - b.mean((-2, -1))

    paired, loose = (
        st.bootstrap(difference, [ours, theirs], np.random.default_rng(0), paired=p, draws=2000)
        for p in (True, False)
    )
    assert 0.8 < paired.low < paired.value < paired.high < 1.2
    assert loose.low < 0 < loose.high


def test_bootstrap_does_not_depend_on_how_it_is_cut_into_pieces(rng):
    scores = rng.normal(size=(300, 40))
    first, again = (
        st.bootstrap(st.mean, scores, np.random.default_rng(0), draws=400) for _ in range(2)
    )
    assert first == again
    spread = scores.std(0, ddof=0) / 300**0.5
    expected = 1.96 * np.sqrt((spread**2).sum()) / 40
    assert (first.high - first.low) / 2 == pytest.approx(expected, rel=0.15)


def test_profile_band_encloses_the_profile(rng):
    profile, low, high = st.bootstrap_profile(
        rng.normal(size=(8, 3)), np.linspace(-2, 2, 9), rng, draws=500
    )
    assert (low <= profile).all()
    assert (profile <= high).all()
    assert (high - low).max() > 0.1
    assert (np.diff(profile) <= 0).all()


def test_scores_that_cannot_be_compared_are_refused(rng):
    for wrong, message in (
        (np.ones(3), "runs, tasks"),
        (np.array([[np.inf]]), "not finite"),
        ([np.ones((3, 2)), np.ones((3, 1))], "tasks must be the same"),
    ):
        with pytest.raises(st.StatisticsError, match=message):
            st.bootstrap(lambda *arms: arms[0].mean((-2, -1)), wrong, rng)
    with pytest.raises(st.StatisticsError, match="paired"):
        st.bootstrap(
            st.probability_of_improvement, [np.ones((3, 1)), np.ones((2, 1))], rng, paired=True
        )


def test_steps_to_reach_wants_successive_passes():
    steps, scores = np.arange(10, 70, 10), np.array([0.0, 5.0, 4.0, 5.0, 6.0, 1.0])
    assert st.steps_to_reach(steps, scores, 5.0) == 20
    assert st.steps_to_reach(steps, scores, 5.0, passes=2) == 40
    assert st.steps_to_reach(steps, scores, 5.0, passes=3) == float("inf")
    assert st.steps_to_reach(steps[:1], scores[:1], -1.0, passes=2) == float("inf")


def test_censored_runs_count_as_not_there_yet(rng):
    inf = float("inf")
    reach = st.summarise_reach(np.array([10.0, inf, 30.0, 20.0, inf]), 100.0, rng)
    assert (reach.runs, reach.reached, reach.median) == (5, 3, 30.0)
    assert reach.restricted_mean == pytest.approx((10 + 100 + 30 + 20 + 100) / 5)
    assert reach.low <= 30.0 <= reach.high == inf
    assert st.summarise_reach(np.array([10.0, inf, inf]), 100.0, rng).median == inf


def test_kaplan_meier_median_with_unequal_budgets_by_hand(rng):
    """At risk 6, 5, (5 censored at 3), 3, 2, 1: survival 5/6, 4/6, 4/9, ...: the median is 4."""
    inf = float("inf")
    times = np.array([1.0, 2.0, inf, 4.0, 5.0, inf])
    budgets = np.array([9.0, 9.0, 3.0, 9.0, 9.0, 9.0])
    assert st.summarise_reach(times, budgets, rng).median == 4.0
    # A run that is censored at the very time another arrives was still on its way then.
    times, budgets = np.array([inf, 5.0, 7.0]), np.array([5.0, 9.0, 9.0])
    assert st.summarise_reach(times, budgets, rng).median == 7.0
    with pytest.raises(st.StatisticsError, match="after its budget"):
        st.summarise_reach(np.array([10.0]), 9.0, rng)


@pytest.mark.parametrize("runs", range(1, 9))
def test_the_median_of_runs_that_all_arrived_is_the_plain_one(rng, runs):
    times = np.round(rng.uniform(1.0, 100.0, runs))
    reach = st.summarise_reach(times, 100.0, rng)
    assert reach.median == reach.median_at_least == np.median(times)
    assert times.min() <= reach.low <= reach.median <= reach.high <= times.max()
    # One that nobody waits for is later than all that arrived, whatever its number.
    late = np.where(times == times.max(), np.inf, times)
    assert st.summarise_reach(late, 100.0, rng).median == np.median(late)


def test_where_half_never_arrive_the_median_is_unknown_and_only_bounded_from_below(rng):
    inf = float("inf")
    reach = st.summarise_reach(np.array([10.0, inf]), np.array([50.0, 90.0]), rng)
    assert (reach.median, reach.median_at_least, reach.high) == (inf, 50.0, inf)
    # Half are left from 10 to 20, when one that was not censored meanwhile arrives.
    times, budgets = np.array([10.0, inf, 20.0, 10.0]), np.array([99.0, 15.0, 99.0, 99.0])
    assert st.summarise_reach(times, budgets, rng).median == 15.0


def test_figures_are_those_that_rliable_gave(rng):
    """Of rliable 1.2.0, with 50,000, 5,000 and 20,000 draws for the three intervals."""
    ours = 1.0 + np.sin(np.arange(40.0)).reshape(10, 4)
    theirs = 0.5 + np.cos(3.0 * np.arange(32.0)).reshape(8, 4)
    found = st.bootstrap(st.interquartile_mean, ours, rng)
    assert found.value == pytest.approx(1.0406733280863951, abs=1e-12)
    np.testing.assert_allclose([found.low, found.high], [0.7019, 1.3812], atol=0.02)
    assert st.mean(ours) == pytest.approx(1.0288274561778783, abs=1e-12)
    found = st.bootstrap(st.probability_of_improvement, [ours, theirs], rng)
    assert found.value == pytest.approx(0.7, abs=1e-12)
    np.testing.assert_allclose([found.low, found.high], [0.56875, 0.81875], atol=0.01)
    band = st.bootstrap_profile(ours, np.array([0.0, 0.5, 1.0, 1.5, 2.0]), rng, draws=10_000)
    expected = ([1, 0.675, 0.5, 0.35, 0], [1, 0.525, 0.35, 0.2, 0], [1, 0.825, 0.65, 0.5, 0])
    np.testing.assert_allclose(band[0], expected[0], atol=1e-12)
    np.testing.assert_allclose(band[1:], expected[1:], atol=0.026)  # a step is 0.025


def test_point_estimates_and_intervals_equal_rliables(rng):
    metrics = pytest.importorskip("rliable.metrics")
    library = pytest.importorskip("rliable.library")
    ours, theirs = rng.normal(1.0, 1.0, (10, 4)), rng.normal(0.5, 1.0, (8, 4))
    for mine, reference in (
        (st.interquartile_mean, metrics.aggregate_iqm),
        (st.mean, metrics.aggregate_mean),
    ):
        assert mine(ours) == pytest.approx(reference(ours))
    assert st.probability_of_improvement(ours, theirs) == pytest.approx(
        metrics.probability_of_improvement(ours, theirs)
    )
    points, intervals = library.get_interval_estimates(
        {"ours": ours},
        lambda scores: np.array([metrics.aggregate_iqm(scores)]),
        reps=2000,
        random_state=np.random.RandomState(0),
    )
    got = st.bootstrap(st.interquartile_mean, ours, rng, draws=20_000)
    assert got.value == pytest.approx(float(points["ours"][0]))
    np.testing.assert_allclose([got.low, got.high], intervals["ours"][:, 0], atol=0.05)
