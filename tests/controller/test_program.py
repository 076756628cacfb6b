"""The observation and action program: what is what, and the same in every shape and library."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from retort.controller import Contract, ContractError, program
from retort.controller.contract import ActionMap, CommandSpec, TermSpec, compare
from retort.hardware import load_robot
from retort.hardware.state import RobotState


def make(**changes) -> Contract:
    values = {
        "robot": "r",
        "joints": ("a", "b"),
        "servos": ("s", "s"),
        "modes": ("position", "position"),
        "control_rate": 50.0,
        "default_pose": (0.1, -0.2),
        "gains": ({}, {}),
        "read_order": ("imu", "a", "b"),
        "terms": (
            TermSpec(name="joint_position", size=2, scale=2.0),
            TermSpec(name="command", size=1),
            TermSpec(name="previous_action", size=2),
        ),
        "history": 3,
        "command": (CommandSpec(name="speed", unit="m/s", low=-1, high=1),),
        "action": ActionMap(offset=(0.1, -0.2), scale=(0.5, 0.5)),
    }
    return Contract(**{**values, **changes})


def reading(position, *, valid=(True, True), imu=True, shape=()) -> RobotState:
    return RobotState(
        joint_position=np.broadcast_to(np.asarray(position, dtype=float), (*shape, 2)),
        joint_velocity=np.zeros((*shape, 2)),
        joint_effort=np.zeros((*shape, 2)),
        orientation=np.broadcast_to([1.0, 0.0, 0.0, 0.0], (*shape, 4)),
        angular_velocity=np.zeros((*shape, 3)),
        linear_acceleration=np.zeros((*shape, 3)),
        joint_valid=np.broadcast_to(np.asarray(valid), (*shape, 2)),
        imu_valid=np.broadcast_to(np.asarray(imu), shape),
    )


def observe(contract, positions, commands=None, **kwargs):
    memory = program.initial_memory(contract)
    for i, position in enumerate(positions):
        command = np.array([0.0 if commands is None else commands[i]])
        observation, memory = program.observe(
            contract, reading(position, **kwargs), command, memory
        )
    return observation, memory


def test_terms_are_relative_scaled_and_in_term_major_layout_oldest_first():
    contract = make(layout="term-major")
    observation, _ = observe(contract, [(0.1, -0.2), (0.2, 0.0), (0.6, 0.3)], (0.1, 0.2, 0.3))
    expected = [0.0, 0.0, 0.2, 0.4, 1.0, 1.0, 0.1, 0.2, 0.3, 0, 0, 0, 0, 0, 0]
    np.testing.assert_allclose(observation, expected, atol=1e-6)


def test_frame_major_puts_whole_frames_one_behind_the_other_and_has_another_hash():
    observation, _ = observe(make(), [(0.1, -0.2), (0.2, 0.0), (0.6, 0.3)], (0.1, 0.2, 0.3))
    expected = [0, 0, 0.1, 0, 0, 0.2, 0.4, 0.2, 0, 0, 1.0, 1.0, 0.3, 0, 0]
    np.testing.assert_allclose(observation, expected, atol=1e-6)
    assert make(layout="term-major").hash() != make().hash()


def test_the_first_frame_fills_the_history():
    observation, _ = observe(make(), [(0.6, 0.3)])
    frames = observation.reshape(3, -1)
    np.testing.assert_allclose(frames[:, :2], 1.0, atol=1e-6)


def test_a_missed_reading_is_held_and_its_age_counts():
    contract = make()
    memory = program.initial_memory(contract)
    _, memory = program.observe(contract, reading((0.5, 0.6)), np.zeros(1), memory)
    for age in (1, 2):
        lost = reading((9.0, 0.7), valid=(False, True), imu=False)
        _, memory = program.observe(contract, lost, np.zeros(1), memory)
        np.testing.assert_allclose(memory.joint_position, [0.5, 0.7], atol=1e-6)
        np.testing.assert_array_equal(memory.joint_age, [age, 0])
        assert memory.imu_age == age
    _, memory = program.observe(contract, reading((0.8, 0.9)), np.zeros(1), memory)
    np.testing.assert_array_equal(memory.joint_age, [0, 0])


def test_an_action_is_clipped_scaled_filtered_and_slewed():
    contract = make(action=ActionMap(offset=(0.1, -0.2), scale=(0.5, 0.5), smoothing=0.5, slew=0.2))
    memory = program.initial_memory(contract)
    np.testing.assert_allclose(memory.target, [0.1, -0.2], atol=1e-6)
    command, memory = program.act(contract, np.array([3.0, 0.1]), memory)
    # a = [1, 0.1]; raw = [0.6, -0.15]; half way [0.25, 0.025], the first clipped to 0.2
    np.testing.assert_allclose(command.target, [0.3, -0.175], atol=1e-6)
    np.testing.assert_allclose(memory.action, [1.0, 0.1], atol=1e-6)


def test_the_command_moves_at_its_slew_and_starts_where_it_is_given():
    spec = CommandSpec(name="speed", unit="m/s", low=-1, high=1, slew=5.0)  # 0.1 per tick
    contract = make(command=(spec,), history=1)
    commands = (0.4, -0.5, -0.5, 0.25)
    _, memory = observe(contract, [(0, 0)] * 4, commands)
    np.testing.assert_allclose(memory.command, [0.25], atol=1e-6)
    _, memory = observe(contract, [(0, 0)] * 3, commands)
    np.testing.assert_allclose(memory.command, [0.2], atol=1e-6)


def test_nothing_is_changed_in_place():
    contract = make()
    _, before = observe(contract, [(0.1, 0.2)] * 2)
    copies = {f.name: np.array(getattr(before, f.name)) for f in dataclasses.fields(before)}
    _, after = program.observe(contract, reading((0.4, 0.5)), np.ones(1), before)
    program.act(contract, np.ones(2), after)
    for name, copy in copies.items():
        np.testing.assert_array_equal(getattr(before, name), copy)


@given(
    st.lists(
        st.tuples(*[st.floats(-3, 3)] * 2, *[st.booleans()] * 3, *[st.floats(-2, 2)] * 3),
        min_size=1,
        max_size=6,
    )
)
def test_a_batch_and_torch_give_what_one_robot_gives(ticks):
    torch = pytest.importorskip("torch")
    contract = make(
        action=ActionMap(offset=(0.1, -0.2), scale=(0.5, 0.5), smoothing=0.7, slew=0.3),
        command=(CommandSpec(name="speed", unit="m/s", low=-1, high=1, slew=10.0),),
    )
    one = program.initial_memory(contract)
    many = program.initial_memory(contract, (3,))
    tensors = program.initial_memory(contract, (3,), xp=torch)
    for a, b, valid_a, valid_b, imu, command, u, v in ticks:
        state = reading((a, b), valid=(valid_a, valid_b), imu=imu)
        batch = reading((a, b), valid=(valid_a, valid_b), imu=imu, shape=(3,))
        arrays = {
            f.name: torch.tensor(np.array(getattr(batch, f.name)))
            for f in dataclasses.fields(batch)
            if isinstance(getattr(batch, f.name), np.ndarray)
        }
        command = np.array([command], dtype=np.float32)
        rows = np.tile(command, (3, 1))
        seen, one = program.observe(contract, state, command, one)
        seen_many, many = program.observe(contract, batch, rows, many)
        tensor_state = batch.replace(**arrays)
        seen_torch, tensors = program.observe(contract, tensor_state, torch.tensor(rows), tensors)
        np.testing.assert_array_equal(seen_many, np.tile(seen, (3, 1)))
        np.testing.assert_allclose(seen_torch.numpy(), seen_many, atol=1e-6)
        action = np.array([u, v], dtype=np.float32)
        sent, one = program.act(contract, action, one)
        sent_many, many = program.act(contract, np.tile(action, (3, 1)), many)
        sent_torch, tensors = program.act(contract, torch.tensor(action).repeat(3, 1), tensors)
        np.testing.assert_array_equal(sent_many.target, np.tile(sent.target, (3, 1)))
        np.testing.assert_allclose(sent_torch.target.numpy(), sent_many.target, atol=1e-6)


@pytest.mark.parametrize("angle", [-1.0, -0.2, 0.0, 0.7])
def test_projected_gravity_points_down_in_the_body(angle):
    about_y = np.array([np.cos(angle / 2), 0.0, np.sin(angle / 2), 0.0])
    got = program.projected_gravity(about_y)
    np.testing.assert_allclose(got, [np.sin(angle), 0.0, -np.cos(angle)], atol=1e-12)


def test_a_contract_survives_json_and_its_hash_covers_every_field():
    contract = make()
    assert Contract.from_dict(contract.to_dict()) == contract
    changed = [
        {"control_rate": 51.0},
        {"history": 2},
        {"default_pose": (0.1, -0.21)},
        {"gains": ({"position_p": 1}, {})},
        {"normaliser_clip": 5.0},
        {"trained": {"latency": (0.0, 0.1)}},
        {"read_order": ("a", "imu", "b")},
    ]
    hashes = {contract.hash(), *(make(**change).hash() for change in changed)}
    assert len(hashes) == len(changed) + 1


def test_a_bad_contract_says_what_is_wrong():
    with pytest.raises(ContractError, match="history"):
        make(history=0)
    with pytest.raises(ContractError, match="smoothing"):
        make(action=ActionMap(offset=(0, 0), scale=(1, 1), smoothing=0.0))
    with pytest.raises(ContractError, match="one per joint"):
        make(servos=("s",))
    with pytest.raises(ContractError, match="unknown key 'colour'"):
        Contract.from_dict({**make().to_dict(), "colour": 1})


def test_every_difference_to_the_robot_is_named():
    robot = load_robot("balancer")
    differences = {m.what for m in compare(make(), robot)}
    assert differences == {
        "robot", "joint names", "control rate [Hz]", "default pose [rad]", "servo model",
        "operating mode", "gains", "read order",
    }  # fmt: skip
