"""What counts as met, of few seeds and of runs that never got there."""

import pytest

from .conftest import finished, table

pytestmark = pytest.mark.usefixtures("bench_on_path")


def section(harness, name, every, folder):
    results, _ = harness
    for result in every:
        results.write_result(folder, f"{result.task}_{result.arm}_s{result.seed}", result)
    return table(name).report(folder, folder / "figures")


def cells(text, start):
    [row] = [line for line in text.splitlines() if line.startswith(start)]
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_a_verdict_waits_for_the_seeds_of_what_is_compared_too(harness):
    from harness.report import verdict

    ours, peer = (
        [finished(harness, "t", arm, seed, final=1.0) for seed in seeds]
        for arm, seeds in (("ours", (1, 2, 3)), ("peer", (1, 2)))
    )
    assert verdict(True, ours, (1, 2, 3)) == "yes"
    assert verdict(True, ours, (1, 2, 3), peer) == "yes, so far"
    assert verdict(False, ours, (1, 2), ours, peer) == "no"


@pytest.mark.parametrize(
    ("middle", "whole", "seeds", "answer"),
    [
        (False, False, (1,), "no, so far"),
        (True, True, (1,), "one seed"),  # whose interval is a point
        (True, False, (1,), "one seed"),
        (True, True, (1, 2), "yes, so far"),
        (True, True, (1, 2, 3), "yes"),
        (True, False, (1, 2, 3), "not shown"),
    ],
)
def test_an_interval_shows_nothing_of_one_seed(harness, middle, whole, seeds, answer):
    from harness.report import shown_by_interval

    ours = [finished(harness, "t", "ours", seed, final=1.0) for seed in seeds]
    assert shown_by_interval(middle, whole, ours, (1, 2, 3)) == answer
    peer = [finished(harness, "t", "peer", seed, final=1.0) for seed in (3, 4)]
    if middle:  # seeds that the peer has not are no pairs
        assert shown_by_interval(middle, whole, ours, (1, 2, 3), peer) == "one seed"


def test_one_pair_is_not_enough_to_be_better_by(harness, tmp_path):
    every = [
        finished(harness, "several_teachers", "best single", 1, final=100.0),
        finished(harness, "several_teachers", "weights by value", 1, final=103.0),
        finished(harness, "several_teachers", "equal weights", 1, final=97.0),
    ]
    text = section(harness, "several_teachers", every, tmp_path)
    assert cells(text, "| Hopper | weights by value")[-2:] == ["1.030", "one seed"]
    assert cells(text, "| Hopper | equal weights")[-2:] == ["0.970", "no, so far"]


def test_steps_saved_are_of_runs_that_stayed_at_their_target(harness, tmp_path):
    student = [(10, 96.0), (20, 90.0), (30, 95.0), (40, 99.0)]  # at 10 it was luck
    scratch = [(100, 10.0), (300, 95.0), (400, 96.0)]
    every = [
        finished(harness, "teachers", "teacher", 1, final=100.0),
        finished(harness, "compression", "ours 16-16", 1, final=99.0, curve=student),
        finished(harness, "compression", "ppo-all 16-16", 1, final=96.0, curve=scratch, budget=400),
    ]
    text = section(harness, "sample-efficiency", every, tmp_path)
    assert cells(text, "| Hopper | ours")[4:] == ["30", "300", "10.0", "s1 10.0", "yes, so far"]


def test_a_run_that_never_got_there_counts_as_longer_than_its_budget(harness, tmp_path):
    scratch = [(200, 10.0), (400, 94.0)]
    every = [
        finished(harness, "teachers", "teacher", 1, final=100.0),
        finished(harness, "compression", "ppo-all 16-16", 1, final=94.0, curve=scratch, budget=400),
    ]
    for at, times, met in (
        (20, "more than 20.0", "yes, so far"),
        (80, "more than 5.0", "not shown"),
    ):
        curve = [(at, 96.0), (at + 1, 96.0)]
        student = finished(harness, "compression", "ours 16-16", 1, final=99.0, curve=curve)
        text = section(harness, "sample-efficiency", [*every, student], tmp_path)
        steps = "more than 400 (0 of 1)"
        assert cells(text, "| Hopper | ours")[5:] == [steps, times, f"s1 {times}", met]


def test_of_two_runs_one_of_which_never_got_there_only_a_bound_is_known(harness, tmp_path):
    every = []
    for seed, steps in enumerate((200, 999), start=1):
        scratch = [(steps, 96.0), (1000, 96.0 if steps == 200 else 94.0)]
        student = [(10 * seed, 96.0), (50, 96.0)]
        every += [
            finished(harness, "teachers", "teacher", seed, final=100.0),
            finished(harness, "compression", "ours 128-64", seed, final=99.0, curve=student),
            finished(
                harness,
                "compression",
                "ppo-all 128-64",
                seed,
                final=96.0,
                curve=scratch,
                budget=1000,
            ),
        ]
    text = section(harness, "sample-efficiency", every, tmp_path)
    assert cells(text, "| Hopper | ours")[4:] == [
        "15",  # half way between two
        "more than 600 (1 of 2)",
        "more than 40.0",
        "s1 20.0, s2 more than 50.0",
        "yes, so far",
    ]


