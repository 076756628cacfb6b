"""The environment: Gymnasium's contracts, reproducibility, episode ends, randomisation."""

import dataclasses
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
import retort.sim
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from retort.controller import program
from retort.hardware import load_robot
from retort.hardware.robot import Ramp
from retort.hardware.state import RobotState
from retort.sim import RobotEnv, SimulationConfig, TaskError, load_task, make_contract


def run(env, ticks, seed, action_seed=0):
    """Random actions; everything observed, as one list of arrays."""
    rng = np.random.default_rng(action_seed)
    observation, info = env.reset(seed=seed)
    seen = [observation.copy(), info["teacher"].copy()]
    for _ in range(ticks):
        actions = rng.uniform(-1, 1, env.action_space.shape).astype(np.float32)
        observation, reward, terminated, truncated, info = env.step(actions)
        seen += [observation.copy(), info["teacher"].copy(), reward, terminated, truncated]
    return seen


@pytest.mark.parametrize("name", ["Balancer", "Reach"])
def test_make_passes_gymnasiums_environment_checker(name):
    env = gymnasium.make(f"retort/{name}-v0")
    check_env(env.unwrapped, skip_render_check=True)


@pytest.mark.filterwarnings("ignore:.*Box:UserWarning")  # infinite spaces are Gymnasium's own
@pytest.mark.parametrize("id", ["retort/Balancer-v0", "retort/Hopper-v5"])
def test_next_step_autoreset_is_what_gymnasiums_wrappers_want(id):
    made = gymnasium.make_vec(id, num_envs=16, autoreset="next_step")
    env = gymnasium.wrappers.vector.NormalizeObservation(made)
    env.reset(seed=0)
    env.action_space.seed(0)
    inner, ended = env.unwrapped, np.zeros(16, dtype=bool)
    began, scores = 0, np.zeros(16)
    for _ in range(150):
        _, reward, terminated, truncated, info = env.step(env.action_space.sample())
        assert not (terminated | truncated)[ended].any()  # who begins anew has nothing to report
        assert (reward[ended] == 0).all()
        assert (inner.elapsed[ended] == 0).all()
        assert (inner.elapsed[~ended] > 0).all()
        began += ended.sum()
        scores = np.where(ended, 0.0, scores + reward)
        ended = terminated | truncated
        if ended.any():
            score = info["episode_score"][ended] * inner.episode_ticks
            np.testing.assert_allclose(score, scores[ended], rtol=1e-5)
            np.testing.assert_array_equal(info["final_obs"][ended], info["student"][ended])
    assert began > 16


