"""Recovery after a switch, and starts from which a few gradient steps suffice."""

import copy
import json
import math

import numpy as np
import pytest
import torch
from retort.distill.adaptation import (
    AdaptingActor,
    MetaConfig,
    MetaLearner,
    PredictiveStudent,
    Trace,
    adapt,
    lived_loss,
    policy_loss,
    prediction_loss,
    recovery_row,
    recovery_times,
    relative_rate,
    trace_rewards,
)
from retort.distill.distributions import Gaussian
from retort.distill.evaluation import actor_of
from retort.distill.evaluation.statistics import StatisticsError
from retort.distill.ppo import PPO, PPOConfig
from retort.distill.sources.rollout import RolloutSource
from retort.distill.students import Interface, StudentConfig, make_student
from retort.sim.env import RobotEnv
from retort.sim.gymnasium_tasks import GymnasiumTaskEnv
from retort.sim.switches import Switch, SwitchError

KINDS = ("mlp", "gru", "tcn")


def made(levels, *, ticks=10, before=4, fell_at=None):
    """A trace of windows of 0.5 s: steady 2 per second, then ``levels`` times as much."""
    rates = np.concatenate([np.ones(before), levels])
    reward = np.repeat(rates, ticks)[:, None] * 2.0 * 0.05
    fell_at = np.array([len(reward)]) if fell_at is None else np.array([fell_at])
    return Trace(reward, fell_at, 0.05, before * ticks)


def test_recovery_is_the_end_of_the_first_of_two_windows_at_the_target():
    relative, counted = relative_rate(made([0.2, 0.95, 0.5, 0.9001, 1.0, 1.0]))
    np.testing.assert_allclose(relative[:, 0], [0.2, 0.95, 0.5, 0.9001, 1.0, 1.0])
    assert counted.all()
    assert recovery_times(relative).tolist() == [2.0]
    assert recovery_times(relative, passes=1).tolist() == [2.0]  # the rest of 1.0 s is 0.87
    assert recovery_times(relative, passes=7).tolist() == [np.inf]


def test_who_passes_by_on_the_way_down_is_not_back_and_one_bad_stride_is_forgiven():
    falling = np.array([1.0, 0.95, 0.8, 0.6, 0.4, 0.3])
    stumbling = np.array([0.5, 0.95, 1.0, 0.85, 0.9, 1.0])
    times = recovery_times(np.stack([falling, stumbling], axis=1))
    assert times.tolist() == [np.inf, 1.0]


def test_a_policy_that_never_returns_is_censored_and_its_row_is_json():
    row = recovery_row("mlp", "payload", made([0.2] * 6))
    assert row["recovered"] == 0
    assert row["median"] is None
    assert row["restricted_mean"] == 3.0
    assert json.loads(json.dumps(row, allow_nan=False)) == row


def test_windows_that_are_no_whole_ticks_are_counted_as_long_as_they_are():
    """At 0.008 s a tick half a second is 62 ticks, 0.496 s."""
    rates = np.concatenate([np.ones(4), [0.2, 1.0, 1.0]])
    trace = Trace(np.repeat(rates, 62)[:, None] * 0.008, np.array([7 * 62]), 0.008, 4 * 62)
    relative, _ = relative_rate(trace, 0.5, settling=0.496)
    np.testing.assert_allclose(relative[:, 0], [0.2, 1.0, 1.0])
    row = recovery_row("mlp", "payload", trace, window=0.5)
    assert row["window"] == pytest.approx(0.496)
    assert row["median"] == pytest.approx(2 * 0.496)


def test_settling_is_left_out_of_the_steady_state():
    trace = made([1.0] * 4)
    trace.reward[:20] = 0.0  # two windows of standing up
    assert relative_rate(trace)[0][0, 0] == pytest.approx(2.0)
    assert relative_rate(trace, settling=1.0)[0][0, 0] == pytest.approx(1.0)


def test_what_an_episode_asks_for_is_told_from_what_the_switch_costs():
    """It asks for less from the third window on, with the switch and without."""
    trace, unswitched = made([0.5, 0.9, 0.4, 0.4]), made([1.0, 1.0, 0.4, 0.4])
    assert recovery_times(relative_rate(trace)[0]).tolist() == [np.inf]
    relative, _ = relative_rate(trace, unswitched=unswitched)
    np.testing.assert_allclose(relative[:, 0], [0.5, 0.9, 1.0, 1.0])
    assert recovery_row("mlp", "payload", trace, unswitched=unswitched)["median"] == 1.0


