"""Gymnasium's tasks: equal to Gymnasium's own, reproducible, and harder when asked to be."""

import gymnasium
import mujoco
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from retort.hardware.errors import RetortError
from retort.sim import RobotEnv
from retort.sim.gymnasium_tasks import (
    TASKS,
    Difficulty,
    GymnasiumTaskEnv,
    StudentView,
    Switch,
    make_task,
    random_deviation,
)
from retort.sim.interface import LearningEnv
from retort.sim.wrapped import WrapError, WrappedEnv

NAMES = tuple(TASKS)
# What Gymnasium must be told for its environment to be what ours is by default.
WITHOUT_CONTACT_FORCES = {"include_cfrc_ext_in_observation": False, "contact_cost_weight": 0.0}
TOLERANCE = 1e-9

VARIANTS = [
    (
        "HalfCheetah",
        {
            "forward_reward_weight": 1.7,
            "ctrl_cost_weight": 0.3,
            "reset_noise_scale": 0.3,
            "exclude_current_positions_from_observation": False,
            "frame_skip": 3,
        },
    ),
    (
        "Hopper",
        {
            "forward_reward_weight": 0.5,
            "ctrl_cost_weight": 0.2,
            "healthy_reward": 3.0,
            "healthy_state_range": (-2.0, 1.5),
            "healthy_z_range": (1.1, 1.26),
            "healthy_angle_range": (-0.05, 0.1),
            "reset_noise_scale": 0.02,
            "exclude_current_positions_from_observation": False,
        },
    ),
    ("Hopper", {"terminate_when_unhealthy": False, "frame_skip": 2}),
    (
        "Walker2d",
        {
            "forward_reward_weight": 2.0,
            "ctrl_cost_weight": 0.1,
            "healthy_reward": 0.5,
            "terminate_when_unhealthy": False,
            "healthy_z_range": (1.1, 1.3),
            "healthy_angle_range": (-0.1, 0.2),
            "exclude_current_positions_from_observation": False,
            "reset_noise_scale": 0.03,
        },
    ),
    (
        "Ant",
        {
            "include_cfrc_ext_in_observation": True,
            "contact_cost_weight": 5e-2,
            "contact_force_range": (-0.4, 0.7),
            "main_body": "front_left_leg",
            "healthy_z_range": (0.4, 0.9),
            "reset_noise_scale": 0.2,
            "exclude_current_positions_from_observation": False,
            "forward_reward_weight": 2.0,
            "ctrl_cost_weight": 0.1,
            "healthy_reward": 0.3,
        },
    ),
    ("Ant", {"include_cfrc_ext_in_observation": False, "contact_cost_weight": 5e-4}),
    (
        "Humanoid",
        {
            "include_cfrc_ext_in_observation": True,
            "contact_cost_weight": 5e-5,
            "contact_cost_range": (0.0, 0.5),
            "exclude_current_positions_from_observation": False,
            "healthy_z_range": (1.2, 1.5),
            "terminate_when_unhealthy": False,
            "forward_reward_weight": 0.7,
            "ctrl_cost_weight": 0.4,
            "healthy_reward": 1.5,
            "reset_noise_scale": 0.05,
            "frame_skip": 3,
        },
    ),
    (
        "Humanoid",
        {
            **WITHOUT_CONTACT_FORCES,
            "include_cinert_in_observation": False,
            "include_cvel_in_observation": False,
            "include_qfrc_actuator_in_observation": False,
        },
    ),
    ("InvertedPendulum", {"reset_noise_scale": 0.1, "frame_skip": 4}),
    ("InvertedDoublePendulum", {"healthy_reward": 4.0, "reset_noise_scale": 0.02}),
    ("Reacher", {"reward_dist_weight": 3.0, "reward_control_weight": 0.2, "frame_skip": 4}),
    (
        "Swimmer",
        {
            "forward_reward_weight": 3.0,
            "ctrl_cost_weight": 0.2,
            "reset_noise_scale": 0.5,
            "exclude_current_positions_from_observation": False,
            "frame_skip": 2,
        },
    ),
]


@pytest.fixture(autouse=True)
def quiet():
    """Gymnasium's environments would print and log what is deprecated in their model files."""
    previous = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda message: None)
    yield
    mujoco.set_mju_user_warning(previous)


def gymnasiums(name, **keywords):
    """Gymnasium's environment, contact forces off unless asked for."""
    if name in ("Ant", "Humanoid"):
        keywords = {**WITHOUT_CONTACT_FORCES, **keywords}
    return gymnasium.make(f"{name}-v5", **keywords)


def restart(env, qpos, qvel):
    """Gymnasium's environment at the start of an episode in a given state."""
    env.reset()
    inner = env.unwrapped
    mujoco.mj_resetData(inner.model, inner.data)
    inner.set_state(qpos, qvel)
    return inner._get_obs()


