"""Tables about curricula, forgetting and adaptation: from tiny budgets to their sections."""

import dataclasses

import numpy as np
import pytest

from .conftest import made_result, quiet

pytestmark = pytest.mark.usefixtures("few_episodes")


@pytest.fixture(scope="module", autouse=True)
def few_switches(few_episodes):
    """A number that the page names, so that it is changed for these tables alone."""
    from harness.tables import adaptation

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adaptation, "_EPISODES", 4)
        yield


def done(table, task, arms, folder):
    """A place with the results of some arms on one task."""
    from harness import runs

    place = runs.Place(folder / "results", folder / "checkpoints", folder / "working", scale=1e-9)
    every = [r for r in table.runs() if (r.task, r.seed) == (task, 1) and r.arm in arms]
    assert runs.go_on(every, place, quiet) == (len(arms), [])
    return place


def section(table, place):
    return table.report(place.results, place.results / "figures")


def cells(text, *words):
    """The row whose first cells are ``words``."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    [row] = [row for row in rows if tuple(row[: len(words)]) == words]
    return row


@pytest.fixture(scope="module")
def half_cheetah(few_episodes, tmp_path_factory):
    from harness.tables import curriculum

    arms = ("teacher", "gated", "promoted", "particles", "none", "gated without replay")
    return done(curriculum, "HalfCheetah", arms, tmp_path_factory.mktemp("curriculum"))


def test_every_curriculum_has_the_same_steps_and_the_one_without_replay_is_elsewhere(half_cheetah):
    from harness.tables import curriculum

    text = section(curriculum, half_cheetah)
    arms = ("gated", "promoted", "particles", "none")
    steps = {cells(text, "HalfCheetah", arm)[4] for arm in arms}
    assert len(steps) == 1
    assert cells(text, "HalfCheetah", "none")[8] == "4.0"
    assert "without replay" not in text


def test_a_student_that_never_moved_on_has_forgotten_nothing_and_no_row(half_cheetah):
    from harness.tables import forgetting

    text = section(forgetting, half_cheetah)
    assert "with replay" not in text


def matrix(arm, seed, columns):
    from harness.tables import curriculum

    series = {f"level {level}": scores for level, scores in columns.items()}
    steps = [float(i) for i in range(len(next(iter(columns.values()))))]
    return made_result(
        table=curriculum.TABLE,
        task="HalfCheetah",
        arm=arm,
        seed=seed,
        final=[1.0],
        series={"steps": steps, **series},
    )


def test_what_is_forgotten_is_the_worst_level_of_each_run(tmp_path):
    from harness import results
    from harness.tables import forgetting

    given = {
        "gated": {"0": [1.0, 2.0, 1.9], "1": [-1.0, 0.5, 0.5]},
        "gated without replay": {"0": [1.0, 2.0, 1.0], "1": [-1.0, 0.1, 0.4]},
    }
    for arm, columns in given.items():
        result = matrix(arm, 1, columns)
        results.write_result(tmp_path, f"{arm} 1".replace(" ", "-"), result)
    text = forgetting.report(tmp_path, tmp_path / "figures")
    assert cells(text, "HalfCheetah", "with replay")[3:] == [
        "0.050",
        "0.000",
        "0.050",
        "yes, so far",
    ]
    assert cells(text, "HalfCheetah", "without replay")[3:] == ["0.500", "0.000", "0.500", ""]
    assert (tmp_path / "figures" / "forgetting.svg").exists()


def test_the_balancer_goes_through_its_recipes_curriculum(tmp_path):
    from harness.tables import curriculum

    place = done(curriculum, "balancer", ("teacher", "fixed"), tmp_path)
    from harness.results import read_results

    [fixed] = [r for r in read_results(place.results, curriculum.TABLE) if r.arm == "fixed"]
    assert fixed.settings["terms"][0]["name"] == "policy_kl"
    assert list(fixed.series) == ["steps", *(f"level {x:g}" for x in (0, 0.25, 0.5, 0.75, 1))]
    assert fixed.series["steps"] == sorted(fixed.series["steps"])


@pytest.mark.parametrize(
    ("task", "arms"),
    [
        ("balancer", ("oracle", "gradient")),
        ("HalfCheetah", ("oracle", "recurrent", "memoryless")),
    ],
)
def test_adaptation_from_oracle_to_table(tmp_path, task, arms):
    from harness.tables import adaptation

    text = section(adaptation, done(adaptation, task, arms, tmp_path))
    assert {cells(text, task, arm)[2] for arm in arms} == {"1"}
    for change in adaptation.TASKS[task].changes:
        assert cells(text, task, change.name, "oracle")[8] in ("1.00", "")
        for arm in arms:
            verdict = cells(text, task, change.name, arm)[9]
            assert (verdict != "") == (arm == "recurrent")
    assert (tmp_path / "results" / "figures" / "adaptation.svg").exists()


def test_students_that_are_compared_are_as_large_and_see_one_moment():
    from harness.changing import MEMORYLESS, RECURRENT, TASKS
    from harness.varied import interface_of
    from retort.distill.students import make_student

    for changing in TASKS.values():
        seen = interface_of(changing.varied.make_env(1, seconds=1.0))
        assert len(seen.newest) == seen.observation_size
        sizes = [
            make_student(changing.students[arm], seen).parameter_count()
            for arm in (RECURRENT, MEMORYLESS)
        ]
        assert 0.95 < sizes[0] / sizes[1] < 1.05


def traced(before, after, always=()):
    """A result of one change, as rates."""
    from harness.changing import Change

    change = Change("payload", 0.0, 0.5)
    unswitched = [float(np.mean(before))] * len(after)
    rates = {"before": before, "after": after, "unswitched": unswitched, "from the start": always}
    series = {f"{change.name}, {when}": each for when, each in rates.items()}
    return change, dataclasses.replace(matrix("a", 1, {"0": [1.0]}), series=series)


def test_a_policy_is_back_when_two_windows_in_a_row_are_near_its_own_rate():
    from harness import recovering
    from harness.changing import MEMORYLESS, RECURRENT

    change, quick = traced([2.0, 2.0], [1.0, 1.9, 1.9, 2.0])
    _, slow = traced([1.0, 1.0], [0.5, 0.95, 0.5, 0.95, 0.95])
    _, lost = traced([1.0, 1.0], [0.5, 0.5, 0.5, 0.5])
    times = [recovering.times_back(change, [one])[0] for one in (quick, slow, lost)]
    assert times == [1.0, 2.0, np.inf]

    def met(recurrent, memoryless):
        return recovering.judge(change, {RECURRENT: [recurrent], MEMORYLESS: [memoryless]})

    assert met(quick, slow) == "yes, so far"
    assert met(slow, quick) == "no, so far"
    assert met(lost, lost) == "no, so far"
    assert met(quick, quick) == "neither was thrown off"
    _, still = traced([-0.1, 0.0], [2.0, 2.0, 2.0])  # has nothing to come back to
    assert met(quick, still).startswith("undefined: the memoryless")
    assert met(still, slow).startswith("undefined: the recurrent")
    assert met(lost, still) == "no, so far"  # whatever the other does


@pytest.mark.parametrize(
    ("recurrent", "memoryless", "said", "met"),
    [
        ((1.5, 2.5, None), (None,) * 3, "1.5 s to 2.5 s (1 of 3 without a steady rate)", "no"),
        ((0.5, 2.5, None), (None,) * 3, "0.5 s to 2.5 s (1 of 3 without a steady rate)", "undef"),
        ((0.5, 1.0, None), (2.0,) * 3, "0.5 s to 1.0 s (1 of 3 without a steady rate)", "yes"),
        ((0.5, 0.5, None), (0.5,) * 3, "0.5 s (1 of 3 without a steady rate)", "neither"),
        ((0.5, 0.5, 0.5), (2.0, 2.0, None), "0.5 s", "yes"),
        ((0.5, 0.5, 0.5), (2.0, None, None), "0.5 s", "undef"),
        ((None,) * 3, (2.0,) * 3, "no steady rate", "undef"),
    ],
)
def test_a_seed_without_a_steady_rate_leaves_open_only_what_it_decides(
    recurrent, memoryless, said, met
):
    from harness import recovering
    from harness.changing import MEMORYLESS, RECURRENT

    def group(times):
        made = []
        for seed, time in enumerate(times, start=1):
            after = [1.0] * 10 if time is None else [0.5] * round(2 * time - 1) + [1.0] * 9
            change, one = traced([0.0 if time is None else 1.0], after)
            made.append(dataclasses.replace(one, seed=seed))
        return change, made

    change, ours = group(recurrent)
    _, theirs = group(memoryless)
    assert str(recovering.back_after(change, ours)) == said
    assert recovering.judge(change, {RECURRENT: ours, MEMORYLESS: theirs}).startswith(met)


def test_a_switch_that_the_oracle_does_not_outlive_is_said_to_be_such():
    from harness.recovering import Back
    from harness.tables import adaptation

    never, soon = (Back(time, time, 0, 3) for time in (np.inf, 0.5))
    assert "the oracle" in adaptation._why(0.5, never)
    assert adaptation._SLOWER in adaptation._why(0.5, never)
    assert adaptation._why(np.nan, soon) == ""


def test_who_is_worse_with_the_new_robot_has_adapted_all_the_same():
    from harness import recovering

    change, adapted = traced([2.0, 2.0], [0.7, 1.0], always=[1.0, 1.0])
    _, slow = traced([2.0, 2.0], [0.7, 0.8], always=[1.0, 1.0])
    _, nothing = traced([2.0, 2.0], [0.7, 0.8], always=[0.0, -1.0])
    assert recovering.share_of_start(change, [adapted]) == 1.0
    assert recovering.share_of_start(change, [slow]) == pytest.approx(0.8)
    assert np.isnan(recovering.share_of_start(change, [nothing]))