def test_a_trace_of_other_episodes_is_refused():
    other = made([1.0, 1.0])
    other.reward[0] += 0.1
    with pytest.raises(StatisticsError, match="same seed"):
        relative_rate(made([1.0, 1.0]), unswitched=other)
    with pytest.raises(StatisticsError, match="same seed"):
        relative_rate(made([1.0, 1.0]), unswitched=made([1.0] * 3))
    with pytest.raises(StatisticsError, match="positive"):
        relative_rate(made([1.0, 1.0]), unswitched=made([1.0, 0.0]))


def test_episodes_are_the_same_up_to_the_switch_whatever_it_switches_to():
    def traced(value):
        switch = Switch(quantity="motor_strength", time=(0.1, 0.1), value=(value, value))
        env = RobotEnv(
            num_envs=4, level=0.5, episode_seconds=0.2, autoreset=False, switches=(switch,)
        )
        return trace_rewards(env, driving(env), 1, 0.1)

    weak, unswitched = traced(0.1), traced(1.0)
    assert unswitched.reward[unswitched.switch_tick :].any()
    relative, _ = relative_rate(weak, window=0.05, unswitched=unswitched)
    assert not np.allclose(relative.mean(1), 1.0)
    relative, _ = relative_rate(unswitched, window=0.05, unswitched=unswitched)
    np.testing.assert_allclose(relative.mean(1), 1.0)


def test_episodes_that_fell_before_the_switch_do_not_count():
    with pytest.raises(StatisticsError, match="standing"):
        relative_rate(made([1.0, 1.0], fell_at=5))


def still(env):
    def act(groups, state, reset):
        return torch.zeros(env.num_envs, env.single_action_space.shape[0]), None, state

    return act


def driving(env):
    """It drives, and stands for some tenths of a second."""

    def act(groups, state, reset):
        return torch.full((env.num_envs, env.single_action_space.shape[0]), 0.1), None, state

    return act


def test_a_motor_that_dies_is_seen_at_its_time_in_any_environment():
    switch = Switch(quantity="motor_strength", time=(1.0, 1.0), value=(0.0, 0.0))
    robot = RobotEnv(
        num_envs=3, level=0.0, episode_seconds=2.0, autoreset=False, switches=(switch,)
    )
    task = GymnasiumTaskEnv(
        "HalfCheetah", 3, max_episode_steps=40, dtype="float32", autoreset=False, switches=(switch,)
    )
    for env in (robot, task):
        trace = trace_rewards(env, still(env), 1, 1.0)
        assert trace.reward.shape == (env.episode_ticks, 3)
        assert trace.switch_tick * env.period == pytest.approx(1.0)
        with pytest.raises(ValueError, match="within the episode"):
            trace_rewards(env, still(env), 1, 2.0)


@pytest.mark.parametrize("quantity", ["payload", "motor_strength", "friction"])
def test_a_robots_switch_lasts_until_the_episode_ends_and_the_teacher_sees_it(quantity):
    switch = Switch(quantity=quantity, time=(0.1, 0.1), value=(0.5, 0.5))
    env = RobotEnv(num_envs=2, level=0.0, episode_seconds=0.4, switches=(switch,))
    env.reset(seed=0)
    physics, term = env.physics, env._changeable[quantity]
    at = round(0.1 / env.period)

    def value():
        if quantity == "payload":
            return physics.fields["body_mass"][:, term._body] / physics.model.body_mass.sum()
        if quantity == "motor_strength":
            return physics.strength[:, 0]
        return (
            physics.fields["geom_friction"][:, term._geoms[0], 0]
            / (physics.nominal["geom_friction"][term._geoms[0], 0])
        )

    nominal, seen = value().copy(), env._drawn[quantity].copy()
    for tick in range(env.episode_ticks):
        _, _, terminated, truncated, _ = env.step(np.zeros((2, 2), dtype=np.float32))
        if (terminated | truncated).any():
            break
        np.testing.assert_allclose(value(), 0.5 if tick >= at else nominal, rtol=1e-6)
        assert (env._drawn[quantity] != seen).any() == (tick >= at)
    ended = terminated | truncated
    np.testing.assert_allclose(value()[ended], nominal[ended])


def test_a_saved_switch_happens_after_loading_too():
    switch = Switch(quantity="payload", time=(0.1, 0.3), value=(0.1, 0.9))
    first, second = (
        RobotEnv(num_envs=4, episode_seconds=1.0, switches=(switch,)) for _ in range(2)
    )
    first.reset(seed=3)
    second.reset(seed=4)
    still = np.zeros((4, 2), dtype=np.float32)
    first.step(still)
    second.load_state_dict(first.state_dict())
    for _ in range(30):
        a, b = first.step(still), second.step(still)
        np.testing.assert_array_equal(a[0], b[0])
        np.testing.assert_array_equal(a[-1]["teacher"], b[-1]["teacher"])