@pytest.mark.parametrize(
    ("mine", "scratch", "shown"),
    [
        ((30, 10), (390, 60), ["11.2", "s1 13.0, s2 6.0", "no, so far"]),
        ((10, 30), (160, 180), ["8.5", "s1 16.0, s2 6.0", "no, so far"]),
        ((10, 30), (160, 240), ["10.0", "s1 16.0, s2 8.0", "yes, so far"]),
    ],
)
def test_one_seed_does_not_make_up_for_the_others(harness, tmp_path, mine, scratch, shown):
    every = []
    for seed, ends in enumerate(zip(mine, scratch, strict=True), start=1):
        every.append(finished(harness, "teachers", "teacher", seed, final=100.0))
        for arm, end in zip(("ours 128-64", "ppo-all 128-64"), ends, strict=True):
            curve = [(end, 96.0), (end + 1, 96.0)]
            every.append(finished(harness, "compression", arm, seed, final=9.0, curve=curve))
    text = section(harness, "sample-efficiency", every, tmp_path)
    assert cells(text, "| Hopper | ours")[6:] == shown


def test_steps_saved_are_claimed_of_one_arm_whichever_is_quicker(harness, tmp_path):
    curves = {"ours": [(20, 96.0), (30, 96.0)], "student-driven": [(10, 96.0), (20, 96.0)]}
    every = [
        finished(harness, "teachers", "teacher", 1, final=100.0),
        *(
            finished(harness, "compression", f"{arm} 128-64", 1, final=99.0, curve=curve)
            for arm, curve in {**curves, "ppo-all": [(100, 96.0), (200, 96.0)]}.items()
        ),
    ]
    section(harness, "sample-efficiency", every, tmp_path)
    [claim] = table("sample-efficiency").claims(tmp_path)
    assert claim.what.endswith("by `ours`")
    assert (claim.found, claim.met) == ("5.0 (s1 5.0)", "no, so far")


@pytest.mark.parametrize(
    ("finals", "met"),
    [
        ((101.0, 102.0, 103.0), "yes"),
        ((101.0, 94.0, 102.0), "no"),
        ((101.0, 102.0), "yes, so far"),
        ((101.0, 94.0), "no, so far"),
        ((101.0,), "one seed"),
        ((94.0,), "no, so far"),
    ],
)
def test_compression_is_met_by_middle_lower_end_and_published_ratio(harness, tmp_path, finals, met):
    every = [
        made
        for seed, final in enumerate(finals, start=1)
        for made in (
            finished(harness, "teachers", "teacher", seed, final=100.0),
            finished(harness, "compression", "ours 128-64", seed, final=final),
        )
    ]
    assert cells(section(harness, "compression", every, tmp_path), "| Hopper | ours")[-1] == met
    [claim] = table("compression").claims(tmp_path)
    assert claim.met == met
    assert claim.found.endswith("by `ours`")


@pytest.mark.parametrize(
    ("ours", "met"), [((1.0, 0.7, 0.9), "yes"), ((1.0, 0.7, 0.5), "not shown")]
)
def test_a_damaged_teacher_is_the_same_for_both_so_that_seeds_are_pairs(
    harness, tmp_path, ours, met
):
    driven = (0.9, 0.0, 0.1)  # whose highest is above the lowest of ours
    every = [
        finished(harness, name, arm, seed, final=100.0 * share)
        for seed in (1, 2, 3)
        for name, arm, share in (
            ("teachers", "teacher", 1.0),
            ("corruption", "student-driven 0.05", driven[seed - 1]),
            ("corruption", "ours let go 0.05", ours[seed - 1]),
        )
    ] + [finished(harness, "compression", "ppo 128-64", 1, final=80.0)]
    section(harness, "corruption", every, tmp_path)
    [claim] = table("corruption").claims(tmp_path)
    assert claim.met == met
    assert "PPO without any 0.800 (seed 1)" in claim.found  # which says nothing of the others
    assert claim.found.startswith(f"{sum(ours) / 3:.3f} ")


def test_the_arm_that_has_all_that_is_wanted_is_judged_before_one_with_a_higher_middle(
    harness, tmp_path
):
    shares = {"student-driven 128-64": (1.0, 1.0, 1.0), "ours 128-64": (0.991, 0.992, 1.01)}
    every = [
        finished(harness, table_name, arm, seed, final=100.0 * share[seed - 1])
        for seed in (1, 2, 3)
        for table_name, arm, share in (
            ("teachers", "teacher", (1.0, 1.0, 1.0)),
            *(("compression", arm, share) for arm, share in shares.items()),
        )
    ]
    section(harness, "compression", every, tmp_path)
    [claim] = table("compression").claims(tmp_path)
    assert (claim.met, claim.why) == ("yes", "")
    assert claim.found.endswith("by `ours`")