def random_actions(env, seed):
    rng = np.random.default_rng(seed)
    low, high = env.single_action_space.low, env.single_action_space.high
    return rng.uniform(low, high, env.action_space.shape).astype(np.float32)


@pytest.mark.parametrize("name", NAMES)
def test_a_thousand_steps_equal_gymnasiums_from_the_same_states(name):
    ours = gymnasium.make_vec(f"retort/{name}-v5", num_envs=2)
    theirs = [gymnasiums(name) for _ in range(2)]
    observation, _ = ours.reset(seed=11)
    simulations = ours.unwrapped.simulations
    for i, env in enumerate(theirs):
        start = restart(env, simulations.qpos[i], simulations.qvel[i])
        np.testing.assert_allclose(observation[i], start, rtol=0, atol=TOLERANCE)
    ended = 0
    for tick in range(1000):
        actions = random_actions(ours, tick)
        observation, reward, terminated, truncated, info = ours.step(actions)
        for i, env in enumerate(theirs):
            expected, their_reward, their_terminated, their_truncated, _ = env.step(actions[i])
            over = their_terminated or their_truncated
            seen = info["final_obs"][i] if over else observation[i]
            np.testing.assert_allclose(seen, expected, rtol=0, atol=TOLERANCE)
            assert abs(reward[i] - their_reward) <= TOLERANCE
            assert (terminated[i], truncated[i]) == (their_terminated, their_truncated)
            if over:
                start = restart(env, simulations.qpos[i], simulations.qvel[i])
                np.testing.assert_allclose(observation[i], start, rtol=0, atol=TOLERANCE)
                ended += 1
    assert ended >= 2


@pytest.mark.parametrize(("name", "keywords"), VARIANTS)
def test_the_same_keywords_and_seed_give_gymnasiums_episodes(name, keywords):
    ours = gymnasium.make(f"retort/{name}-v5", max_episode_steps=120, **keywords)
    theirs = gymnasiums(name, max_episode_steps=120, **keywords)
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    observation, _ = ours.reset(seed=5)
    expected, _ = theirs.reset(seed=5)
    np.testing.assert_array_equal(observation, expected)
    ours.action_space.seed(1)
    for _ in range(250):
        action = ours.action_space.sample()
        observation, reward, terminated, truncated, _ = ours.step(action)
        expected, their_reward, *over, _ = theirs.step(action)
        np.testing.assert_allclose(observation, expected, rtol=0, atol=TOLERANCE)
        assert abs(reward - their_reward) <= TOLERANCE
        assert [terminated, truncated] == over
        if terminated or truncated:
            np.testing.assert_array_equal(ours.reset()[0], theirs.reset()[0])


@pytest.mark.filterwarnings("ignore:.*Box:UserWarning")  # infinite spaces are Gymnasium's own
@pytest.mark.parametrize("name", NAMES)
def test_make_passes_gymnasiums_environment_checker(name):
    env = gymnasium.make(f"retort/{name}-v5")
    check_env(env.unwrapped, skip_render_check=True)
    theirs = gymnasiums(name)
    assert env.spec.max_episode_steps == theirs.spec.max_episode_steps
    assert env.spec.reward_threshold == theirs.spec.reward_threshold


@pytest.mark.parametrize("name", NAMES)
def test_vectors_match_their_declared_spaces(name):
    env = gymnasium.make_vec(f"retort/{name}-v5", num_envs=3, dtype="float32")
    observation, info = env.reset(seed=0)
    assert env.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    assert env.observation_space.contains(observation)
    observation, reward, terminated, truncated, info = env.step(random_actions(env, 0))
    assert env.observation_space.contains(observation)
    assert reward.shape == terminated.shape == truncated.shape == (3,)
    sizes = env.unwrapped.groups
    assert info["student"].shape == (3, sizes["student"])
    assert info["teacher"].shape == (3, sizes["teacher"])


@pytest.mark.parametrize(
    "make",
    [
        lambda: RobotEnv(num_envs=2, episode_seconds=0.5),
        lambda: GymnasiumTaskEnv("Hopper", 2, dtype="float32", max_episode_steps=200),
        lambda: hard("Ant", num_envs=2, dtype="float32"),
        lambda: WrappedEnv("CartPole-v1", 2),
        lambda: WrappedEnv("Pendulum-v1", 2),
    ],
)
def test_whatever_simulates_learning_finds_what_it_needs(make):
    env = make()
    assert isinstance(env, LearningEnv)
    _, info = env.reset(seed=0, options={"stagger": True})
    ended = 0
    for _ in range(env.episode_ticks):
        assert env.levels.shape == (2, len(env.axes))
        _, reward, terminated, truncated, info = env.step(env.action_space.sample())
        assert reward.shape == terminated.shape == truncated.shape == (2,)
        for group, size in env.groups.items():
            assert info[group].shape == (2, size)
            assert info[group].dtype == np.float32
        done = terminated | truncated
        assert ("_final_obs" in info) == done.any()
        if done.any():
            assert all(info[f"final_{group}"].shape == info[group].shape for group in env.groups)
            assert info["episode_score"].shape == (2,)
            assert info["episode_levels"].shape == env.levels.shape
            assert (env.elapsed[done] == 0).all()
            ended += 1
    assert ended
    assert env.period > 0