def test_next_step_autoreset_goes_on_to_the_bit():
    def made():
        return RobotEnv(num_envs=8, autoreset="next_step", episode_seconds=0.1)

    def steps(env):
        rng = np.random.default_rng(3)
        return [env.step(rng.uniform(-1, 1, (8, 2)))[:4] for _ in range(25)]

    first, second = made(), made()
    first.reset(seed=1)
    second.reset(seed=2)
    for _ in range(10):  # all of them have just ended
        first.step(np.zeros((8, 2)))
    assert first.finished.all()
    second.load_state_dict(first.state_dict())
    for one, other in zip(steps(first), steps(second), strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_make_vec_gives_batches_that_match_the_declared_spaces():
    env = gymnasium.make_vec("retort/Balancer-v0", num_envs=5)
    observation, info = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    assert env.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
    assert env.observation_space.contains(observation)
    assert reward.shape == terminated.shape == truncated.shape == (5,)
    assert terminated.dtype == truncated.dtype == bool
    assert info["student"].shape == (5, env.unwrapped.contract.observation_size)
    assert info["teacher"].shape == (5, env.unwrapped.teacher_size)


def test_the_teachers_observation_is_chosen_by_keyword():
    env = RobotEnv(num_envs=2, observation="teacher")
    observation, info = env.reset(seed=0)
    np.testing.assert_array_equal(observation, info["teacher"])
    assert env.single_observation_space.shape == (env.teacher_size,)


def test_one_seed_gives_the_same_bits_at_any_thread_count():
    first = run(RobotEnv(num_envs=16, simulation=SimulationConfig(threads=1)), 80, seed=3)
    second = run(RobotEnv(num_envs=16, simulation=SimulationConfig(threads=2)), 80, seed=3)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def test_another_seed_gives_other_episodes():
    first, second = (run(RobotEnv(num_envs=4), 5, seed=seed) for seed in (3, 4))
    assert not np.array_equal(first[0], second[0])


def test_a_saved_state_goes_on_to_the_bit():
    env = RobotEnv(num_envs=16, episode_seconds=0.5)
    run(env, 30, seed=1)
    state = env.state_dict()
    actions = np.random.default_rng(5).uniform(-1, 1, (60, 16, 2)).astype(np.float32)
    expected = [env.step(a) for a in actions]
    other = RobotEnv(num_envs=16, episode_seconds=0.5)
    other.reset(seed=99)
    other.load_state_dict(state)
    for a, (observation, reward, *_) in zip(actions, expected, strict=True):
        got, got_reward, *_ = other.step(a)
        np.testing.assert_array_equal(got, observation)
        np.testing.assert_array_equal(got_reward, reward)


def test_a_state_saved_just_before_a_push_goes_on_to_the_bit():
    env, other = (RobotEnv(num_envs=64, event_rate=20.0) for _ in range(2))
    run(env, 57, seed=1)
    env.events.next_push[:32] = env.elapsed[:32]
    other.reset(seed=99)
    other.load_state_dict(env.state_dict())
    actions = np.zeros((64, 2), dtype=np.float32)
    for _ in range(2):
        np.testing.assert_array_equal(other.step(actions)[0], env.step(actions)[0])
        np.testing.assert_array_equal(other.physics.qvel, env.physics.qvel)


def test_a_state_of_before_places_were_kept_still_loads():
    env, other = (RobotEnv(num_envs=4) for _ in range(2))
    run(env, 5, seed=1)
    old = {k: v for k, v in env.state_dict().items() if not k.endswith(("site_xpos", "xipos"))}
    assert len(old) == len(env.state_dict()) - 2
    other.reset(seed=99)
    other.load_state_dict(old)
    np.testing.assert_array_equal(other.physics.qpos, env.physics.qpos)
    other.step(np.zeros((4, 2), dtype=np.float32))


def test_observations_are_not_changed_by_later_steps():
    env = RobotEnv(num_envs=8, episode_seconds=0.05)
    observation, info = env.reset(seed=0)
    kept = [(observation, observation.copy()), (info["teacher"], info["teacher"].copy())]
    for _ in range(20):
        *_, info = env.step(np.ones((8, 2), dtype=np.float32))
        kept += [(info[k], info[k].copy()) for k in ("student", "teacher", "command")]
        if "final_obs" in info:
            kept.append((info["final_obs"], info["final_obs"].copy()))
    for array, copy in kept:
        np.testing.assert_array_equal(array, copy)


def test_a_time_out_truncates_and_shows_the_final_observation():
    env = RobotEnv(num_envs=3, level=0.0, episode_seconds=0.1)
    env.reset(seed=0)
    for tick in range(1, 11):
        _, _, terminated, truncated, info = env.step(np.zeros((3, 2), dtype=np.float32))
        assert truncated.all() == (tick == 10)
        assert not terminated.any()
    assert info["_final_obs"].all()
    assert not np.array_equal(info["final_obs"], info["student"])
    # A new episode fills its history with its first frame.
    frames = info["student"].reshape(3, env.contract.history, -1)
    assert (frames == frames[:, :1]).all()


def test_a_fall_terminates_with_no_reward():
    env = RobotEnv(num_envs=8, level=0.0)
    env.reset(seed=0)
    fallen = np.zeros(8, dtype=bool)
    for _ in range(200):
        _, reward, terminated, truncated, _ = env.step(np.ones((8, 2), dtype=np.float32))
        assert (reward[terminated] == 0).all()
        assert not (terminated & truncated).any()
        fallen |= terminated
    assert fallen.all()


def test_reward_is_tracking_between_zero_and_one():
    task = load_task("balancer")
    env = RobotEnv(num_envs=256)
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(50):
        _, reward, _, _, _ = env.step(rng.uniform(-1, 1, (256, 2)).astype(np.float32))
        assert (reward >= 0).all()
        assert (reward <= 1).all()
    measured = task.measure(env.physics, slice(None))
    standing = measured._replace(
        forward_speed=np.zeros(1, dtype=np.float32), turn_rate=np.zeros(1, dtype=np.float32)
    )
    assert task.reward(standing, np.array([[0.5, 2.0]], dtype=np.float32)) < 0.05
    assert task.reward(standing, np.zeros((1, 2), dtype=np.float32)) == 1.0


def test_without_autoreset_the_episodes_do_not_depend_on_the_policy():
    """Randomness must be the same whatever the actions, or two policies cannot be compared."""
    commands = []
    for scale in (0.0, 1.0):
        env = RobotEnv(num_envs=8, autoreset=False)
        env.reset(seed=7)
        trace = []
        for _ in range(300):
            *_, info = env.step(np.full((8, 2), scale, dtype=np.float32))
            trace.append((info["command"].copy(), env.events.next_push.copy()))
        commands.append(trace)
    for (a, push_a), (b, push_b) in zip(*commands, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(push_a, push_b)


def test_randomisation_starts_from_nominal_at_every_reset():
    env = RobotEnv(num_envs=64, level=1.0)
    for seed in range(30):
        env.reset(seed=seed)
    fields = env.physics.fields
    payload = env.physics.model.body("payload").id
    assert fields["body_mass"][:, payload].max() <= 0.1 + 1e-9
    assert (fields["body_mass"][:, 1] == env.physics.nominal["body_mass"][1]).all()
    wheel = env.physics.model.geom("left_wheel").id
    friction = fields["geom_friction"][:, wheel, 0]
    assert 0.4 <= friction.min() < 0.5
    assert 1.1 < friction.max() <= 1.2
    voltage = fields["actuator_gainprm"][:, 0, 7]
    assert voltage.min() >= 5 * 0.88
    assert voltage.max() <= 5 * 1.08
    assert (np.abs(env.physics.strength - 1) <= 0.2).all()
    delay = fields["actuator_delay"][:, 0]
    assert delay.min() >= 0.005 - 1e-9
    assert delay.max() <= 0.03 + 1e-9


def test_level_zero_is_nominal():
    env = RobotEnv(num_envs=16, level=0.0)
    env.reset(seed=1)
    for name in ("geom_friction", "actuator_gainprm", "site_quat"):
        nominal = np.broadcast_to(env.physics.nominal[name], env.physics.fields[name].shape)
        np.testing.assert_allclose(env.physics.fields[name], nominal)
    assert (env.sensing.loss == 0).all()


def test_a_lost_device_loses_those_behind_it_and_the_policy_sees_the_last_reading():
    env = RobotEnv(num_envs=512, level=1.0, autoreset=False)
    env.reset(seed=0)
    before = np.array(env._memory.joint_velocity)
    seen = 0
    for _ in range(50):
        env.step(np.zeros((512, 2), dtype=np.float32))
        imu, joints = env.reading.imu_valid, env.reading.joint_valid
        assert not (joints[:, 0] & ~imu).any()
        assert not (joints[:, 1] & ~joints[:, 0]).any()
        lost = ~joints[:, 1]
        held = np.array(env._memory.joint_velocity)
        np.testing.assert_array_equal(held[lost, 1], before[lost, 1])
        seen += lost.sum()
        before = held
    assert 0.5 < seen / (512 * 50 * 0.03) < 1.5


def test_what_has_no_inertial_sensor_reads_as_its_driver_says():
    robot = load_robot("balancer")
    order = tuple(name for name in robot.read.order if name != "imu")
    read = dataclasses.replace(robot.read, order=order)
    blind = dataclasses.replace(robot, imu=None, read=read, ramp=Ramp(kind="pose"))
    contract = dataclasses.replace(
        load_task("balancer").contract, terms=("joint_velocity", "command"), scales={}
    )
    env = RobotEnv(blind, num_envs=3, contract=contract)
    env.reset(seed=0)
    for _ in range(3):
        env.step(env.action_space.sample())
        reading = env.reading
        assert not reading.imu_valid.any()
        assert (reading.orientation == [1.0, 0.0, 0.0, 0.0]).all()
        assert not reading.angular_velocity.any()
        assert not reading.linear_acceleration.any()


def test_the_simulators_observation_is_the_robots_to_the_bit():
    """One row through the program with no batch, as the robot runs it, equals the simulator's."""
    env = RobotEnv(num_envs=4, level=1.0, autoreset=False)
    _, info = env.reset(seed=2)
    memory = program.initial_memory(env.contract)
    rng = np.random.default_rng(0)
    for _ in range(40):
        row = {}
        for field in dataclasses.fields(RobotState):
            value = getattr(env.reading, field.name)
            row[field.name] = value[1] if isinstance(value, np.ndarray) else value
        got, memory = program.observe(env.contract, RobotState(**row), env.command[1], memory)
        np.testing.assert_array_equal(got, info["student"][1])
        actions = rng.uniform(-1, 1, (4, 2)).astype(np.float32)
        _, memory = program.act(env.contract, actions[1], memory)
        *_, info = env.step(actions)


def test_a_push_changes_the_robots_speed_by_impulse_over_mass():
    env = RobotEnv(num_envs=1, level=(0, 0, 0, 1, 0), autoreset=False)
    env.reset(seed=0)
    env.events.next_push[:] = 3
    for _ in range(3):
        env.step(np.zeros((1, 2), dtype=np.float32))
    assert (env.physics.wrench == 0).all()
    before = env.physics.qvel[0, :2].copy()
    env.step(np.zeros((1, 2), dtype=np.float32))
    change = np.linalg.norm(env.physics.qvel[0, :2] - before)
    assert change > 0.05
    assert (env.physics.wrench == 0).all()


def test_an_unknown_task_lists_those_there_are():
    with pytest.raises(TaskError, match="balancer"):
        load_task("unicycle")


def test_a_task_from_a_file_outside_the_repository(tmp_path):
    path = tmp_path / "still.py"
    path.write_text(
        "from retort.sim.tasks.balancer import Balancer\n"
        "class Still(Balancer):\n    name = 'still'\n"
        "TASK = Still()\n"
    )
    env = RobotEnv("balancer", str(path), 2)
    assert env.task.name == "still"
    path.write_text("x = 1\n")
    with pytest.raises(TaskError, match="TASK"):
        load_task(path)


def test_substeps_must_make_one_control_tick():
    with pytest.raises(retort.sim.ModelError, match="substeps"):
        RobotEnv(num_envs=1, simulation=SimulationConfig(substeps=3))


def test_the_contract_follows_robot_and_task():
    robot, task = load_robot("balancer"), load_task("balancer")
    contract = make_contract(robot, task)
    assert contract.joints == robot.joints
    assert contract.observation_size == 5 * 12
    assert RobotEnv(robot, task).contract.trained["latency"] == (0.005, 0.03)


def test_a_program_that_never_imports_retort_can_make_it_by_its_full_name():
    code = "import gymnasium; print(gymnasium.make('retort.sim:retort/Balancer-v0').reset(seed=0))"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
