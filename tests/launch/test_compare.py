"""``retort eval`` on several runs, and one run's sweeps, through the command line."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from retort.distill.distill_config import DistillConfig
from retort.distill.evaluation import Outcome, run_episodes
from retort.distill.evaluation.comparison import ArmScores, compare_arms
from retort.distill.evaluation.outcomes import fingerprint
from retort.distill.evaluation.statistics import Interval, StatisticsError
from retort.launch import evaluate
from retort.launch.cli import main
from retort.launch.compare import CompareError, Run, group, load_runs, table
from retort.launch.recipe import Recipe, load_recipe, save_recipe
from retort.launch.results import load_results

SMALL = (
    "teacher.steps=768",
    "teacher.num_envs=16",
    "teacher.hidden=[8]",
    "teacher.critic_hidden=[8]",
    "distill.steps=1920",
    "distill.num_envs=16",
    "distill.episode_seconds=0.3",
    'curriculum.kind="fixed"',
    "curriculum.levels=2",
    "curriculum.start=0",
    "evaluation.episodes=3",
    "evaluation.seconds=0.2",
    "evaluation.hardest_episodes=6",
    "evaluation.hardest_seconds=0.2",
)


def _make(folder: Path, *changes: str) -> Path:
    options = [f"--set={change}" for change in (*SMALL, *changes)]
    for verb in ("train", "distill"):
        assert main([verb, "balancer", "--out", str(folder), *options]) == 0
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two seeds of one arm and one of a smaller student."""
    root = tmp_path_factory.mktemp("runs")
    seeds = [_make(root / f"wide-{seed}", f"seed={seed}") for seed in (1, 2)]
    made = [*seeds, _make(root / "narrow", "student.hidden=[4]")]
    for folder in (made[0], made[2]):  # which an evaluation by levels waits for
        assert main(["export", str(folder)]) == 0
    return made


def test_several_runs_become_a_table_a_file_and_a_figure(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["eval", *map(str, runs), "--out", str(out)]) == 0
    said, told = capsys.readouterr()
    assert told == "".join(f"evaluating run {i} of 3\n" for i in (1, 2, 3))
    lines = said.splitlines()
    assert "wide" in lines[1]
    assert "narrow" in lines[2]
    assert all(len(line) <= 80 for line in lines if not line.startswith("eval: made"))
    data = json.loads((out / "comparison.json").read_text())
    assert [arm["seeds"] for arm in data["arms"]] == [[1, 2], [1]]
    assert [arm["over"] for arm in data["arms"]] == ["episodes", "episodes"]
    assert data["arms"][0]["parameters"] > data["arms"][1]["parameters"]
    assert data["arms"][0]["first_better"] is None
    assert 0.0 <= data["arms"][1]["first_better"]["value"] <= 1.0
    assert data["profiles"]["over"] == "episodes"
    assert [arm["name"] for arm in data["profiles"]["arms"]] == [a["name"] for a in data["arms"]]
    for name in ("comparison.svg", "profiles.svg"):
        assert "<svg" in (out / name).read_text()


def test_what_a_comparison_says_of_a_run_is_what_its_evaluation_does(
    runs: list[Path], tmp_path: Path
) -> None:
    assert main(["eval", str(runs[2])]) == 0
    assert main(["eval", str(runs[2]), str(runs[0]), "--out", str(tmp_path)]) == 0
    hardest = json.loads((runs[2] / "evaluation.json").read_text())["hardest"]
    first = json.loads((tmp_path / "comparison.json").read_text())["arms"][0]
    assert first["run_scores"] == [pytest.approx(hardest["student"]["score"])]
    for ours, theirs in (("of_teacher", "ratio"), ("normalised", "normalised")):
        assert (first[ours] is None) == (hardest[theirs] is None)
        if first[ours] is not None:
            assert first[ours]["value"] == pytest.approx(hardest[theirs]["value"])
    assert first["difference"]["value"] == pytest.approx(hardest["difference"]["value"])


