"""The table of attacks: from teacher to row, and what counts as met."""

import dataclasses

import pytest

from .conftest import quiet

# Those that differ in how they learn; the others are these with a term more or less.
KINDS = (
    "teacher",
    "robust-offline",
    "attacked-three-teachers",
    "attacked-concurrent",
    "attacked-alone",
)


@pytest.fixture(scope="module")
def done(hopper_place):
    """A run of each, on a tiny budget; one teacher stands for the three."""
    from harness import results, runs
    from harness.tables import attack as table

    [needed] = next(r for r in table.runs() if r.name == "Hopper_teacher_s1").needs
    every = [
        dataclasses.replace(run, needs=(needed,) * len(run.needs))
        for run in table.runs()
        if (run.task, run.seed) == ("Hopper", 1) and run.arm in KINDS
    ]
    assert runs.go_on(every, hopper_place, quiet) == (len(KINDS), [])
    return results.read_results(hopper_place.results, table.TABLE)


def test_every_arm_from_teacher_to_table(hopper_place, done):
    from harness.tables import attack as table

    text = table.report(hopper_place.results, hopper_place.results / "figures")
    for name in KINDS:
        [row] = [line for line in text.splitlines() if f"| Hopper | {name} |" in line]
        _, _, seeds, _, _, queries, *_, met, _ = [cell.strip() for cell in row.split("|")][1:-1]
        assert seeds == "1"
        assert (
            queries == "" if name == "teacher" else (queries == "0") == (name == "attacked-alone")
        )
        assert met == "" if name == "teacher" else met in ("yes, so far", "no, so far")


def test_three_teachers_are_asked_about_every_step(done):
    [three] = [r for r in done if r.arm == "attacked-three-teachers"]
    first = three.settings["num_envs"] * three.settings["ticks"]  # for the normalisers alone
    assert three.figures["teacher_queries"] == 3 * (three.figures["steps"] - first)


def test_only_arms_that_say_so_are_lied_to(done):
    lied = {r.arm for r in done if (r.settings.get("adversary") or {}).get("epsilon")}
    assert lied == {r.arm for r in done if r.arm.startswith("attacked")}


def test_the_worst_is_the_least_of_the_attacks(done):
    from retort.distill.evaluation.target import ATTACKS

    for result in done:
        assert result.figures["worst"] == min(result.figures[name] for name in ATTACKS)


@pytest.mark.parametrize(
    ("clean", "worst", "met"),
    [(960, 800, "yes, so far"), (960, 700, "no, so far"), (900, 900, "no, so far")],
)
def test_both_the_clean_return_and_what_is_kept_of_it_count(done, clean, worst, met):
    from harness.tables import attack as table

    figures = {**done[0].figures, "none": float(clean), "worst": float(worst)}
    mine = dataclasses.replace(done[0], final=[float(clean)], figures=figures)
    teacher = dataclasses.replace(done[0], final=[1000.0])
    assert table._row("attacked", [mine], [teacher])[-2] == met


def test_every_teacher_of_three_is_another_seed_s_and_the_first_the_paired_one(hopper_place):
    from harness.tables import attack as table

    for run in table.runs(range(1, 11)):
        seeds = [needed.seed for needed in run.needs]
        assert seeds[0] == run.seed
        assert len(set(seeds)) == (3 if run.arm == "attacked-three-teachers" else 1)


@pytest.mark.parametrize(
    ("best", "clean", "said"),
    [
        ("attacked", 0.9, "learnt from the student's own reward"),
        ("robust", 0.9, "are still to be run"),
        ("ours", 0.96, "keep less of it"),
    ],
)
def test_the_reason_is_that_of_the_arm_that_comes_nearest(best, clean, said):
    from harness.tables import attack as table

    assert said in table._why(best, clean)
