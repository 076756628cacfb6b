"""Other libraries on the same clock and the same episodes as ours, from a run to its table."""

import dataclasses

import numpy as np
import pytest
from retort.distill.ppo_settings import gymnasium_ppo

from .conftest import made_result, quiet

pytestmark = pytest.mark.usefixtures("bench_on_path")


@pytest.fixture
def place(tmp_path):
    from harness.runs import Place

    folders = (tmp_path / "results", tmp_path / "checkpoints", tmp_path / "working")
    return Place(*folders, scale=1e-9)


# The peers that are timed and their fastest settings; RLtools needs a compiler and half a minute.
ARMS = ["fast", "sb3-fast", "cleanrl-envpool", "cleanrl-fast", "rsl_rl-isaaclab", "rsl_rl-fast"]


@pytest.mark.parametrize("arm", ARMS)
def test_ppo_of_everybody_from_nothing_to_the_table(place, arm):
    from harness.results import read_results
    from harness.runs import go_on
    from harness.tables import ppo

    [run] = [r for r in ppo.runs() if (r.task, r.arm, r.seed) == ("Hopper", arm, 1)]
    if run.package:
        pytest.importorskip(run.package)
    assert go_on([run], place, quiet) == (1, [])
    [result] = read_results(place.results, "ppo")
    assert result.figures["steps"] > 3000
    assert result.figures["cpu_seconds"] > 0.0
    assert len(result.curve) >= 1
    assert len(result.final) == 50
    text = ppo.report(place.results, place.results / "figures")
    assert f"| Hopper | {arm} | 1 | " in text


def test_students_of_rsl_rl_begin_behind_the_teachers_normaliser_and_end_in_the_table(place):
    pytest.importorskip("rsl_rl")
    from harness.runs import go_on
    from harness.tables import distillation_peers
    from harness.teaching import teacher_run

    go_on([teacher_run("Hopper", 1)], place, quiet)
    runs = [r for r in distillation_peers.runs() if (r.task, r.seed) == ("Hopper", 1)]
    assert go_on(runs, place, quiet) == (len(runs), [])
    text = distillation_peers.report(place.results, place.results / "figures")
    for run in runs:
        assert f"| Hopper | {run.arm} | 1 | " in text


def results(arm, seconds, seed=1, returns=(0.0, 2100.0, 2200.0)):
    """A finished run on Hopper that was evaluated at these seconds."""
    from harness.results import Point

    points = [
        Point(1000 * (i + 1), s, r) for i, (s, r) in enumerate(zip(seconds, returns, strict=True))
    ]
    return made_result(
        table="ppo",
        task="Hopper",
        arm=arm,
        seed=seed,
        curve=points,
        final=[points[-1].mean_return],
        figures={"steps": 3000, "seconds": seconds[-1], "cpu_seconds": 1.0, "parameters": 7},
    )


def race(every):
    from harness.tables import ppo

    return {row[1]: row[2:] for row in ppo._race(every)}


def test_peers_with_our_settings_raise_the_entropy_as_we_do():
    from harness.peers import cleanrl_envpool, rltools, rsl_rl, stable_baselines3

    for task in ("Hopper", "HalfCheetah"):
        ours = gymnasium_ppo(task, "fast").entropy
        _, sb3 = stable_baselines3.settings(task, "sb3-fast", 1_000_000)
        _, rsl = rsl_rl.settings(task, "rsl_rl-fast", 1_000_000)
        cleanrl = cleanrl_envpool.settings(task, "cleanrl-fast", 1_000_000)
        others = rltools.settings(task, "rltools-fast", 1_000_000)
        assert [sb3["ent_coef"], rsl["algorithm"]["entropy_coef"], cleanrl.entropy] == [ours] * 3
        assert others["ACTION_ENTROPY_COEFFICIENT"] == ours
    assert gymnasium_ppo("Hopper", "fast").entropy > 0.0


def test_a_library_counts_with_its_fastest_settings_median_over_median():
    ours = [results("fast", (1.0, t, 50.0), seed=s) for s, t in enumerate((2.0, 4.0, 30.0), 1)]
    slow = [results("sb3-zoo", (9.0, 90.0, 99.0), seed=s) for s in (1, 2, 3)]
    fast = [results("sb3-fast", (1.0, t, 50.0), seed=s) for s, t in enumerate((9.0, 16.0, 20.0), 1)]
    arm, times, _, met = race([*ours, *slow, *fast])["Stable-Baselines3"]
    # Pairs would say 4 and 20 / 30 and 9 / 2, whichever seed was put beside which.
    assert (arm, times.split()[0], met) == ("sb3-fast", "4.00", "yes")
    low, high = (float(word) for word in times[times.index("(") + 1 : -1].split(" to "))
    assert low == pytest.approx(9.0 / 30.0)
    assert high == pytest.approx(20.0 / 2.0)
    assert race([*reversed(ours), *slow, *fast])["Stable-Baselines3"][1] == times