def test_seeds_of_one_arm_are_put_together_and_the_same_seed_twice_is_not(
    runs: list[Path], tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(runs[0], copy)
    arms = group(load_runs([*runs, copy]))
    assert [[run.recipe.seed for run in arm.runs] for arm in arms] == [[1, 2], [1], [1]]
    assert arms[0].name.endswith("wide")


def taught_by(seed: int, *others: Any, dataset: str = "data") -> Run:
    """A run whose folder nobody looks into."""
    recipe = load_recipe("balancer", [f"seed={seed}"])
    teachers = dataclasses.replace(recipe.distill.teachers, others=others)
    changes = {"teachers": teachers, "mode": "offline", "dataset": dataset}
    changes["recorded_steps"] = DistillConfig.recorded_steps
    distill = dataclasses.replace(recipe.distill, **changes)
    return Run(Path(f"run-{seed}"), dataclasses.replace(recipe, distill=distill))


def test_seeds_of_one_arm_may_have_teachers_and_data_of_their_own_seed() -> None:
    def run(seed: int, other: int, name: str = "a-s{}/t.onnx", **changes: Any) -> Run:
        table = {"file": f"/9/b{other}.pt", "gamma": 0.9}
        return taught_by(seed, name.format(other), table, dataset=f"d_{other}", **changes)

    same = [run(1, 1), run(12, 12), run(3, 3)]
    assert [len(arm.runs) for arm in group(same)] == [3]
    assert [len(arm.runs) for arm in group([run(1, 5), run(2, 5)])] == [2]  # the same ones
    for other in (run(2, 3), run(2, 2, "b-s{}/t.onnx"), run(2, 2, "a-s{}/t2.onnx")):
        assert [len(arm.runs) for arm in group([run(1, 1), other])] == [1, 1]
    longer = run(2, 2)
    longer = dataclasses.replace(longer, recipe=_longer(longer.recipe))
    assert [len(arm.runs) for arm in group([run(1, 1), longer])] == [1, 1]


def _longer(recipe: Recipe) -> Recipe:
    return dataclasses.replace(recipe, distill=dataclasses.replace(recipe.distill, steps=10**7))


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda f: (f / "recipe.toml").unlink(), "is no run folder"),
        (lambda f: shutil.rmtree(f / "distillation"), "distill is not complete there"),
        (lambda f: (f / "stages.json").unlink(), "train is not complete there"),
    ],
)
def test_what_is_no_finished_run_is_said(
    runs: list[Path],
    tmp_path: Path,
    spoil,
    sentence: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoilt = tmp_path / "spoilt"
    shutil.copytree(runs[0], spoilt)
    spoil(spoilt)
    assert main(["eval", str(runs[1]), str(spoilt), "--out", str(tmp_path / "out")]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_runs_of_different_tasks_are_refused(
    runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retort.launch.compare.Ledger.complete", lambda *_: True)
    other = tmp_path / "other"
    save_recipe(load_recipe(runs[0], ["task=elsewhere"]), other / "recipe.toml")
    with pytest.raises(CompareError, match=r"another task than .*elsewhere and balancer"):
        load_runs([runs[0], other])


def test_runs_whose_robots_change_otherwise_are_refused(
    runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retort.launch.compare.Ledger.complete", lambda *_: True)
    other = tmp_path / "other"
    switched = "switches=[{quantity='payload', time=[0.0, 1.0], value=[0.0, 0.2]}]"
    save_recipe(load_recipe(runs[0], ["seed=2", switched]), other / "recipe.toml")
    with pytest.raises(CompareError, match="another switches than"):
        load_runs([runs[0], other])


def test_a_run_that_was_trained_on_the_episodes_of_the_first_is_refused(
    runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retort.launch.compare.Ledger.complete", lambda *_: True)
    other = tmp_path / "other"
    save_recipe(load_recipe(runs[0], ["seed=1000003"]), other / "recipe.toml")
    with pytest.raises(CompareError, match=r"other cannot be evaluated on .*: evaluation\.seed"):
        load_runs([runs[0], other])


def test_a_run_given_twice_is_refused(runs: list[Path]) -> None:
    with pytest.raises(CompareError, match="given twice"):
        load_runs([runs[0], runs[1], runs[0]])


@pytest.mark.parametrize(
    ("words", "others"),
    [
        ("a", []),
        ("a b c", ["b", "c"]),
        ("a --out x b", ["b"]),
        ("--out x a b", ["b"]),
        ("a b --out x c", ["b", "c"]),
    ],
)
def test_runs_may_stand_on_both_sides_of_an_option(
    words: str, others: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []
    monkeypatch.setattr(evaluate, "act", lambda options: given.append(options) or 0)
    assert main(["eval", *words.split()]) == 0
    assert given[0].recipe == "a"
    assert given[0].others == [Path(other) for other in others]


@pytest.mark.parametrize(
    ("words", "given"),
    [
        ("eval a --colour b", "'--colour' is nothing that it takes"),
        ("train a b", "'b' is nothing that it takes;"),
        ("train a --sett x=1", "'--sett' is nothing that it takes (did you mean '--set'?);"),
    ],
)
def test_what_no_verb_takes_is_refused(
    words: str, given: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words.split()) == 2
    said = capsys.readouterr().err
    assert given in said
    assert f"`retort {words.split()[0]} --help`" in said


def test_sweeps_are_of_one_run(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", str(runs[0]), str(runs[1]), "--noise", "--out", str(tmp_path)]) == 2
    assert "are for one run" in capsys.readouterr().err


def test_sweeps_of_a_run_stand_beside_its_evaluation(
    runs: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    short = functools.partial(evaluate.learn_target, ticks=10, updates=5)
    monkeypatch.setattr(evaluate, "learn_target", short)
    folder = tmp_path / "run"
    shutil.copytree(runs[0], folder)
    asked = ["--noise", "--attack", "--epsilon", "0.1", "--forgetting"]
    assert main(["eval", str(folder), *asked]) == 0
    assert (folder / "evaluation.json").is_file()
    of = evaluation_digest(folder)
    for name in ("noise", "attack", "forgetting"):
        assert json.loads((folder / f"{name}.json").read_text())["of"] == of
        assert "<svg" in (folder / f"{name}.svg").read_text()
    assert evaluation_digest(runs[1]) != of
    assert list(load_results(folder).sweeps) == ["noise", "attack", "forgetting"]
    noise = json.loads((folder / "noise.json").read_text())["worst"]
    assert [row["strength"] for row in noise["student"]] == [0.0, 0.1, 0.2, 0.3]
    said = capsys.readouterr().out
    assert "most forgotten" in said
    assert "of its clean return" in said


def evaluation_digest(folder: Path) -> str:
    """Of what stands in a run folder now."""
    return fingerprint(load_recipe(folder), folder, ("evaluation",))


class Interruption:
    """Ctrl-C before episode set number ``at`` of all that are run; counts them."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.ran, self.at = 0, -1
        from retort.distill.evaluation import episodes as evaluation
        from retort.distill.evaluation import forgetting, sweeps
        from retort.launch import compare

        for module in (evaluation, forgetting, sweeps, compare):
            patch.setattr(module, "run_episodes", self._run)

    def _run(self, *arguments: Any) -> Outcome:
        if self.ran == self.at:
            raise KeyboardInterrupt
        self.ran += 1
        return run_episodes(*arguments)


@pytest.mark.parametrize("sweep", [None, "noise", "attack", "forgetting"])
def test_an_evaluation_that_was_interrupted_goes_on_as_it_is_said_to(
    runs: list[Path],
    tmp_path: Path,
    sweep: str | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    short = functools.partial(evaluate.learn_target, ticks=10, updates=5)
    monkeypatch.setattr(evaluate, "learn_target", short)
    folders = [tmp_path / name for name in ("whole", "parts")]
    for folder in folders:
        shutil.copytree(runs[0], folder)
        shutil.rmtree(folder / "outcomes", ignore_errors=True)
    words = [] if sweep is None else [f"--{sweep}"]
    before = 0 if sweep is None else 6  # of the evaluation by levels

    whole = Interruption(monkeypatch)
    assert main(["eval", str(folders[0]), "--fresh", *words]) == 0
    capsys.readouterr()
    parts = Interruption(monkeypatch)
    parts.at = before + 1
    assert main(["eval", str(folders[1]), "--fresh", *words]) == 130
    said = capsys.readouterr().err
    again = " ".join(["retort", "eval", str(folders[1]), *words])
    assert f"with what was done saved; `{again}` resumes" in said
    parts.at = -1
    assert main(["eval", str(folders[1]), *words]) == 0
    assert parts.ran == whole.ran  # nothing twice
    name = f"{sweep or 'evaluation'}.json"
    assert (folders[0] / name).read_text() == (folders[1] / name).read_text()


def test_a_comparison_that_was_interrupted_goes_on_and_one_run_more_costs_one(
    runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    some, every = ([*map(str, chosen), "--out", str(out)] for chosen in (runs[:2], runs))
    counted = Interruption(monkeypatch)
    counted.at = 4  # of three for each run
    assert main(["eval", *some]) == 130
    counted.at = -1
    assert main(["eval", *some]) == 0
    assert counted.ran == 6
    assert main(["eval", *every]) == 0
    assert counted.ran == 9
    told = (out / "comparison.json").read_text()
    assert main(["eval", *every, "--fresh"]) == 0
    assert counted.ran == 18
    assert (out / "comparison.json").read_text() == told


@pytest.mark.parametrize("text", ["0", "-1", "x", "0.1,,0.2"])
def test_an_epsilon_that_is_none_is_bad_input(text: str) -> None:
    assert main(["eval", "balancer", f"--epsilon={text}"]) == 2


def test_an_epsilon_without_an_attack_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "balancer", "--epsilon=0.1"]) == 2
    assert "--epsilon is how far --attack goes" in capsys.readouterr().err


def _arm(name: str, scores: np.ndarray) -> ArmScores:
    return ArmScores(name, scores, np.full_like(scores, 0.8), np.full_like(scores, 0.1))


def test_with_three_runs_intervals_are_over_runs_and_with_two_over_episodes() -> None:
    rng = np.random.default_rng(0)
    level = np.array([[0.2], [0.5], [0.8]])
    scores = level + rng.normal(0.0, 0.001, (3, 200))
    three, two = compare_arms([_arm("three", scores), _arm("two", scores[:2])], rng).arms
    assert (three.over, two.over) == ("runs", "episodes")
    assert three.score.high - three.score.low > 0.3  # seeds differ, episodes do not
    assert two.score.high - two.score.low < 0.2
    assert three.of_teacher.value == pytest.approx(0.5 / 0.8, rel=0.01)


@pytest.mark.parametrize("runs", [1, 2, 3])
def test_a_fall_in_a_quarter_of_the_episodes_shows_in_the_score(runs: int) -> None:
    standing, falling = np.ones((runs, 100)), np.ones((runs, 100))
    falling[:, :24] = 0.0
    rng = np.random.default_rng(0)
    good, bad = compare_arms([_arm("good", standing), _arm("bad", falling)], rng).arms
    assert good.score.value == 1.0
    assert bad.score.value == pytest.approx(0.76)
    assert bad.of_teacher is not None
    assert bad.of_teacher.value == pytest.approx(0.76 / 0.8)
    if runs == 1:  # the binomial's deviation of one run's mean
        assert bad.score.high - bad.score.low == pytest.approx(4 * 0.0427, rel=0.1)


def test_a_teacher_below_zero_has_no_ratio_but_a_normalised_one_and_a_difference() -> None:
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(-5.0, 0.1, (1, 50)), rng.normal(-3.0, 0.1, (1, 50))
    weak = rng.normal(0.0, 1.0, (1, 50))  # about zero: a ratio of nothing in particular
    arms = [
        ArmScores("below", student, teacher, np.full((1, 50), -9.0)),
        ArmScores("about", student, weak, np.full((1, 50), 4.0)),
        ArmScores("three", *(np.repeat(x, 4, 0) for x in (student, teacher, student - 4.0))),
    ]
    arms[2].teacher[0] = 1.0  # one of four above zero is not enough
    comparison = compare_arms(arms, rng)
    below, about, three = comparison.arms
    assert [arm.of_teacher for arm in comparison.arms] == [None] * 3
    assert below.normalised is not None
    assert below.normalised.value == pytest.approx(4 / 6, abs=0.02)
    assert below.difference.value == pytest.approx(-2.0, abs=0.1)
    assert about.normalised is None
    assert three.normalised is not None
    said = table(comparison, [10, 10, 10])
    assert all(len(line) <= 80 for line in said)
    assert sum("undefined " in line or line.endswith("undefined") for line in said) == 3
    assert comparison.to_json()["arms"][0]["of_teacher"] is None


def test_profiles_are_of_normalised_scores_over_runs_where_every_arm_has_three() -> None:
    rng = np.random.default_rng(0)
    level = np.array([[0.1], [0.45], [0.8], [1.2]]) + np.zeros((4, 5))
    four = compare_arms([_arm("a", level), _arm("b", level + 0.2)], rng).profiles
    assert (four.of, four.over) == ("normalised", "runs")
    at = np.array(four.thresholds)
    expected = (np.array([0.0, 0.5, 1.0, 1.1 / 0.7])[:, None] > at + 1e-9).mean(0)
    differ = np.abs(np.array(four.arms[0].share) - expected) > 1e-9
    assert differ.sum() <= 2  # where a threshold is a score, to rounding
    band = four.arms[0]
    assert (np.array(band.low) <= np.array(band.share)).all()
    assert (np.array(band.share) <= np.array(band.high)).all()
    few = compare_arms([_arm("a", level), _arm("b", level[:1])], rng).profiles
    assert few.over == "episodes"


def test_profiles_are_of_plain_scores_where_a_teacher_is_no_better_than_random() -> None:
    rng = np.random.default_rng(0)
    scores = np.linspace(-4.0, 2.0, 30).reshape(1, 30)
    arm = ArmScores("poor", scores, np.zeros((1, 30)), np.ones((1, 30)))
    profiles = compare_arms([arm], rng).profiles
    assert profiles.of == "score"
    assert (profiles.thresholds[0], profiles.thresholds[-1]) == (-4.0, 2.0)
    assert profiles.arms[0].share[-1] == 0.0


def test_the_first_arm_s_chance_to_be_better_is_that_of_its_episodes() -> None:
    rng = np.random.default_rng(0)
    first, worse = rng.normal(1.0, 1.0, (1, 100)), rng.normal(0.0, 1.0, (1, 100))
    arms = compare_arms([_arm("a", first), _arm("b", worse), _arm("c", first)], rng).arms
    assert arms[0].first_better is None
    assert arms[1].first_better is not None
    assert arms[2].first_better is not None
    assert arms[1].first_better.value == pytest.approx(0.76, abs=0.06)  # Phi(1 / sqrt 2)
    assert arms[1].first_better.low > 0.6
    assert arms[2].first_better.value == 0.5


def test_scores_that_do_not_fit_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(StatisticsError, match=r"\(runs, episodes\)"):
        compare_arms([_arm("flat", np.ones(3))], rng)
    with pytest.raises(StatisticsError, match="nothing to compare"):
        compare_arms([], rng)


def test_the_columns_of_the_table_are_apart_and_explained() -> None:
    arm = ArmScores("a", *(np.array([[x - 1e-3, x + 1e-3]]) for x in (-0.134, -0.5, -2345.6)))
    comparison = compare_arms([arm], np.random.default_rng(0))
    widest = Interval(-0.134, -0.466, -0.035)
    (compared,) = comparison.arms
    compared = dataclasses.replace(
        compared,
        score=widest,
        of_teacher=widest,
        normalised=widest,
        difference=Interval(-12345.6, -2e4, -1e4),
    )
    lines = table(dataclasses.replace(comparison, arms=(compared,)), [1_234_567])
    said = "-0.134 [-0.466, -0.035]"
    assert re.fullmatch(rf"a +1 +1,234,567 +{re.escape(said)} +-", lines[1])
    assert re.fullmatch(rf"a +{re.escape(said)} +{re.escape(said)} +-12346", lines[3])
    assert "S, T and J0 are the scores of student, teacher and a random policy" in "".join(lines)


def test_a_long_name_keeps_its_end_and_the_table_its_width() -> None:
    rng = np.random.default_rng(0)
    arms = [_arm("runs/" + "x" * 60 + "/last", rng.random((1, 9))) for _ in range(2)]
    lines = table(compare_arms(arms, rng), [100_000, 100_000])
    assert all(len(line) <= 80 for line in lines)
    assert "/last" in lines[1]