def test_a_picture_is_gymnasiums():
    theirs = gymnasiums("Hopper", render_mode="rgb_array", width=120, height=80)
    ours = gymnasium.make("retort/Hopper-v5", render_mode="rgb_array", width=120, height=80)
    for env in (ours, theirs):
        env.reset(seed=0)
        env.action_space.seed(0)
        for _ in range(5):
            env.step(env.action_space.sample())
    np.testing.assert_array_equal(ours.render(), theirs.render())
    for env in (ours, theirs):
        env.close()


def hard(name="Hopper", **keywords):
    """Everything that can differ and change, switched on."""
    settings = {
        "num_envs": 12,
        "max_episode_steps": 40,
        "difficulty": Difficulty(),
        "level": 1.0,
        "switches": (
            Switch(quantity="payload", time=(0.02, 0.1), value=(0.1, 0.3)),
            Switch(quantity="motor_strength", time=(0.05, 0.1), value=(0.5, 0.8)),
        ),
        "student": StudentView(mask=("velocities",), noise=0.1),
    }
    return GymnasiumTaskEnv(name, **{**settings, **keywords})


def trace(env, ticks):
    seen = []
    for tick in range(ticks):
        observation, reward, terminated, truncated, info = env.step(random_actions(env, tick))
        seen += [observation, info["teacher"], reward, terminated, truncated, env.levels.copy()]
    return seen


def assert_same(first, second):
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def test_one_seed_gives_the_same_bits_at_any_thread_count():
    runs = []
    for threads in (1, 2):
        env = hard(threads=threads)
        env.reset(seed=3, options={"stagger": True})
        runs.append(trace(env, 60))
    assert_same(*runs)
    env.reset(seed=4)
    assert not np.array_equal(runs[0][0], trace(env, 1)[0])


@pytest.mark.parametrize(
    ("name", "keywords"),
    [
        ("Hopper", {}),
        ("Humanoid", {"difficulty": None, "switches": ()}),
        ("Ant", {"include_cfrc_ext_in_observation": True, "num_envs": 3}),
    ],
)
def test_a_saved_state_goes_on_to_the_bit(name, keywords):
    env = hard(name, **keywords)
    env.reset(seed=1, options={"stagger": True})
    trace(env, 15)
    state = env.state_dict()
    expected = trace(env, 50)
    other = hard(name, **keywords)
    other.reset(seed=99)
    other.load_state_dict(state)
    assert_same(trace(other, 50), expected)


def test_observations_are_not_changed_by_later_steps():
    env = GymnasiumTaskEnv("Walker2d", 4, max_episode_steps=5)
    observation, info = env.reset(seed=0)
    kept = [(observation, observation.copy()), (info["teacher"], info["teacher"].copy())]
    for tick in range(12):
        *_, info = env.step(random_actions(env, tick))
        kept += [(value, value.copy()) for value in info.values()]
    for array, copy in kept:
        np.testing.assert_array_equal(array, copy)


def test_staggered_episodes_end_at_different_times_and_keep_their_score():
    env = GymnasiumTaskEnv("HalfCheetah", 64, max_episode_steps=100)
    env.reset(seed=0, options={"stagger": True})
    assert len(np.unique(env.elapsed)) > 5
    assert (env.elapsed % 10 == 0).all()
    whole, total, ended = env.elapsed == 0, np.zeros(64), 0
    for tick in range(100):
        _, reward, terminated, truncated, info = env.step(random_actions(env, tick))
        total += reward
        done = terminated | truncated
        if done.any():
            rows = done & whole
            np.testing.assert_allclose(info["episode_score"][rows] * 100, total[rows])
            assert (info["episode_length"][done] == 100).all()
            ended += rows.sum()
            total[done], whole = 0.0, whole & ~done
    assert ended > 0


