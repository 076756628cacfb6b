"""Tables of terms, modes, corrupted and several teachers: from a tiny budget to their sections."""

import pytest
import torch
from retort.distill.modes import MODES
from retort.distill.terms import TERMS

from .conftest import made_result, quiet

_PURPOSES = ("action_change", "noisy_return", "attacked_return")


@pytest.fixture(scope="module")
def place(hopper_place):
    """A place with a small budget and all teachers of it."""
    from harness import runs
    from harness.teaching import teacher_run

    runs.go_on([teacher_run("Hopper", seed) for seed in (2, 3)], hopper_place, quiet)
    return hopper_place


def done(place, table, arms):
    """Do runs of Hopper and seed 1; their figures by arm, and the section's rows by arm."""
    from harness import results, runs

    chosen = [r for r in table.runs() if (r.task, r.seed) == ("Hopper", 1) and r.arm in arms]
    assert len(chosen) == len(arms)
    count, failed = runs.go_on(chosen, place, quiet)
    assert not failed
    assert count >= len(arms)
    made = {r.arm: r for r in results.read_results(place.results, table.TABLE)}
    return made, table.report(place.results, place.results / "figures")


def test_every_term_and_every_mode_has_a_row(hopper_place):
    from harness.tables import terms

    rows = {**terms.TERMS, **terms.MODES}
    named = {term.name for arm in rows.values() for term in arm.terms}
    assert named == set(TERMS) - {"q"}  # which has a table of its own
    assert "`q` belongs to discrete actions" in terms._Q
    assert {arm.mode for arm in rows.values()} == set(MODES)
    for kind in ("gru", "tcn"):
        assert sum(name.startswith(kind) for name in terms.ATTENTION) == 5


@pytest.mark.parametrize(
    "arm",
    [
        "corrected + rl + value",
        "q_ascent",
        "concurrent shared head pull",
        "tcn policy_kl + latent",
    ],
)
def test_a_row_of_terms_from_teacher_to_table(place, arm):
    from harness.tables import terms

    made, text = done(place, terms, [arm])
    figures = made[arm].figures
    assert figures["steps"] >= 6000
    assert figures["teacher_queries"] > 0
    assert figures["cpu_seconds"] > 0
    assert f"| Hopper | `{arm}` | 1 | " in text
    assert ("critic_steps" in figures) == ("q_ascent" in arm)
    if arm.startswith("concurrent"):
        assert figures["divergences"] >= 0
        assert "own_teacher" in figures
        assert f"{round(figures['divergences'])} in " in " ".join(text.split())


def test_a_student_that_fell_from_where_it_was_counts_as_diverged(place, tmp_path):
    from harness.results import Point, write_result
    from harness.tables import terms

    for seed, final in ((1, 95.0), (2, 80.0)):
        result = made_result(
            table=terms.TABLE,
            task="Hopper",
            arm="concurrent",
            seed=seed,
            curve=[Point(1, 1.0, 100.0), Point(2, 2.0, final)],
            final=[final],
            figures={"divergences": 0.0, "own_teacher": 100.0},
        )
        write_result(tmp_path, f"concurrent_{seed}", result)
    [claim] = terms.claims(tmp_path)
    assert claim.found == "0, 0, 1 (`concurrent` Hopper s2)"
    assert claim.met == "no, so far"


def test_offline_counts_the_steps_of_its_data(place):
    from harness.tables import terms

    made, _ = done(place, terms, ["offline"])
    assert made["offline"].figures["teacher_queries"] >= 6000
    assert made["offline"].settings["mode"] == "offline"


def test_smooth_and_robust_rows_say_what_the_terms_are_for(place):
    from harness.tables import terms

    arms = ["policy_kl", "policy_kl + smoothness"]
    made, text = done(place, terms, arms)
    section = text.split("### Smooth and robust")[1]
    for arm in arms:
        figures = made[arm].figures
        assert figures["action_change"] > 0
        assert f"| `{arm}` |" in section
        assert f"{figures['action_change']:.3f}" in section
    one, other = ([made[arm].figures[name] for name in _PURPOSES] for arm in arms)
    assert one != other


def test_a_corrupted_teacher_has_a_row_and_ours_a_verdict(place):
    from harness.tables import corruption

    arms = ["corrupted teacher 0.05", "student-driven 0.05", "ours 0.05", "ours let go 0.05"]
    made, text = done(place, corruption, arms)
    assert "| Hopper | 0.05 | corrupted teacher | 1 | " in text
    [row] = [line for line in text.splitlines() if "| 0.05 | ours |" in line]
    assert row.rstrip(" |").endswith(("one seed", "no, so far"))
    assert made["corrupted teacher 0.05"].figures["parameters"] > 60_000
    assert made["ours 0.05"].settings["std_floor"] == 0.05
    unsure = made["ours let go 0.05"].settings
    assert unsure["std_floor"] == unsure["student"]["initial_std"] == 1.0


def test_a_teacher_claims_no_less_deviation_than_the_settings_say(place):
    from harness.distilling import KL, Arm, distil_arm
    from harness.teaching import load_teacher, teacher_run
    from retort.distill.students import StudentConfig

    teacher = load_teacher(place, teacher_run("Hopper", 1))
    arm = Arm(mode="student", terms=(KL,), changes={"std_floor": 3.0})
    made = distil_arm(arm, "Hopper", [teacher], StudentConfig(), seed=1, steps=10_000, log=quiet)
    [heard] = made.distiller.teachers
    groups = {"teacher": torch.zeros(1, 1, 11)}
    reset, state = torch.zeros(1, 1, dtype=torch.bool), torch.zeros(1, 0)
    assert heard(groups, state, reset)[0].distribution.std.min() >= 3.0
    assert teacher(groups, state, reset)[0].distribution.std.max() < 3.0  # as it was


def test_three_teachers_are_asked_and_compared_with_the_best_one(place):
    from harness.tables import compression, several_teachers

    arms = ["best single", "weights by value", "equal weights gated"]
    made, text = done(place, several_teachers, arms)
    assert "| Hopper | own |" not in text
    queries = {arm: made[arm].figures["teacher_queries"] for arm in arms}
    assert queries["weights by value"] == 3 * queries["best single"]
    assert made["weights by value"].settings["teachers"]["weighting"] == "value"
    assert made["equal weights gated"].settings["teachers"]["gated"]
    done(place, compression, ["ours 128-64"])
    text = several_teachers.report(place.results, place.results / "figures")
    for arm in ("own", *arms):
        assert f"| Hopper | {arm} | 1 | " in text