def test_a_switch_of_what_a_task_does_not_have_is_refused():
    with pytest.raises(SwitchError, match="motor_strength"):
        Switch(quantity="gravity", time=(0, 1), value=(0, 1))


def recorded(kind, ticks=24):
    """A student and what it lived through on a balancer, both small."""
    env = RobotEnv(num_envs=4, episode_seconds=1.0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        student = make_student(StudentConfig(kind=kind, hidden=(8,)), env.contract)
        module = PredictiveStudent(student, 2)
    ppo = PPO(PPOConfig(num_envs=4, hidden=(8,), critic_hidden=(8,)), env, 1)
    source = RolloutSource(env, ticks, hidden_size=student.state_size)
    source.start(1)

    def act(groups, state, reset):
        said, state = student(groups["student"][None], state, reset[None])
        action = said.sample(ppo.generator)
        return action[0].detach(), said.log_prob(action)[0].detach(), state.detach()

    batch = source.collect(act)
    student.normaliser.update(batch.observations["student"])
    return module, batch


@pytest.mark.parametrize("kind", KINDS)
def test_adaptation_lowers_its_loss_and_leaves_the_start_alone(kind):
    module, batch = recorded(kind)
    teacher = Gaussian(batch.action * 0.5, torch.full_like(batch.action, 0.3))
    losses = {
        "prediction": (module, lambda m: prediction_loss(m, batch), 0.05),
        "policy": (module.student, lambda m: policy_loss(m, batch, teacher), 0.01),
    }
    for start, loss, rate in losses.values():
        kept = copy.deepcopy(start.state_dict())
        adapted, again = (adapt(start, loss, steps=5, rate=rate) for _ in range(2))
        assert float(loss(adapted).detach()) < float(loss(start).detach())
        for name, value in start.state_dict().items():
            assert torch.equal(value, kept[name])
            assert torch.equal(adapted.state_dict()[name], again.state_dict()[name])


@pytest.mark.parametrize("rate", [1e2, 1e30], ids=["worse than before", "not finite"])
def test_steps_too_large_for_what_was_lived_through_are_taken_back(rate):
    module, batch = recorded("mlp")
    adapted = adapt(module, lambda m: prediction_loss(m, batch), steps=5, rate=rate)
    assert adapted is not module
    for name, value in module.state_dict().items():
        assert torch.equal(adapted.state_dict()[name], value)


def test_prediction_moves_the_layers_that_the_policy_acts_by():
    module, batch = recorded("mlp")
    adapted = adapt(module, lambda m: prediction_loss(m, batch), steps=5, rate=0.05)
    before, after = module.student.layers[0].weight, adapted.student.layers[0].weight
    assert not torch.equal(before, after)


def test_a_student_without_inner_layers_cannot_share_them_with_prediction():
    student = make_student(StudentConfig(hidden=()), Interface.plain(3, 1))
    with pytest.raises(ValueError, match="no inner layer"):
        PredictiveStudent(student, 1)


def test_a_student_that_is_frozen_cannot_be_adapted():
    student = make_student(StudentConfig(hidden=(8,)), Interface.plain(3, 1))
    student.requires_grad_(False)
    with pytest.raises(ValueError, match=r"call student\.requires_grad_\(True\) before"):
        PredictiveStudent(student, 1)


def test_first_order_maml_brings_the_policy_after_steps_by_prediction_nearer_its_teacher():
    module, batch = recorded("mlp")
    teacher = Gaussian(batch.action * 0.5, torch.full_like(batch.action, 0.3))

    def inner(m):
        return prediction_loss(m, batch)

    def outer(m):
        return policy_loss(m.student, batch, teacher)

    learner = MetaLearner(module, MetaConfig(inner_steps=5, inner_rate=0.05, outer_rate=3e-3))
    before = float(outer(learner.adapt(inner)).detach())
    for _ in range(30):
        learner.update([(inner, outer)])
    assert float(outer(learner.adapt(inner)).detach()) < 0.8 * before


def wave(generator):
    """A robot whose right action is a sine of unknown phase: seen at ten places, asked at fifty."""
    phase = torch.rand((), generator=generator) * math.pi

    def loss(n):
        x = torch.rand(n, 1, 1, generator=generator) * 6.0 - 3.0
        right = torch.sin(x + phase)

        def of(student):
            said, _ = student(x, student.initial_state(1), torch.zeros(n, 1, dtype=torch.bool))
            return ((said.mode() - right) ** 2).mean()

        return of

    return loss(10), loss(50)


@pytest.mark.parametrize(("kind", "rate"), [("reptile", 0.3), ("fomaml", 3e-3)])
def test_a_meta_learnt_start_adapts_better_than_one_that_only_knows_the_average(kind, rate):
    config = MetaConfig(kind=kind, inner_steps=5, inner_rate=0.05, outer_rate=rate)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        student = make_student(
            StudentConfig(hidden=(32, 32), activation="tanh"), Interface.plain(1, 1)
        )
    joint = copy.deepcopy(student)
    generator = torch.Generator().manual_seed(0)
    learner = MetaLearner(student, config)
    optimiser = torch.optim.Adam(joint.parameters(), lr=3e-3)
    for _ in range(300):
        situations = [wave(generator) for _ in range(4)]
        learner.update(situations)
        optimiser.zero_grad()
        sum(outer(joint) for _, outer in situations).backward()
        optimiser.step()
    fresh = torch.Generator().manual_seed(1)
    after = {"meta": 0.0, "joint": 0.0}
    for _ in range(40):
        inner, outer = wave(fresh)
        for name, start in (("meta", student), ("joint", joint)):
            after[name] += float(outer(adapt(start, inner, steps=5, rate=0.05)).detach()) / 40
    assert after["meta"] < 0.85 * after["joint"]


def wheel(own):
    """A student with a head, and the observations and actions of two robots that it lived with."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        student = make_student(StudentConfig(hidden=(16,)), Interface.plain(2, 1))
        start = PredictiveStudent(student, 1)
    generator = torch.Generator().manual_seed(1)
    return start, [torch.randn(own, 2, generator=generator) for _ in range(40)]


def test_an_adapting_policy_acts_as_its_start_until_it_has_lived_through_a_window():
    start, seen = wheel(2)
    actor = AdaptingActor(start, MetaConfig(inner_rate=0.5), window=10, every=5)
    usual = actor_of(start.student)
    state, reset = torch.zeros(2, 0), torch.ones(2, dtype=torch.bool)
    differs = []
    for observation in seen:
        groups = {"student": observation}
        action, _, _ = actor(groups, state, reset)
        differs.append(not torch.allclose(action, usual(groups, state, reset)[0]))
        reset = torch.zeros(2, dtype=torch.bool)
    assert differs == [False] * 10 + [True] * 30


def test_an_adapting_policy_is_what_steps_on_its_own_last_window_make_of_the_start():
    start, seen = wheel(2)
    kept = copy.deepcopy(start.state_dict())
    config = MetaConfig(inner_steps=3, inner_rate=0.2)
    actor = AdaptingActor(start, config, window=10, every=5)
    state, reset = torch.zeros(2, 0), torch.ones(2, dtype=torch.bool)
    actions = []
    for observation in seen[:23]:
        actions.append(actor({"student": observation}, state, reset)[0])
        reset = torch.zeros(2, dtype=torch.bool)
    lived, done = torch.stack(seen[10:21]), torch.stack(actions[10:20])  # adapted last at tick 20
    for robot in range(2):
        own = slice(robot, robot + 1)
        expected = adapt(
            start, lambda m, own=own: lived_loss(m, lived[:, own], done[:, own]), steps=3, rate=0.2
        )
        said = actor_of(expected.student)({"student": seen[22][own]}, state[own], reset[own])[0]
        torch.testing.assert_close(actions[22][own], said)
    for name, value in start.state_dict().items():
        assert torch.equal(value, kept[name])


def test_new_episodes_begin_with_the_start_again():
    start, seen = wheel(2)
    actor = AdaptingActor(start, MetaConfig(inner_rate=0.5), window=5, every=5)
    state, reset = torch.zeros(2, 0), torch.ones(2, dtype=torch.bool)
    first, again = (
        [
            actor({"student": observation}, state, reset if tick == 0 else ~reset)[0]
            for tick, observation in enumerate(seen[:20])
        ]
        for _ in range(2)
    )
    torch.testing.assert_close(torch.stack(first), torch.stack(again), rtol=0, atol=0)


def test_a_student_that_remembers_is_not_adapted_by_steps():
    student = make_student(StudentConfig(kind="gru", hidden=(4,)), Interface.plain(2, 1))
    with pytest.raises(ValueError, match="remembers already"):
        AdaptingActor(PredictiveStudent(student, 1), MetaConfig(), window=5, every=5)
