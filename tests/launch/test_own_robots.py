"""What a robot of one's own cannot be is said before anything trains, as on the bus."""

from __future__ import annotations

import pytest
from retort.launch.cli import BAD_INPUT, main

from .own import edit, own

NOMINAL = 'nominal="5 0.215 40.107"'
MISTAKES = {  # robot, file, what stands there, what is written instead, what is said
    "a servo on a line of another protocol": (
        ("arm6", "robot.toml", 'protocol = "feetech"', 'protocol = "dynamixel2"'),
        "shoulder_pan: sts3215 is of kind servo and speaks feetech",
    ),
    "a sensor where a servo should be": (
        ("balancer", "robot.toml", 'servo = "xl330-m077"', 'servo = "retort-imu"'),
        "left_wheel: retort-imu has no motor",
    ),
    "more effort than the servo has": (
        ("arm6", "robot.toml", "effort = 1.9 }", "effort = 3.5 }"),
        "limits itself to 1.91 N·m, robot.toml allows 3.5; raise its max_torque or lower "
        "`limits.effort`",
    ),
    "limits that the servo's turn does not hold": (
        ("arm6", "robot.toml", "zero = 3.141592653589793", "zero = 0.0"),
        "has its lower position limit at 0.000 rad of the joint, robot.toml at -1.9",
    ),
    "a gain that the servo does not take": (
        ("arm6", "robot.toml", "position_p = 32", "position_p = 999"),
        "takes no position_p = 999",
    ),
    "a read that its line cannot carry in time": (
        ("balancer", "robot.toml", "read_fraction = 0.4", "read_fraction = 0.04"),
        "read_fraction leaves 0.40 ms",
    ),
    "the motor of another servo": (
        ("balancer", "robot.toml", 'servo = "xl330-m077"', 'servo = "xl330-m288"'),
        'a xl330-m288 at 0.52 N·m and 10.79 rad/s; write nominal="5 0.52 10.79"',
    ),
    "a motor that takes volts for torques": (
        ("balancer", "balancer.xml", 'input="ff"', 'input="voltage"'),
        'virtual servos ask every dcmotor for a torque; write input="ff" for each joint',
    ),
    "a motor with a gear of its own": (
        ("balancer", "balancer.xml", 'input="ff"', 'input="ff" gear="2"'),
        "left_wheel has gear 2; its servo's numbers are of the output shaft",
    ),
    "an actuator without a voltage": (
        ("balancer", "balancer.xml", ' controller="0 0 0 0 0 5"', ""),
        "left_wheel needs a dcmotor with a voltage limit, such as nominal=",
    ),
}


@pytest.mark.parametrize(("mistake", "said"), MISTAKES.values(), ids=MISTAKES)
def test_it_is_refused_before_anything_trains(mistake, said, tmp_path, monkeypatch, capsys):
    robot, file, old, new = mistake
    recipe = own(tmp_path, robot, "balancer" if robot == "balancer" else "reach")
    edit(tmp_path / "my_robot" / file, old, new)
    monkeypatch.chdir(tmp_path)
    for verb in ("train", "launch"):
        assert main([verb, str(recipe)]) == BAD_INPUT
        assert said in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_motor_somebody_has_measured_may_differ_a_little(tmp_path):
    from retort.hardware import load_robot
    from retort.sim.assembly import check_assembly

    own(tmp_path)
    edit(tmp_path / "my_robot" / "balancer.xml", NOMINAL, 'nominal="5 0.2 41.5"')
    check_assembly(load_robot(tmp_path / "my_robot"))


def test_terms_that_an_inertial_sensor_measures_need_one(tmp_path, capsys):
    recipe = own(tmp_path, "arm6", "reach")
    edit(tmp_path / "my_task.py", '"joint_position", ', '"projected_gravity", ')
    assert main(["train", str(recipe), "--out", str(tmp_path / "run")]) == BAD_INPUT
    assert "arm6 has none; take it out, or name the sensor in [imu]" in capsys.readouterr().err
