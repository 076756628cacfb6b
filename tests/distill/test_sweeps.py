"""Noise and attacks cost what they must, reckoned by hand where that can be done."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from retort.controller import program
from retort.distill.evaluation import actor_of
from retort.distill.evaluation.sweeps import (
    attack_sweep,
    noise_sweep,
    noisy,
    observation_deviation,
)
from retort.distill.evaluation.target import (
    ATTACKS,
    SweepError,
    Target,
    attacked,
    learn_target,
    watch,
)
from retort.distill.experiment import Experiment
from retort.distill.networks import Critic, GaussianActor, make_actor
from retort.distill.students import KINDS, Interface, StudentConfig, make_student
from retort.distill.teachers import ActorTeacher, ValuesOf
from retort.distill.teachers.corruption import corrupted, corrupted_teacher
from retort.sim import RobotEnv
from retort.sim.wrapped import WrappedEnv

EPSILON, STD = 0.3, 2.0


@pytest.fixture(scope="module")
def target(tracking, tracker):
    return learn_target(tracking(32, autoreset=True), tracker(), 0.5, 3, ticks=60, updates=400)


@pytest.fixture(scope="module")
def sweep(target, tracking):
    return attack_sweep(tracking(64), {"tracker": target}, [EPSILON], 9)


def loss(trial):
    return 10.0 - trial.score.value


def test_the_unit_of_noise_is_the_deviation_of_what_is_seen(tracking, tracker):
    deviation = observation_deviation(
        tracking(64, autoreset=True), actor_of(tracker()), 1, ticks=100
    )
    for values in deviation.values():
        np.testing.assert_allclose(values, STD, rtol=0.03)


def test_noise_costs_what_its_size_says_and_every_policy_gets_the_same(tracking, tracker):
    actors = {name: actor_of(tracker()) for name in ("one", "other")}
    deviation = {group: np.full(2, STD) for group in ("student", "teacher")}
    result = noise_sweep(tracking(200), actors, deviation, 5)
    assert [trial.strength for trial in result.at_worst("one")] == [0.0, 0.1, 0.2, 0.3]
    for trial in result.at_worst("one"):
        expected = trial.strength * STD * math.sqrt(2.0 / math.pi)
        assert loss(trial) == pytest.approx(expected, rel=0.06, abs=1e-5)
    one, other = (
        [t.score.value for t in result.trials if t.policy == name] for name in result.policies
    )
    assert one == other


def test_a_part_without_deviation_gets_no_noise(tracking, tracker):
    deviation = {"teacher": np.array([0.0, STD])}
    result = noise_sweep(tracking(8), {"one": actor_of(tracker())}, deviation, 5)
    assert all(loss(trial) == pytest.approx(0.0, abs=1e-5) for trial in result.trials)


def test_an_attack_costs_at_most_what_its_box_allows(sweep):
    assert loss(sweep.clean("tracker")) == pytest.approx(0.0, abs=1e-5)
    for trial in sweep.trials:
        assert loss(trial) <= EPSILON * STD * (1 + 1e-4)


def test_random_costs_half_of_what_those_that_look_for_the_worst_do(sweep):
    cost = {trial.change: loss(trial) for trial in sweep.trials}
    assert cost["random"] == pytest.approx(EPSILON * STD / 2, rel=0.05)
    for name in ("mad", "sarsa", "sarsa_mad"):
        assert cost[name] > 0.9 * EPSILON * STD, name


def test_the_worst_attack_is_named(sweep):
    worst = sweep.worst("tracker", EPSILON)
    assert worst.change not in ("none", "random")
    assert loss(worst) == max(loss(trial) for trial in sweep.trials)
    with pytest.raises(SweepError, match=r"not tried at 0.5; there are \[0.0, 0.3\]"):
        sweep.worst("tracker", 0.5)
    said = json.loads(json.dumps(sweep.to_json()))
    assert said["worst"]["tracker"][1]["change"] == worst.change


def test_a_sweep_repeats(target, sweep, tracking):
    again = attack_sweep(tracking(64), {"tracker": target}, [EPSILON], 9)
    assert again == sweep


@pytest.mark.parametrize("kind", KINDS)
def test_every_student_acts_on_and_remembers_what_it_was_made_to_see(kind, monkeypatch):
    torch.manual_seed(0)
    student = make_student(StudentConfig(kind=kind, hidden=(8,)), Interface.plain(2, 1))
    student.eval().requires_grad_(False)
    student.normaliser.variance.fill_(4.0)
    shown, states = [], []
    forward = student.forward

    def spy(sequence, state, resets):
        said, after = forward(sequence, state, resets)
        shown.append(sequence[0])
        states.append(after)
        return said, after

    monkeypatch.setattr(student, "forward", spy)
    actor = attacked(Target(student), "mad", EPSILON, 1)
    state, reset = torch.zeros(5, 0), torch.ones(5, dtype=torch.bool)
    seen = torch.randn(6, 5, 2)
    for tick in range(6):
        _, _, state = actor({"student": seen[tick]}, state, reset)
        reset = torch.zeros(5, dtype=torch.bool)
    change = (torch.stack(shown) - seen) / student.normaliser.std
    assert change.abs().max() <= EPSILON + 1e-5
    assert change.abs().mean() > 0.5 * EPSILON
    resets = torch.zeros(6, 5, dtype=torch.bool)
    resets[0] = True
    _, expected = forward(torch.stack(shown), student.initial_state(5), resets)
    torch.testing.assert_close(state, expected)


def test_discrete_actions_are_attacked_without_a_value():
    policy = make_actor(4, WrappedEnv("CartPole-v1", 1).single_action_space, (8,))
    policy.requires_grad_(False)
    target = learn_target(WrappedEnv("CartPole-v1", 2), policy, 0.9, 1)
    env = WrappedEnv("CartPole-v1", 2, max_episode_steps=20, autoreset=False)
    result = attack_sweep(env, {"p": target}, [0.1], 1, steps=2)
    assert {trial.change for trial in result.trials} == {"none", "random", "mad"}
    with pytest.raises(SweepError, match="actions are discrete"):
        attacked(target, "sarsa", 0.1, 1)


def test_an_attack_that_needs_a_value_says_so(tracker):
    with pytest.raises(SweepError, match="learn_target"):
        attacked(Target(tracker()), "critic", 0.1, 1)
    with pytest.raises(SweepError, match="there are " + ", ".join(ATTACKS)):
        attacked(Target(tracker()), "cunning", 0.1, 1)


def test_negative_strengths_are_refused(tracking, tracker):
    with pytest.raises(SweepError, match="not negative"):
        attack_sweep(tracking(2), {"t": Target(tracker())}, [-0.1], 1)


def test_what_was_cut_off_is_not_learnt_from(tracking, tracker):
    from retort.distill.evaluation.target import transitions

    batch = watch(tracking(4, 5, autoreset=True), actor_of(tracker()), 1, 12, 0)
    rows = transitions(batch, Target(tracker()), 0.9)
    assert len(rows.reward) == int((~batch.truncated[:-1]).sum()) < 4 * 11
    assert not rows.terminated.any()


def test_the_balancer_s_teacher_and_student_go_through_both_sweeps():
    experiment = Experiment(robot="balancer", task="balancer")
    watched = experiment.world.make_env(4, episode_seconds=0.2)
    env = experiment.world.make_env(4, episode_seconds=0.1, autoreset=False)
    torch.manual_seed(0)
    actor = GaussianActor(watched.teacher_size, watched.contract.action_size, (8,))
    student = make_student(StudentConfig(kind="gru"), watched.contract)
    policies = {"teacher": actor, "student": student.eval()}
    deviation = observation_deviation(watched, actor_of(actor), 1, ticks=10)
    actors = {name: actor_of(policy) for name, policy in policies.items()}
    noise = noise_sweep(env, actors, deviation, 2, levels=[0.2])
    targets = {
        name: learn_target(watched, policy, 0.9, 1, ticks=10, updates=5)
        for name, policy in policies.items()
    }
    attack = attack_sweep(env, targets, [0.1], 2, steps=2)
    for name in policies:
        assert noise.clean(name) == noise.trials[list(policies).index(name) * 2]
        assert noise.clean(name).score.value == attack.clean(name).score.value
        assert {t.change for t in attack.trials if t.policy == name} == {"none", *ATTACKS}


def noise_met(env, unit=0.7, ticks=8):
    """What a noise sweep adds to the observations of a policy that holds still, by group: (ticks,
    N, size)."""
    seen = {group: [] for group in env.groups}

    def still(groups, state, reset):
        for group, rows in groups.items():
            seen[group].append(rows.clone())
        return torch.zeros(len(reset), env.contract.action_size), None, state

    deviation = {group: np.full(size, unit) for group, size in env.groups.items()}
    noise_sweep(env, {"still": still}, deviation, 2, levels=[0.5])
    pairs = {group: torch.stack(rows).chunk(2) for group, rows in seen.items()}  # without, with
    return {group: noise[:ticks] - clean[:ticks] for group, (clean, noise) in pairs.items()}


def balancer(layout="frame-major", n=300):
    contract = dataclasses.replace(RobotEnv().contract, layout=layout)
    assert contract.history > 2
    return RobotEnv(num_envs=n, contract=contract, episode_seconds=0.2, autoreset=False)


@pytest.mark.parametrize("layout", ["frame-major", "term-major"])
def test_a_robot_s_reading_gets_its_noise_once_and_keeps_it(layout):
    env = balancer(layout)
    contract, met = env.contract, noise_met(env)["student"]
    place = np.arange(contract.observation_size).reshape(contract.history, contract.frame_size)
    place = np.argsort(program.flatten(contract, place)).reshape(place.shape)
    frames = met[..., place]  # (ticks, N, history, frame), oldest first
    torch.testing.assert_close(frames[1:, :, :-1], frames[:-1, :, 1:], atol=1e-5, rtol=0.0)
    torch.testing.assert_close(frames[0, :, 0], frames[0, :, -1], atol=1e-5, rtol=0.0)
    for name, part in contract.slices().items():
        newest = frames[:, :, -1, part]
        if name in ("command", "previous_action"):
            assert (frames[..., part] == 0).all()
            continue
        np.testing.assert_allclose(newest.std((0, 1)), 0.5 * 0.7, rtol=0.06)
        assert (newest[1:] - newest[:-1]).abs().min(-1).values.median() > 0.05  # anew at each tick


def test_a_teacher_s_state_is_noisy_and_not_what_was_done_to_the_robot():
    env = balancer()
    met = noise_met(env)["teacher"].flatten(0, 1)
    told = (
        env.teacher_size
        - env.task.privileged(
            env.physics, slice(None), env.task.measure(env.physics, slice(None)), env.command
        ).shape[1]
    )
    assert told > 0
    assert (met[:, -told:] == 0).all()
    np.testing.assert_allclose(met[:, :-told].std(0), 0.5 * 0.7, rtol=0.06)


def test_noise_of_a_window_begins_anew_with_an_episode():
    contract, seen = RobotEnv().contract, []

    def look(groups, state, reset):
        seen.append(groups["student"])
        return torch.zeros(2, contract.action_size), None, state

    act = noisy(look, {"student": np.ones(contract.observation_size)}, 1.0, 1, contract)
    blank = {"student": torch.zeros(2, contract.observation_size)}
    for reset in ([True, True], [False, False], [False, True]):
        act(blank, torch.zeros(2, 0), torch.tensor(reset))
    frames = seen[-1].reshape(2, contract.history, contract.frame_size)
    assert torch.equal(frames[1, 0], frames[1, -1])
    assert not torch.equal(frames[0, 0], frames[0, -1])


def test_corruption_damages_a_copy_by_the_noise_it_says():
    torch.manual_seed(0)
    teacher = ActorTeacher(GaussianActor(50, 2, (200,)), Critic(50, (8,)))
    before = {name: value.clone() for name, value in teacher.actor.state_dict().items()}
    damaged = corrupted_teacher(teacher, torch.Generator().manual_seed(1), 0.05)
    change = {n: v - before[n] for n, v in damaged.actor.state_dict().items()}
    moved = torch.cat([v.flatten() for n, v in change.items() if n.startswith("network")])
    assert moved.std().item() == pytest.approx(0.05, rel=0.03)
    assert all(not v.any() for n, v in change.items() if not n.startswith("network"))
    assert all(torch.equal(v, before[n]) for n, v in teacher.actor.state_dict().items())
    assert damaged.critic is teacher.critic


def test_a_damaged_teacher_sees_and_values_as_it_did():
    actor, critic = GaussianActor(3, 2, (4,)), Critic(3, (4,))
    teacher = ActorTeacher(
        actor,
        critic,
        std_floor=0.3,
        group="all",
        columns=slice(1, 4),
        value_unit=2.0,
        values_of=ValuesOf(0.9, 1.0),
    )
    damaged = corrupted_teacher(teacher, torch.Generator(), 0.0)
    seen, reset = torch.randn(2, 3, 5), torch.zeros(2, 3, dtype=torch.bool)
    one, other = (each({"all": seen}, torch.zeros(3, 0), reset)[0] for each in (teacher, damaged))
    torch.testing.assert_close(other.distribution.mode(), one.distribution.mode())
    torch.testing.assert_close(other.value, one.value)
    assert damaged.values_of == ValuesOf(0.9, 1.0)


def test_corruption_repeats_and_refuses_a_negative_deviation():
    student = make_student(StudentConfig(kind="gru"), Interface.plain(2, 1))
    one, other = (
        corrupted(student, torch.Generator().manual_seed(4)).state_dict() for _ in range(2)
    )
    assert all(torch.equal(one[name], other[name]) for name in one)
    with pytest.raises(ValueError, match="must not be negative"):
        corrupted(student, torch.Generator(), -1.0)


def test_progress_is_told_after_every_trial(tracking, tracker):
    seen = []
    actors = {name: actor_of(tracker()) for name in ("one", "other")}
    deviation = {"teacher": np.full(2, STD)}
    sweep = noise_sweep(
        tracking(4), actors, deviation, 5, levels=(0.1,), progress=lambda *told: seen.append(told)
    )
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert [(trial.policy, trial.change) for trial in sweep.trials] == [
        (policy, change) for policy in ("one", "other") for change in ("none", "noise")
    ]
