"""The gate: dense values around every limit, and properties that hold for any input."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from retort.controller import GateResult, Reason, gate, gate_limits
from retort.controller.gate import FAULTS, explain, tilt
from retort.controller.program import Memory, coast, initial_memory
from retort.hardware.robot import Limits, Robot, load_robot
from retort.hardware.state import Health

from .conftest import make_arm, make_contract, reading

DT = 0.01
BALANCER = load_robot("balancer")
EFFORT, SLEW = 0.15, 6.0 * DT  # of balancer's robot.toml


def just_around(limit: float) -> list[float]:
    """Values on both sides of ``limit``, near and far."""
    steps = (1e-5, 1e-3, 0.1, 1.0)
    return [limit - step for step in steps] + [limit] + [limit + step for step in steps]


def after(robot: Robot, **changes: object) -> tuple[object, Memory]:
    state = reading(robot, **changes)
    return state, coast(state, initial_memory(make_contract(robot), dtype=np.float64))


def passed(
    robot: Robot,
    target: object,
    last: object = (0.0, 0.0),
    heartbeat: float = 0.0,
    forgive: Reason = Reason.NONE,
    ages: dict[str, object] | None = None,
    slew: float = math.inf,
    **changes: object,
) -> GateResult:
    state, memory = after(robot, **changes)
    memory = dataclasses.replace(memory, **(ages or {}))  # type: ignore[arg-type]
    limits = dataclasses.replace(gate_limits(robot), slew=slew)
    return gate(
        limits,
        state,
        memory,
        np.array(target),
        np.array(last),
        heartbeat,
        DT,
        forgive,  # type: ignore[arg-type]
    )


def test_a_safe_target_passes_unchanged_and_without_reason() -> None:
    result = passed(BALANCER, [0.05, -0.05], slew=6.0)
    assert result.reasons == Reason.NONE
    np.testing.assert_array_equal(result.target, [0.05, -0.05])


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("effort", just_around(EFFORT))
def test_effort_is_clipped_at_its_limit(effort: float, sign: int) -> None:
    result = passed(BALANCER, [sign * effort, 0.0])
    assert result.target[0] == pytest.approx(sign * np.clip(effort, -EFFORT, EFFORT), abs=1e-12)
    assert (Reason.EFFORT in result.reasons) == (abs(effort) > EFFORT)
    assert not result.fault


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("change", just_around(SLEW))
def test_change_is_clipped_at_the_slew_limit(change: float, sign: int) -> None:
    result = passed(BALANCER, [sign * change, 0.0], slew=6.0)
    assert abs(result.target[0]) <= SLEW + 1e-12
    if abs(change) <= EFFORT:
        assert result.target[0] == pytest.approx(sign * min(change, SLEW), abs=1e-12)
        assert (Reason.SLEW in result.reasons) == (change > SLEW)


@pytest.mark.parametrize("speed", just_around(45.0))
@pytest.mark.parametrize("direction", [-1, 1])
@pytest.mark.parametrize("effort", [-0.1, 0.1])
def test_a_joint_that_is_too_fast_is_not_pushed_further(
    speed: float, direction: int, effort: float
) -> None:
    result = passed(BALANCER, [effort, 0.0], joint_velocity=np.array([direction * speed, 0.0]))
    cut = speed > 45.0 and direction * effort > 0
    assert result.target[0] == (0.0 if cut else effort)
    assert (Reason.VELOCITY in result.reasons) == cut
    assert not result.fault


def _bounded(mode: str) -> Robot:
    arm = make_arm()
    limits = Limits(position_min=-1.5, position_max=1.5, velocity=5.0, effort=0.2)
    joints = tuple(dataclasses.replace(joint, mode=mode, limits=limits) for joint in arm.joint)
    return dataclasses.replace(arm, joint=joints)


@pytest.mark.parametrize("mode", ["effort", "velocity"])
@pytest.mark.parametrize("position", [*just_around(1.5), *just_around(-1.5)])
@pytest.mark.parametrize("target", [-0.1, 0.1])
def test_a_driven_joint_beyond_a_position_limit_is_not_pushed_further(
    mode: str, position: float, target: float
) -> None:
    robot = _bounded(mode)
    result = passed(robot, [target, 0.0], joint_position=np.array([position, 0.0]))
    cut = (position > 1.5 and target > 0) or (position < -1.5 and target < 0)
    assert result.target[0] == (0.0 if cut else target)
    assert (Reason.POSITION in result.reasons) == cut


@pytest.mark.parametrize("velocity", just_around(5.0))
@pytest.mark.parametrize("sign", [-1, 1])
def test_velocity_targets_are_clipped_at_the_velocity_limit(velocity: float, sign: int) -> None:
    result = passed(_bounded("velocity"), [sign * velocity, 0.0])
    assert result.target[0] == pytest.approx(sign * min(velocity, 5.0), abs=1e-12)
    assert (Reason.VELOCITY in result.reasons) == (velocity > 5.0)


@pytest.mark.parametrize("position", just_around(1.5))
@pytest.mark.parametrize("sign", [-1, 1])
def test_position_targets_are_clipped_at_the_position_limits(position: float, sign: int) -> None:
    result = passed(make_arm(), [sign * position, 0.0])
    assert result.target[0] == pytest.approx(sign * min(position, 1.5), abs=1e-12)
    assert (Reason.POSITION in result.reasons) == (position > 1.5)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_target_that_is_no_number_is_a_fault_and_becomes_safe(bad: float) -> None:
    driven = passed(BALANCER, [bad, 0.1], last=[0.05, 0.05])
    assert driven.fault == Reason.NOT_FINITE
    np.testing.assert_array_equal(driven.target, [0.0, 0.0])
    held = passed(make_arm(), [bad, 0.1], last=[0.3, 0.2])
    np.testing.assert_array_equal(held.target, [0.3, 0.2])


def test_a_target_that_is_no_number_is_replaced_even_when_forgiven() -> None:
    result = passed(BALANCER, [math.nan, 0.1], forgive=FAULTS)
    assert not result.fault
    assert np.all(np.isfinite(result.target))


@pytest.mark.parametrize("name", ["joint_position", "joint_velocity"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_joint_reading_that_is_no_number_is_a_fault(name: str, bad: float) -> None:
    assert passed(BALANCER, [0.0, 0.0], **{name: np.array([0.0, bad])}).fault == Reason.NOT_FINITE


def test_an_angular_velocity_that_is_no_number_is_a_fault() -> None:
    rate = np.array([0.0, math.nan, 0.0])
    assert passed(BALANCER, [0.0, 0.0], angular_velocity=rate).fault == Reason.NOT_FINITE


@pytest.mark.parametrize("age", [0, 1, 4, 5, 6, 7, 100])
def test_a_device_may_be_silent_for_stale_ticks_and_no_longer(age: int) -> None:
    joint = passed(BALANCER, [0.0, 0.0], ages={"joint_age": np.array([0, age])})
    imu = passed(BALANCER, [0.0, 0.0], ages={"imu_age": np.array(age)})
    for result in (joint, imu):
        assert (result.fault == Reason.STALE) == (age > 5)


def test_a_robot_without_a_sensor_is_not_stale_or_tilted() -> None:
    result = passed(
        make_arm(),
        [0.0, 0.0],
        ages={"imu_age": np.array(100)},
        orientation=np.zeros(4),
        imu_valid=np.array(True),
    )
    assert not result.fault


def leaning(angle: float) -> np.ndarray:
    return np.array([math.cos(angle / 2), 0.0, math.sin(angle / 2), 0.0])


@pytest.mark.parametrize("angle", [*just_around(0.8), -0.81, -0.79, 3.1])
def test_leaning_beyond_the_limit_is_a_fault(angle: float) -> None:
    result = passed(BALANCER, [0.05, 0.05], orientation=leaning(angle))
    if abs(angle) != 0.8:
        assert (result.fault == Reason.TILT) == (abs(angle) > 0.8)


@pytest.mark.parametrize("angle", [0.0, 0.1, 0.8, 1.5, 3.0])
def test_tilt_is_the_angle_to_the_vertical_whatever_the_heading(angle: float) -> None:
    heading = np.array([math.cos(0.4), 0.0, 0.0, math.sin(0.4)])
    w, x, y, z = leaning(angle)
    a, d = heading[0], heading[3]
    turned = np.array([a * w - d * z, a * x - d * y, a * y + d * x, a * z + d * w])
    assert tilt(turned) == pytest.approx(angle, abs=1e-6)


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.5, math.nan, math.inf])
def test_a_quaternion_that_is_no_rotation_is_a_fault(factor: float) -> None:
    orientation = np.array([factor, 0.0, 0.0, 0.0])
    assert Reason.ORIENTATION in passed(BALANCER, [0.0, 0.0], orientation=orientation).fault


def _health(**changes: object) -> Health:
    fields = {"voltage": [5.0, 5.0], "temperature": [30.0, 30.0], "alert": [False, False]}
    return Health(**{name: np.array(value) for name, value in {**fields, **changes}.items()})


def test_a_servo_alert_is_a_fault() -> None:
    assert passed(BALANCER, [0.0, 0.0], health=_health(alert=[False, True])).fault == Reason.ALERT


@pytest.mark.parametrize("temperature", [*just_around(65.0), math.nan])
def test_heat_is_a_fault(temperature: float) -> None:
    result = passed(BALANCER, [0.0, 0.0], health=_health(temperature=[30.0, temperature]))
    assert (result.fault == Reason.TEMPERATURE) == (not temperature <= 65.0)


@pytest.mark.parametrize("voltage", [*just_around(3.7), math.nan])
def test_a_low_supply_is_a_fault(voltage: float) -> None:
    result = passed(BALANCER, [0.0, 0.0], health=_health(voltage=[voltage, 5.0]))
    assert (result.fault == Reason.VOLTAGE) == (not voltage >= 3.7)


def test_health_of_a_servo_that_was_not_read_says_nothing() -> None:
    health = _health(voltage=[0.0, 5.0], temperature=[99.0, 30.0], alert=[True, False])
    result = passed(BALANCER, [0.0, 0.0], health=health, joint_valid=np.array([False, True]))
    assert not result.fault


def test_no_health_is_no_fault() -> None:
    assert not passed(BALANCER, [0.0, 0.0], health=None).fault


@pytest.mark.parametrize("age", [0.0, 0.09, 0.0999, 0.1, 0.1001, 0.11, 5.0, math.nan])
def test_a_policy_that_pauses_is_a_fault(age: float) -> None:
    result = passed(BALANCER, [0.05, 0.0], heartbeat=age)
    assert (result.fault == Reason.HEARTBEAT) == (not age <= 0.1)


def test_heartbeat_follows_staleness_where_there_is_no_watchdog(robot: Robot) -> None:
    assert gate_limits(dataclasses.replace(robot, watchdog=0.0)).heartbeat == pytest.approx(0.05)


def test_a_fault_brings_effort_to_zero_at_the_slew_limit() -> None:
    result = passed(BALANCER, [0.1, 0.1], last=[0.1, -0.02], orientation=leaning(1.0), slew=6.0)
    np.testing.assert_allclose(result.target, [0.1 - SLEW, 0.0], atol=1e-12)
    assert result.reasons == Reason.TILT | Reason.SLEW


def test_forgiven_faults_are_not_reported() -> None:
    result = passed(BALANCER, [0.1, 0.1], orientation=leaning(1.0), forgive=Reason.TILT)
    assert result.reasons == Reason.NONE
    np.testing.assert_array_equal(result.target, [0.1, 0.1])


CAUSES = {
    Reason.ALERT: ({"health": _health(alert=[False, True])}, "right_wheel"),
    Reason.TEMPERATURE: ({"health": _health(temperature=[80.0, 30.0])}, "left_wheel is at 80 °C"),
    Reason.VOLTAGE: ({"health": _health(voltage=[5.0, 3.0])}, "right_wheel has 3.0 V"),
    Reason.ORIENTATION: ({"orientation": np.zeros(4)}, "no rotation"),
    Reason.TILT: ({"orientation": leaning(1.2)}, "1.20 rad; the limit is 0.80"),
    Reason.NOT_FINITE: ({"joint_velocity": np.array([np.nan, 0.0])}, "not a finite number"),
}


@pytest.mark.parametrize("reason", CAUSES, ids=lambda reason: reason.name)
def test_a_fault_is_explained_with_its_numbers(reason: Reason) -> None:
    changes, words = CAUSES[reason]
    state, memory = after(BALANCER, **changes)
    limits = gate_limits(BALANCER)
    result = gate(limits, state, memory, np.zeros(2), np.zeros(2), 0.0, DT)  # type: ignore[arg-type]
    assert result.fault == reason
    assert words in explain(limits, state, memory, result.fault)  # type: ignore[arg-type]


def test_silence_pause_and_nothing_are_explained() -> None:
    state, memory = after(BALANCER)
    limits = gate_limits(BALANCER)
    silent = dataclasses.replace(memory, joint_age=np.array([0, 9]), imu_age=np.array(9))
    assert "right_wheel, imu did not answer" in explain(limits, state, silent, Reason.STALE)  # type: ignore[arg-type]
    assert "0.100 s" in explain(limits, state, memory, Reason.HEARTBEAT)  # type: ignore[arg-type]
    assert explain(limits, state, memory, Reason.NONE) == "no fault"  # type: ignore[arg-type]


numbers = st.floats(allow_nan=True, allow_infinity=True)
pairs = st.tuples(numbers, numbers).map(np.array)
ROBOTS = {"balancer": BALANCER, "arm": make_arm(), "velocity": _bounded("velocity")}


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from(sorted(ROBOTS)),
    target=pairs,
    last=pairs,
    velocity=pairs,
    position=pairs,
    orientation=st.tuples(numbers, numbers, numbers, numbers).map(np.array),
    voltage=pairs,
    heartbeat=numbers,
    ages=st.tuples(*[st.integers(0, 20)] * 3),
    forgive=st.sampled_from([Reason.NONE, Reason.TILT, FAULTS]),
)
def test_whatever_comes_in_what_goes_out_is_finite_within_limits_and_slew(
    name: str,
    target: np.ndarray,
    last: np.ndarray,
    velocity: np.ndarray,
    position: np.ndarray,
    orientation: np.ndarray,
    voltage: np.ndarray,
    heartbeat: float,
    ages: tuple[int, int, int],
    forgive: Reason,
) -> None:
    robot = ROBOTS[name]
    limits = gate_limits(robot)
    state, memory = after(
        robot,
        joint_velocity=velocity,
        joint_position=position,
        orientation=orientation,
        health=_health(voltage=voltage),
    )
    memory = dataclasses.replace(memory, joint_age=np.array(ages[:2]), imu_age=np.array(ages[2]))
    result = gate(limits, state, memory, target, last, heartbeat, DT, forgive)  # type: ignore[arg-type]
    assert np.all(np.isfinite(result.target))
    assert np.all((limits.low <= result.target) & (result.target <= limits.high))
    inside = np.isfinite(last) & (limits.low <= last) & (last <= limits.high)
    change = np.abs(result.target - np.where(inside, last, result.target))
    assert np.all(change <= limits.slew * DT * (1 + 1e-9))
    if not np.all(np.isfinite(target)) and Reason.NOT_FINITE not in forgive:
        assert Reason.NOT_FINITE in result.fault
    if result.reasons == Reason.NONE and np.all(np.isfinite(target)):
        np.testing.assert_allclose(result.target, target, atol=2e-6)