def test_the_fastest_of_several_libraries_is_claimed_once_a_task(tmp_path):
    from harness.results import write_result
    from harness.tables import ppo

    seconds = {"fast": 2.0, "rsl_rl-fast": 5.0, "rltools-fast": 3.0, "sb3-fast": 9.0}
    every = [results(arm, (1.0, t, 50.0)) for arm, t in seconds.items()]
    for result in every:
        write_result(tmp_path, result.arm, result)
    alone, several = ppo.claims(tmp_path)
    assert (alone.found, alone.met) == ("4.50 (`sb3-fast`)", "yes, so far")
    assert "the fastest of CleanRL" in several.what
    assert (several.found, several.met) == ("1.50 (`rltools-fast`)", "no, so far")
    assert "`rltools-fast` takes 1.0 times the seconds of one of ours" in several.why


def test_yes_waits_for_every_arm_that_may_be_faster_and_no_does_not():
    def of_all_seeds(arm, time):
        return [results(arm, (1.0, time, 50.0), seed=seed) for seed in (1, 2, 3)]

    zoo = results("sb3-zoo", (1.0, 40.0, 50.0))
    for time, met in ((9.0, "yes, so far"), (3.0, "no")):
        every = [*of_all_seeds("fast", 2.0), *of_all_seeds("sb3-fast", time), zoo]
        assert race(every)["Stable-Baselines3"][-1] == met


def test_a_return_over_a_reference_that_fell_is_told_with_what_it_fell_from(tmp_path):
    from harness.results import write_result
    from harness.tables import ppo

    times = (1.0, 2.0, 3.0)
    for result in (
        results("efficient", times, returns=(0.0, 1.0, 3000.0)),
        results("fast", times, returns=(0.0, 1.0, 3500.0)),
        results("sb3-zoo", times, returns=(0.0, 1000.0, 100.0)),
    ):
        write_result(tmp_path, result.arm, result)
    claim = ppo.claims(tmp_path)[-1]
    assert claim.found == (
        "30.000 by `efficient`; 3.000 over the best point of that one's curve, 1000, where its "
        "last parameters return 100 (1 run)"
    )
    text = " ".join(ppo.report(tmp_path, tmp_path / "figures").split())
    assert "Hopper, `fast`: 35.000; 3.500 over the best point of that one's curve, 1000" in text


def test_who_never_arrives_took_for_ever_and_so_did_we():
    times, failed = (1.0, 2.0, 3.0), (0.0, 2100.0, 1900.0)
    ours, theirs = results("fast", times), results("rsl_rl-fast", times)
    lost = dataclasses.replace(theirs, curve=results("rsl_rl-fast", times, returns=failed).curve)
    assert race([ours, lost])["rsl_rl on our environments"] == [
        "rsl_rl-fast",
        "never reached",
        "2",
        "yes, so far",
    ]
    lost = dataclasses.replace(ours, curve=lost.curve)
    assert race([lost, theirs])["rsl_rl on our environments"] == [
        "rsl_rl-fast",
        "ours never reached it",
        "2",
        "no, so far",
    ]


def test_evaluation_is_off_the_clock_and_a_target_or_a_limit_ends_a_run():
    from harness.training import Curve, Stopwatch

    class Slow(Curve):
        """An evaluation that works for as long as it is asked to."""

        def at(self, steps, seconds):
            spent = sum(x * x for x in range(300_000))
            self.points.append((steps, seconds, spent))

        @property
        def reached(self):
            return len(self.points) > 2

    watch = Stopwatch(Slow("Hopper", None, 1, quiet))
    ends = [watch.at(steps) for steps in (1, 2, 3)]
    assert ends == [False, False, True]
    learnt = [seconds for _, seconds, _ in watch.curve.points]
    assert np.all(np.diff([*learnt, watch.seconds]) >= 0.0)
    assert Stopwatch(Slow("Hopper", None, 1, quiet), limit=-1.0).at(1)


def test_an_adapter_gives_rsl_rl_what_the_environments_say():
    pytest.importorskip("rsl_rl")
    import torch
    from harness.peers.rsl_rl import VecEnv
    from harness.training import make_env

    ours, other = make_env("Hopper", 4), VecEnv(make_env("Hopper", 4), seed=5)
    observation, _ = ours.reset(seed=5, options={"stagger": True})
    assert torch.equal(other.get_observations()["teacher"], torch.from_numpy(observation))
    actions = torch.zeros(4, 3)
    for _ in range(120):
        observation, reward, terminated, truncated, _ = ours.step(actions.numpy())
        seen, gained, done, extras = other.step(actions)
        assert torch.equal(seen["student"], torch.from_numpy(observation))
        assert torch.equal(gained, torch.from_numpy(reward).float())
        assert done.tolist() == (terminated | truncated).tolist()
        assert extras["time_outs"].tolist() == (truncated & ~terminated).tolist()
