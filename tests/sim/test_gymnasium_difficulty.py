"""Gymnasium's tasks made harder: difficulty, switches, and what the student does not see."""

import numpy as np
import pytest
from retort.hardware.errors import RetortError
from retort.sim.gymnasium_tasks import (
    Difficulty,
    GymnasiumTaskEnv,
    StudentView,
    Switch,
    make_task,
    random_deviation,
)

from .gymnasium_envs import TOLERANCE, random_actions

pytestmark = pytest.mark.usefixtures("quiet")


def test_level_zero_of_every_axis_is_gymnasiums_task():
    plain = GymnasiumTaskEnv("Walker2d", 4, max_episode_steps=30)
    eased = GymnasiumTaskEnv("Walker2d", 4, max_episode_steps=30, difficulty=Difficulty())
    plain.reset(seed=0)
    eased.reset(seed=0)
    start = plain.simulations.qpos.copy(), plain.simulations.qvel.copy()
    for env in (plain, eased):
        env.set_state(*start)
    for tick in range(25):
        actions = random_actions(plain, tick)
        reward, failed = plain.advance(actions)
        eased_reward, eased_failed = eased.advance(actions)
        np.testing.assert_allclose(eased_reward, reward, rtol=0, atol=TOLERANCE)
        np.testing.assert_array_equal(eased_failed, failed)
        np.testing.assert_allclose(eased.observe()[0], plain.observe()[0], rtol=0, atol=TOLERANCE)


def test_randomisation_is_drawn_from_nominal_and_within_its_range():
    env = GymnasiumTaskEnv("Hopper", 64, difficulty=Difficulty(mass=0.3), level=(1, 0, 0, 0))
    for seed in range(5):
        env.reset(seed=seed)
    fields, nominal = env.simulations.fields, env.simulations.nominal
    share = fields["body_mass"][:, 1:] / nominal["body_mass"][1:]
    assert share.min() >= 0.7
    assert share.max() <= 1.3
    assert share.std() > 0.1
    friction = fields["geom_friction"][:, :, 0] / nominal["geom_friction"][:, 0]
    assert (friction.max(axis=1) - friction.min(axis=1) < 1e-12).all()
    assert friction.min() >= 0.5
    assert friction.max() <= 1.5
    subtree = env.simulations.batch.expanded("body_subtreemass")
    np.testing.assert_allclose(subtree[:, 0], fields["body_mass"].sum(axis=1))


def test_an_axis_changes_nothing_that_belongs_to_another():
    quiet = {"randomisation": "body_mass", "latency": "actuator_delay"}
    for number, axis in enumerate(("randomisation", "sensing", "latency", "pushes")):
        level = tuple(float(i == number) for i in range(4))
        env = GymnasiumTaskEnv("Hopper", 32, difficulty=Difficulty(), level=level)
        env.reset(seed=0)
        for owner, field in quiet.items():
            values = env.simulations.fields[field]
            differs = not np.allclose(values, env.simulations.nominal[field])
            assert differs == (owner == axis)
        student, teacher = env.observe()
        noisy = not np.array_equal(student, teacher[:, : student.shape[1]])
        assert noisy == (axis == "sensing")


def test_latency_holds_torque_back_by_whole_physics_steps():
    latency = 0.008  # one control step of the hopper, four physics steps
    env = GymnasiumTaskEnv("Hopper", 32, difficulty=Difficulty(latency=latency), level=(0, 0, 1, 0))
    env.reset(seed=0)
    delay = env.simulations.fields["actuator_delay"][:, 0]
    assert set(np.rint(delay / 0.002).astype(int)) == {0, 1, 2, 3, 4}
    free = GymnasiumTaskEnv("Hopper", 32)
    free.reset(seed=0)
    free.set_state(env.simulations.qpos, env.simulations.qvel)
    for current in (env, free):
        current.advance(np.ones((32, 3), dtype=np.float32))
    change = np.abs(env.simulations.qvel - free.simulations.qvel).max(axis=1)
    assert (change[delay == 0] < TOLERANCE).all()
    assert (change[delay > 0] > 1e-3).all()


