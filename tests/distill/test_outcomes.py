"""Outcomes are written as they come and found again, unless anything they depend on has changed."""

import dataclasses

import numpy as np
import pytest
from retort.distill.checkpoint import CheckpointError, save_checkpoint
from retort.distill.evaluation import Outcome, actor_of
from retort.distill.evaluation.outcomes import Outcomes, fingerprint, outcomes_of_run
from retort.distill.evaluation.sweeps import attack_sweep, noise_sweep
from retort.distill.evaluation.target import Target
from retort.distill.experiment import Experiment

RNG = np.random.default_rng(0)
FIRST, SECOND = (
    Outcome(
        RNG.normal(size=4), RNG.normal(size=4), RNG.random(4) < 0.5, np.zeros((4, n)), np.ones(4)
    )
    for n in (0, 2)
)


def same(one, other):
    pairs = zip(vars(one).values(), vars(other).values(), strict=True)
    return all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in pairs)


def never():
    raise AssertionError("it is there already")


def test_what_was_measured_is_there_for_a_second_call_to_the_bit(tmp_path):
    path = tmp_path / "outcomes" / "noise.safetensors"
    outcomes = Outcomes(path, "these")
    outcomes("a", lambda: FIRST)
    outcomes("b / c", lambda: SECOND)
    again = Outcomes(path, "these")
    assert same(again("a", never), FIRST)
    assert same(again("b / c", never), SECOND)
    assert same(again("d", lambda: FIRST), FIRST)


@pytest.mark.parametrize("why", ["others", "fresh", "damage"])
def test_they_are_measured_anew(tmp_path, why):
    path = tmp_path / "noise.safetensors"
    Outcomes(path, "these")("a", lambda: FIRST)
    if why == "damage":
        path.write_bytes(path.read_bytes()[:-3])
    outcomes = Outcomes(path, "others" if why == "others" else "these", fresh=why == "fresh")
    assert same(outcomes("a", lambda: SECOND), SECOND)
    of = "others" if why == "others" else "these"
    assert same(Outcomes(path, of)("a", never), SECOND)


@pytest.fixture
def run(tmp_path):
    """A recipe with a task of its own, and a run folder with checkpoints."""
    task = tmp_path / "task.py"
    task.write_text("TASK = 1\n")
    for stage in ("teacher", "distillation"):
        save_checkpoint(tmp_path / stage / "checkpoint.safetensors", {"weights": np.ones(3)})
    return Experiment(robot="balancer", task=str(task)), tmp_path


def test_a_fingerprint_changes_with_all_that_episodes_depend_on(run, monkeypatch):
    experiment, folder = run
    seen = [fingerprint(experiment, folder)]
    assert fingerprint(experiment, folder) == seen[0]

    seen.append(fingerprint(dataclasses.replace(experiment, seed=2), folder))
    seen.append(fingerprint(experiment, folder, ("evaluation",)))
    (folder / "task.py").write_text("TASK = 2\n")
    seen.append(fingerprint(experiment, folder))
    for stage in ("teacher", "distillation"):
        save_checkpoint(folder / stage / "checkpoint.safetensors", {"weights": np.zeros(3)})
        seen.append(fingerprint(experiment, folder))
    monkeypatch.setattr("retort.distill.evaluation.outcomes.version", lambda name: "later")
    seen.append(fingerprint(experiment, folder))
    assert len(set(seen)) == len(seen) == 7


def test_a_damaged_checkpoint_has_no_fingerprint(run):
    experiment, folder = run
    (folder / "teacher" / "checkpoint.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="is damaged"):
        outcomes_of_run(experiment, folder, "noise")


@pytest.mark.parametrize("kind", ["noise", "attack"])
def test_a_sweep_that_goes_on_is_the_one_it_would_have_been(kind, tracking, tracker, tmp_path):
    def sweep(reuse):
        if kind == "noise":
            actors = {name: actor_of(tracker()) for name in ("one", "other")}
            deviation = {"teacher": np.full(2, 2.0)}
            return noise_sweep(tracking(8), actors, deviation, 5, reuse=reuse)
        targets = {"one": Target(tracker()), "other": Target(tracker(1.0))}
        return attack_sweep(tracking(8), targets, [0.1, 0.2], 5, steps=2, reuse=reuse)

    measured = []

    def until(most):
        outcomes = Outcomes(tmp_path / "some.safetensors", "these")

        def reuse(name, measure):
            def measured_here():
                if len(measured) == most:
                    raise KeyboardInterrupt
                measured.append(name)
                return measure()

            return outcomes(name, measured_here)

        return reuse

    with pytest.raises(KeyboardInterrupt):
        sweep(until(3))
    whole = sweep(lambda name, measure: measure())
    assert sweep(until(100)) == whole
    assert len(measured) == len(set(measured)) == len(whole.trials)