def test_without_autoreset_finished_rows_earn_nothing_and_report_how_they_finished():
    env = GymnasiumTaskEnv("Hopper", 8, max_episode_steps=150, autoreset=False)
    env.reset(seed=0)
    over = np.zeros((2, 8), dtype=bool)
    for tick in range(160):
        _, reward, terminated, truncated, _ = env.step(random_actions(env, tick))
        assert (reward[over.any(axis=0)] == 0).all()
        assert (terminated[over[0]]).all()
        over = np.stack([terminated, truncated])
    assert env.finished.all()
    assert terminated.any()


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
    env._next_push[:] = [2, *[10_000] * 7]
    env._push_angle[:] = 0.0
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


def test_noise_has_the_deviation_it_says():
    std = tuple(np.linspace(0.5, 2.0, 17))
    env = GymnasiumTaskEnv("HalfCheetah", 2000, student=StudentView(noise=0.2, std=std))
    _, info = env.reset(seed=0)
    noise = (info["student"] - info["teacher"]).std(axis=0)
    np.testing.assert_allclose(noise, 0.2 * np.array(std), rtol=0.1)
    assert random_deviation(make_task("Swimmer")) == random_deviation(make_task("Swimmer"))


def test_actions_are_clipped_or_scaled_when_asked():
    speed = {}
    for actions, given in (("clipped", 5.0), ("gymnasium", 0.4), ("normalised", 3.0)):
        env = GymnasiumTaskEnv("Humanoid", 1, actions=actions)
        env.reset(seed=0)
        _, reward, *_ = env.step(np.full((1, 17), given, dtype=np.float32))
        speed[actions] = env.simulations.qvel[0].copy(), reward[0]
    for actions in ("clipped", "normalised"):
        np.testing.assert_allclose(speed[actions][0], speed["gymnasium"][0], atol=1e-5)
        np.testing.assert_allclose(speed[actions][1], speed["gymnasium"][1], atol=1e-5)
    assert env.single_action_space.high.max() == 1.0


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: GymnasiumTaskEnv("Cheetah"), "HalfCheetah"),
        (lambda: GymnasiumTaskEnv("Hopper", ctrl_weight=1.0), "ctrl_cost_weight"),
        (lambda: GymnasiumTaskEnv("Hopper", xml_file="/nowhere.xml"), "nowhere"),
        (lambda: GymnasiumTaskEnv("Hopper", student=StudentView(mask=("speed",))), "qvel"),
        (lambda: GymnasiumTaskEnv("Hopper", student=StudentView(noise=1, std=(1.0,))), "11"),
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


def test_any_gymnasium_environment_can_be_learnt_on():
    env = WrappedEnv("CartPole-v1", 8, max_episode_steps=30)
    assert isinstance(env, LearningEnv)
    _, info = env.reset(seed=0, options={"stagger": True})
    assert info["student"].dtype == np.float32
    assert len(np.unique(env.elapsed)) > 1
    total, whole, ended = np.zeros(8), env.elapsed == 0, 0
    rng = np.random.default_rng(0)
    for _ in range(80):
        before = env.elapsed.copy()
        _, reward, terminated, truncated, info = env.step(rng.integers(0, 2, 8))
        total += reward
        done = terminated | truncated
        np.testing.assert_array_equal(env.elapsed, np.where(done, 0, before + 1))
        if done.any():
            assert (np.abs(info["student"][done]) <= 0.05).all()
            assert (info["final_student"][done] != info["student"][done]).any()
            rows = done & whole
            np.testing.assert_allclose(info["episode_score"][rows] * 30, total[rows])
            ended += rows.sum()
            total[done], whole = 0.0, whole | done
    assert ended > 0


def test_a_wrapped_environment_repeats_itself_and_goes_on_from_a_loaded_seed():
    env, other = WrappedEnv("Pendulum-v1", 2), WrappedEnv("Pendulum-v1", 2)
    first, _ = env.reset(seed=4)
    assert_same([first], [other.reset(seed=4)[0]])
    state = env.state_dict()
    expected, _ = env.reset()
    other.reset(seed=77)
    other.load_state_dict(state)
    assert_same([expected], [other.reset()[0]])
    assert not env.resumable


def test_without_autoreset_a_wrapped_environment_scores_one_episode_each():
    env = WrappedEnv("CartPole-v1", 6, max_episode_steps=40, autoreset=False)
    env.reset(seed=0)
    for _ in range(60):
        _, _, terminated, truncated, _ = env.step(np.ones(6, dtype=np.int64))
    assert terminated.all()
    assert not truncated.any()
    assert (env.score < 15).all()


def test_what_cannot_be_wrapped_says_why():
    with pytest.raises(WrapError, match="FlattenObservation"):
        WrappedEnv("FrozenLake-v1", 2)
    with pytest.raises(WrapError, match="DISABLED"):
        WrappedEnv(lambda: gymnasium.make_vec("CartPole-v1", 2, vectorization_mode="sync"))