def test_a_push_changes_speed_as_its_impulse_says_and_is_over_after_one_step():
    difficulty = Difficulty(push_speed=0.5, push_interval=(0.1, 0.2))
    env = GymnasiumTaskEnv("HalfCheetah", 8, difficulty=difficulty, level=(0, 0, 0, 1))
    _, info = env.reset(seed=0)
    env.disturbances.next_push[:] = [2, *[10_000] * 7]
    env.disturbances.push_angle[:] = 0.0
    still = np.zeros((8, 6), dtype=np.float32)
    env.set_state(
        np.tile(env.simulations.qpos[:1], (8, 1)), np.tile(env.simulations.qvel[:1], (8, 1))
    )
    assert np.any(info["teacher"][:, -2:] == 0)
    for _ in range(3):
        env.advance(still)
    x = env.simulations.qvel[:, 0]
    assert x[0] - x[1] > 0.1
    assert np.ptp(x[1:]) == 0
    assert (env.simulations.wrench == 0).all()


def test_pushes_may_come_at_even_intervals():
    difficulty = Difficulty(push_interval=(0.1, 0.1))
    env = GymnasiumTaskEnv("HalfCheetah", 2, difficulty=difficulty, level=(0, 0, 0, 1))
    env.reset(seed=0)
    ticks = round(0.1 / env.period)
    for tick in range(3 * ticks):
        env.step(np.zeros((2, 6), dtype=np.float32))
        np.testing.assert_array_equal(env.disturbances.next_push, (tick // ticks + 1) * ticks)


@pytest.mark.parametrize("quantity", ["payload", "motor_strength", "friction"])
def test_a_switch_happens_at_its_time_and_lasts_until_the_episode_ends(quantity):
    switch = Switch(quantity=quantity, time=(0.25, 0.25), value=(0.4, 0.4))
    env = GymnasiumTaskEnv("HalfCheetah", 4, max_episode_steps=10, switches=(switch,))
    env.reset(seed=0)
    field = {
        "payload": lambda f: f["body_mass"][:, 1],
        "motor_strength": lambda f: f["actuator_gainprm"][:, 0, 0],
        "friction": lambda f: f["geom_friction"][:, 0, 0],
    }[quantity]
    nominal = field({k: v[None] for k, v in env.simulations.nominal.items()})[0]
    switched = nominal + 0.4 * 14.0 if quantity == "payload" else nominal * 0.4
    for tick in range(10):
        *_, info = env.step(random_actions(env, tick))
        assert info["switched"].all() == (tick == 5)
        assert info["switched"].any() == (tick == 5)
        expected = switched if 5 <= tick < 9 else nominal
        np.testing.assert_allclose(field(env.simulations.fields), expected)


def test_the_teacher_sees_the_dynamics_and_the_student_does_not():
    switch = Switch(quantity="motor_strength", time=(0.0, 0.0), value=(0.5, 0.5))
    env = GymnasiumTaskEnv("Swimmer", 2, switches=(switch,))
    env.reset(seed=0)
    *_, info = env.step(np.zeros((2, 2), dtype=np.float32))
    assert info["student"].shape == (2, 8)
    np.testing.assert_array_equal(info["teacher"][:, :8], info["student"])
    np.testing.assert_array_equal(info["teacher"][:, -2:], -0.5)
    chosen = GymnasiumTaskEnv("Swimmer", 2, switches=(switch,), observation="teacher")
    observation, info = chosen.reset(seed=0)
    np.testing.assert_array_equal(observation, info["teacher"])
    assert chosen.single_observation_space.shape == (info["teacher"].shape[1],)


def test_masked_velocities_are_missing_and_nothing_else():
    env = GymnasiumTaskEnv("Reacher", 3, student=StudentView(mask=("velocities",)))
    _, info = env.reset(seed=0)
    np.testing.assert_array_equal(info["student"], np.delete(info["teacher"], [6, 7], axis=1))
    one = GymnasiumTaskEnv("Reacher", 3, student=StudentView(mask=("target", "distance")))
    assert one.groups == {"student": 6, "teacher": 10}


def both_views(level):
    """Ticks of what is seen with and without what fades, by student and teacher."""
    seen = []
    for fade in (True, False):
        view, axes = StudentView(mask=("velocities",), last_action=True, fade=fade), 4 + fade
        env = GymnasiumTaskEnv(
            "HalfCheetah",
            40,
            max_episode_steps=4,
            difficulty=Difficulty(noise=0.0),
            student=view,
            level=tuple(level if axis == 4 else 0.5 for axis in range(axes)),
            autoreset=False,
        )
        assert env.axes == ("randomisation", "sensing", "latency", "pushes", "removal")[:axes]
        _, info = env.reset(seed=0)
        rows = [info]
        rows += [env.step(random_actions(env, tick))[-1] for tick in range(3)]
        assert info["student"].shape == (40, env.groups["student"])
        seen.append([np.stack([row[group] for row in rows]) for group in ("student", "teacher")])
    return seen


def test_at_level_one_of_removal_a_student_sees_its_view_and_no_more():
    (faded, _), (view, _) = both_views(1.0)
    np.testing.assert_array_equal(faded[:, :, : view.shape[2]], view)
    np.testing.assert_array_equal(faded[:, :, view.shape[2] :], 0.0)


def test_at_level_zero_of_removal_a_student_sees_what_the_teacher_does():
    (faded, teacher), (view, _) = both_views(0.0)
    np.testing.assert_array_equal(faded[:, :, view.shape[2] :], teacher[:, :, 8:17])


def test_between_them_what_is_missing_is_missing_for_the_whole_episode():
    (faded, teacher), (view, _) = both_views(0.3)
    there = faded[:, :, view.shape[2] :] == teacher[:, :, 8:17]
    assert (there == there[0]).all()
    np.testing.assert_array_equal(faded[:, :, view.shape[2] :][~there], 0.0)
    assert there[0].mean() == pytest.approx(0.7, abs=0.1)
    assert 0.0 < there[0].mean(axis=0).min() < there[0].mean(axis=0).max() < 1.0


def test_removal_is_an_axis_without_any_other_difficulty():
    view = StudentView(mask=("velocities",), fade=True)
    env = GymnasiumTaskEnv("Hopper", 4, student=view, level=1.0)
    plain = GymnasiumTaskEnv("Hopper", 4, student=StudentView(mask=("velocities",)))
    assert env.axes == ("removal",)
    for seed in range(3):
        (_, faded), (_, info) = env.reset(seed=seed), plain.reset(seed=seed)
        np.testing.assert_array_equal(faded["student"][:, :5], info["student"])


@pytest.mark.parametrize("actions", ["gymnasium", "clipped", "normalised"])
def test_who_sees_the_last_action_sees_what_motors_were_told(actions):
    view = StudentView(noise=0.1, last_action=True)
    env = GymnasiumTaskEnv("Humanoid", 3, max_episode_steps=3, student=view, actions=actions)
    assert env.groups["student"] == env.groups["teacher"] + 17
    _, info = env.reset(seed=0)
    np.testing.assert_array_equal(info["student"][:, -17:], 0.0)
    high = 1.0 if actions == "normalised" else 0.4
    for tick in range(1, 4):
        told = np.random.default_rng(tick).uniform(-2.0, 2.0, (3, 17))
        *_, info = env.step((high * told).astype(np.float32))
        expected = np.clip(told, -1.0, 1.0)
        if tick < 3:
            np.testing.assert_allclose(info["student"][:, -17:], expected, atol=1e-6)
    np.testing.assert_allclose(info["final_student"][:, -17:], expected, atol=1e-6)
    np.testing.assert_array_equal(info["student"][:, -17:], 0.0)  # nobody told the next episode


def test_noise_has_the_deviation_it_says():
    std = tuple(np.linspace(0.5, 2.0, 17))
    env = GymnasiumTaskEnv("HalfCheetah", 2000, student=StudentView(noise=0.2, std=std))
    _, info = env.reset(seed=0)
    noise = (info["student"] - info["teacher"]).std(axis=0)
    np.testing.assert_allclose(noise, 0.2 * np.array(std), rtol=0.1)
    assert random_deviation(make_task("Swimmer")) == random_deviation(make_task("Swimmer"))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: GymnasiumTaskEnv("Cheetah"), "HalfCheetah"),
        (lambda: GymnasiumTaskEnv("Hopper", ctrl_weight=1.0), "ctrl_cost_weight"),
        (lambda: GymnasiumTaskEnv("Hopper", xml_file="/nowhere.xml"), "nowhere"),
        (lambda: GymnasiumTaskEnv("Hopper", student=StudentView(mask=("speed",))), "qvel"),
        (lambda: GymnasiumTaskEnv("Hopper", student=StudentView(noise=1, std=(1.0,))), "11"),
        (lambda: StudentView(fade=True), "name what is to go at last"),
        (lambda: Switch(quantity="gravity", time=(0, 1), value=(0, 1)), "payload"),
        (
            lambda: GymnasiumTaskEnv(
                "Swimmer", switches=(Switch(quantity="friction", time=(0, 1), value=(0, 1)),)
            ),
            "no contacts",
        ),
    ],
)
def test_mistakes_are_named_with_what_there_is(make, says):
    with pytest.raises(RetortError, match=says):
        make()
