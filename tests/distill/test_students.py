"""Students in a recipe, their sizes, and the budget that picks one."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from retort.controller import load_bundle
from retort.controller.host import FAMILIES, Host, HostError, Timing, load_host, make_policy
from retort.distill.curriculum import CurriculumConfig
from retort.distill.distill_config import DistillConfig
from retort.distill.evaluation import EvaluationConfig
from retort.distill.experiment import Experiment
from retort.distill.ppo import PPOConfig
from retort.distill.stages import verbs as stages
from retort.distill.students import Interface, StudentConfig, make_student
from retort.distill.students.budget import MARGIN, BudgetError, candidates, pick
from retort.distill.students.quantisation import InputMoments, Rounded, quantise
from retort.hardware.parsing import parse

INTERFACE = Interface.plain(20, 3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"recurrent": 8}, "belongs to kind = 'gru', the student is 'mlp'"),
        ({"kind": "gru", "channels": [4]}, "belongs to kind = 'tcn'"),
        ({"kind": "tcn", "channels": []}, "at least one convolution"),
        ({"kind": "tcn", "kernel": 1}, "kernel is 1"),
        ({"kind": "gru", "recurrent": 0}, "student.recurrent is 0; use 1 to"),
        ({"hidden": [0]}, r"student\.hidden\[0\] is 0; use 1 to"),
        ({"quantise": "int4"}, "'none', 'int8'"),
        ({"initial_std": 0.0}, r"initial_std is 0\.0; use more than 0"),
        ({"units": 3}, "unknown key 'units'"),
    ],
)
def test_a_student_that_cannot_be_is_refused(options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse(StudentConfig, options, "student")


def test_the_student_of_the_literature_has_its_number_of_parameters() -> None:
    """RAPTOR (2025): 22 inputs, 16 dense, 16 gated units, 4 actions; 2,084 with a learnt start."""
    config = StudentConfig(kind="gru", hidden=(16,), recurrent=16, activation="relu")
    assert make_student(config, Interface.plain(22, 4)).parameter_count() == 2084 - 16


def test_what_remembers_reads_the_newest_frame_only() -> None:
    interface = Interface(observation_size=6, outputs=1, newest=(3, 5))
    student = make_student(StudentConfig(kind="gru"), interface)
    observation = torch.randn(1, 1, 6)
    state, never = torch.randn(1, 16), torch.zeros(1, 1, dtype=torch.bool)
    before, _ = student(observation, state, never)
    for column, read in enumerate((False, False, False, True, False, True)):
        changed = observation.clone()
        changed[..., column] += 1.0
        after, _ = student(changed, state, never)
        assert bool((after.mode() != before.mode()).any()) == read


def test_int8_is_within_half_a_step_of_each_group_s_scale() -> None:
    weight = torch.randn(5, 21) * torch.logspace(-3, 2, 21)
    weight[2] = 0.0
    bias = torch.randn(5)
    made = quantise(weight, bias, 8)
    assert made.whole.dtype == torch.int8
    assert made.scale.shape == (5, 3)
    for group in range(3):
        part = slice(8 * group, 8 * group + 8)
        step = weight[:, part].abs().amax(1, keepdim=True) / 127
        error = (made.weight(8)[:, part] - weight[:, part]).abs()
        assert bool((error <= 0.5001 * step).all())
    assert made.bias is bias


def correlated(rows: int, generator: torch.Generator) -> torch.Tensor:
    """What a window of the past looks like: frames that hardly differ, and none around zero."""
    newest = 0.5 + torch.randn(rows, 1, 4, generator=generator)
    change = 0.1 * torch.randn(rows, 5, 4, generator=generator).cumsum(1)
    return (newest + change).flatten(1)


def test_rounding_by_moments_keeps_what_a_layer_says() -> None:
    generator = torch.Generator().manual_seed(2)
    weight, bias = torch.randn(16, 20, generator=generator), torch.randn(16, generator=generator)
    moments = InputMoments({"a.weight": 20})
    for _ in range(5):
        moments.update({"a.weight": correlated(2000, generator)})
    x = correlated(2000, generator)  # and not only of what was counted in

    def error(made: Rounded) -> torch.Tensor:
        assert made.bias is not None
        return x @ (made.weight(8) - weight).T + made.bias - bias

    nearest = error(quantise(weight, bias, 8))
    moved = error(quantise(weight, bias, 8, moments.of("a.weight")))
    assert moved.square().mean() < 0.2 * nearest.square().mean()
    assert moved.mean(0).square().mean() < 0.01 * nearest.mean(0).square().mean()


def test_rounding_by_moments_stays_on_the_steps_with_and_without_a_bias() -> None:
    weight = torch.randn(3, 10)
    moments = InputMoments({"a.weight": 10})
    assert moments.of("a.weight") is None
    moments.update({"a.weight": torch.zeros(50, 10)})  # nothing is read: nearest is as good
    for bias in (None, torch.zeros(3)):
        made = quantise(weight, bias, 4, moments.of("a.weight"))
        torch.testing.assert_close(made.weight(4), quantise(weight, bias, 4).weight(4))
        assert (made.bias is None) == (bias is None)


def host_of(kind: str, *, bump: float = 0.0) -> Host:
    """A computer that takes 5 us and 1 ns per parameter, but for one width."""
    memory_layers, dense_layers = FAMILIES[kind][0]
    rows = []
    for width in (8, 16, 32, 64):
        for inputs in (8, 64):
            row = Timing(
                kind=kind, memory_layers=memory_layers, dense_layers=dense_layers, width=width,
                inputs=inputs, outputs=3, activation="elu", parameters=0, p50=0.0, p99=0.0,
            )  # fmt: skip
            count = make_policy(row).parameters
            extra = bump if width == 16 else 0.0
            p50 = 5.0 + 1e-3 * count + extra
            rows.append(dataclasses.replace(row, parameters=count, p50=p50, p99=2 * p50))
    return Host(machine={}, versions={}, steps=1, timings=tuple(rows))


CONFIGS = {
    "mlp": StudentConfig(hidden=(99,)),
    "gru": StudentConfig(kind="gru", hidden=(), activation="elu"),
    "tcn": StudentConfig(kind="tcn", hidden=(), channels=(5,)),
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_the_largest_student_within_the_budget_is_picked(kind: str) -> None:
    host, config = host_of(kind), CONFIGS[kind]
    sizes = candidates(host, config, INTERFACE)
    assert [size.width for size in sizes] == [8, 16, 32, 64]
    for size in sizes:  # linear in the parameters at every width, so interpolation is exact
        made = make_student(size.config, INTERFACE)
        assert made.parameter_count() == size.parameters
        assert size.p50 == pytest.approx(5.0 + 1e-3 * size.parameters)
    for smaller, larger in itertools.pairwise(sizes):
        for needed in (smaller.p50 * (1.0 + 1e-9), larger.p50 * (1.0 - 1e-9)):
            budget = needed / (1.0 - MARGIN)  # what is left of it is needed
            assert pick(host, config, INTERFACE, budget) == (smaller, larger)
    assert pick(host, config, INTERFACE, 1e3) == (sizes[-1], None)


@pytest.mark.parametrize("kind", CONFIGS)
def test_the_runtime_and_the_student_of_a_width_are_the_same_size(kind: str) -> None:
    host = host_of(kind)
    for row in host.timings:
        sizes = candidates(host, CONFIGS[kind], Interface.plain(row.inputs, row.outputs))
        assert row.parameters in [size.parameters for size in sizes]


def test_a_larger_student_never_counts_as_faster() -> None:
    sizes = candidates(host_of("mlp", bump=4.0), CONFIGS["mlp"], INTERFACE)
    times = [size.p50 for size in sizes]
    assert times == sorted(times)
    assert times[2] == times[1]


@pytest.mark.parametrize("kind", CONFIGS)
def test_more_inputs_and_longer_kernels_go_on_as_the_measured_ones_do(kind: str) -> None:
    host = host_of(kind)
    largest = max(row.parameters for row in host.timings)
    long = {"kernel": 12} if kind == "tcn" else {}
    config = dataclasses.replace(CONFIGS[kind], **long)
    sizes = candidates(host, config, Interface.plain(80, 3))
    inside = [size for size in sizes if size.parameters <= largest]
    beyond = [size for size in sizes if size.parameters > largest]
    assert inside
    assert beyond
    for size in inside:
        assert size.p50 == pytest.approx(5.0 + 1e-3 * size.parameters)
    for size in beyond:  # whose weights nobody has seen in a cache
        share = size.parameters / largest
        assert size.p50 == pytest.approx((5.0 + 1e-3 * largest) * share)


def test_of_a_width_that_was_measured_once_more_is_taken_for_slower() -> None:
    host = host_of("mlp")
    rows = [row for row in host.timings if row.inputs == 8]
    once = dataclasses.replace(host, timings=tuple(rows))
    for size, row in zip(candidates(once, CONFIGS["mlp"], INTERFACE), rows, strict=True):
        assert size.p50 == pytest.approx(row.p50 * max(1.0, size.parameters / row.parameters))


@pytest.mark.parametrize(
    ("config", "budget", "words"),
    [
        (CONFIGS["mlp"], 5.0, "the smallest, of width 8, is expected to take 5.2 us"),
        (CONFIGS["mlp"], -1.0, "must be positive"),
        (CONFIGS["gru"], 50.0, r"no gru of 1 memory and 0 dense layers with elu; it has mlp 0\+1"),
        (StudentConfig(hidden=(8,), activation="tanh"), 50.0, "with tanh"),
    ],
)
def test_a_budget_that_nothing_meets_is_refused(
    config: StudentConfig, budget: float, words: str
) -> None:
    with pytest.raises(BudgetError, match=words):
        pick(host_of("mlp"), config, INTERFACE, budget)


def test_a_host_file_is_read_as_it_was_written_and_strictly(tmp_path: Path) -> None:
    host, path = host_of("tcn"), tmp_path / "pi.json"
    path.write_text(host.to_json())
    assert load_host(path) == host
    data = json.loads(host.to_json())
    for change, words in (
        ({"format": 7}, "has format 7"),
        ({"timings": []}, "0 timings"),
        ({"colour": "red"}, "unknown key 'colour'"),
    ):
        path.write_text(json.dumps({**data, **change}))
        with pytest.raises(HostError, match=words):
            load_host(path)
    with pytest.raises(HostError, match="retort bench host --out"):
        load_host(tmp_path / "missing.json")


@pytest.mark.parametrize("kind", ["gru", "tcn"])
def test_one_that_remembers_goes_all_the_way_to_a_bundle(kind: str, tmp_path: Path) -> None:
    experiment = Experiment(
        robot="balancer",
        task="balancer",
        teacher=PPOConfig(steps=16 * 24 * 2, num_envs=16, hidden=(8,), critic_hidden=(8,)),
        student=StudentConfig(kind=kind, hidden=(8,), quantise="int8"),  # type: ignore[arg-type]
        distill=DistillConfig(steps=16 * 24 * 3, num_envs=16, episode_seconds=0.3),
        curriculum=CurriculumConfig(window=4, teacher_least=2),
        evaluation=EvaluationConfig(
            episodes=2, seconds=0.3, hardest_episodes=2, hardest_seconds=0.3
        ),
    )
    stages.train_teacher(experiment, tmp_path)
    stages.distil_student(experiment, tmp_path)
    bundle = load_bundle(stages.export_bundle(experiment, tmp_path))
    assert bundle.policy.state_size == bundle.golden.hidden.shape[-1] > 0
    assert np.abs(bundle.golden.hidden).max() > 0
    assert bundle.meta["weights"] == "int8"
    assert (bundle.folder / "policy.onnx").stat().st_size > 0
    figures = stages.evaluate(experiment, tmp_path)
    assert figures["parameters"]["student"] == bundle.policy.parameters


@pytest.mark.parametrize(("kind", "recalls"), [("mlp", False), ("gru", True), ("tcn", True)])
def test_what_remembers_learns_to_recall_what_was_seen_three_ticks_ago(
    kind: str, recalls: bool
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = StudentConfig(kind=kind, hidden=(16,), activation="tanh")  # type: ignore[arg-type]
        student = make_student(config, Interface.plain(1, 1))
        optimiser = torch.optim.Adam(student.parameters(), lr=1e-2)
        loss = torch.zeros(())
        for _ in range(250):
            seen = torch.rand(24, 32, 1) * 2 - 1
            resets = torch.zeros(24, 32, dtype=torch.bool)
            resets[12, ::2] = True
            said, _ = student(seen, student.initial_state(32), resets)
            error = (said.mode()[3:] - seen[:-3]).square()[..., 0]
            error[9:12, ::2] = 0.0  # forgotten: nobody can know
            loss = error.mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    spread = 1 / 3  # variance of what is to be recalled
    assert (loss.item() < 0.2 * spread) == recalls
