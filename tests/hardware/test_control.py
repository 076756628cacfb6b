"""Commands to a virtual robot: what each does, what is refused, and the socket they come by."""

from __future__ import annotations

import json
import math
import socket

import pytest
from retort.hardware import PortError, load_model, load_robot
from retort.hardware.virtual import RigidPlant, VirtualRobot, commands
from retort.hardware.virtual.commands import COMMANDS, ControlError, run_command
from retort.hardware.virtual.control import Control, ControlServer
from retort.sim.twin import Twin

from .many_servos import robot_of


@pytest.fixture
def virtual() -> VirtualRobot:
    robot = load_robot("balancer")
    return VirtualRobot(robot, RigidPlant(robot))


def do(virtual: VirtualRobot, command: str, **values) -> dict:
    return run_command(virtual, {"command": command, **values})


def test_unplug_and_replug(virtual):
    do(virtual, "unplug")
    assert not virtual.line.plugged
    do(virtual, "replug", line="main")
    assert virtual.line.plugged
    assert virtual.line.plugs == 2


def test_power(virtual):
    servo, other = virtual.servos
    do(virtual, "power_off", device="left_wheel")
    virtual.advance(10.0)
    assert not servo.listening(virtual.time)
    assert other.listening(virtual.time)
    do(virtual, "power_on", device="left_wheel")
    virtual.advance(11.0)
    assert servo.listening(virtual.time)


def test_a_power_cycle_ends_by_itself(virtual):
    do(virtual, "power_cycle", seconds=1.0)
    virtual.advance(0.9)
    assert not any(device.listening(virtual.time) for device in virtual.devices)
    virtual.advance(2.0)
    assert all(device.listening(virtual.time) for device in virtual.devices)


def test_connect_only(virtual):
    heard = lambda: [d.name for d in virtual.devices if virtual.line.hears(d, 0.0)]  # noqa: E731
    do(virtual, "connect_only", devices=["right_wheel"])
    assert heard() == ["right_wheel"]
    do(virtual, "connect_only", devices=[])
    assert heard() == ["left_wheel", "right_wheel", "imu"]


def test_a_shaft_is_turned_held_loaded_and_let_go(virtual):
    do(virtual, "turn", device="left_wheel", angle=1.0)
    assert virtual.plant.motor(0)[0] == 1.0
    do(virtual, "load", device="left_wheel", torque=0.1)
    do(virtual, "hold", device="left_wheel")
    virtual.advance(0.1)
    assert virtual.plant.motor(0)[0] == 1.0
    do(virtual, "release", device="left_wheel")
    virtual.advance(0.2)
    assert virtual.plant.motor(0)[0] > 1.1


def test_a_push_reaches_a_plant_that_can_be_pushed(virtual, monkeypatch):
    with pytest.raises(ControlError, match="cannot push"):
        do(virtual, "push", impulse=[0.1, 0.0, 0.0])
    pushes = []
    monkeypatch.setattr(virtual.plant, "push", lambda *push: pushes.append(push), raising=False)
    do(virtual, "push", impulse=[0.1, 0, 0])
    assert pushes == [((0.1, 0.0, 0.0), 0.01)]


def test_a_fault_counts_its_times_from_now(virtual):
    virtual.advance(5.0)
    do(virtual, "fault", kind="silence", device="imu", at=1.0, until=2.0)
    silent = [virtual.injector.silent("imu", time) for time in (1.5, 5.5, 6.5, 7.5)]
    assert silent == [False, False, True, False]
    do(virtual, "clear")
    assert not virtual.injector.silent("imu", 6.5)


def test_status_tells_of_every_device(virtual):
    do(virtual, "power_off", device="imu")
    virtual.plant.turn(0, 0.5, 0.0)
    status = json.loads(json.dumps(do(virtual, "status")))
    assert set(status["devices"]) == {"left_wheel", "right_wheel", "imu"}
    assert status["devices"]["left_wheel"]["angle"] == 0.5
    assert [about["powered"] for about in status["devices"].values()] == [True, True, False]
    assert status["lines"]["main"] == {"plugged": True, "baud": 1_000_000, "connected": None}
    assert status["faults"]["dropped"] == 0


@pytest.mark.parametrize("model", ["xl330-m288", "sts3215"])
def test_status_tells_of_a_fault_in_words(model):
    robot = robot_of((model,), protocols=(load_model(model).protocol,))
    virtual = VirtualRobot(robot, RigidPlant(robot))
    assert do(virtual, "status")["devices"]["joint_1"]["error"] == ""
    do(virtual, "fault", kind="overload", device="joint_1")
    virtual.advance(0.01)
    assert do(virtual, "status")["devices"]["joint_1"]["error"] == "overload"


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ([], "a command is"),
        ({"command": 1}, "a command is"),
        ({"command": "explode"}, "there are unplug, replug"),
        ({"command": "unplug", "port": "x"}, "takes line"),
        ({"command": "unplug", "line": "x"}, "there are main"),
        ({"command": "unplug", "line": []}, "unplug"),
        ({"command": "power_off", "device": "x"}, "left_wheel, right_wheel, imu"),
        ({"command": "power_cycle", "seconds": 0}, "positive"),
        ({"command": "power_cycle", "seconds": "x"}, "seconds is 'x'; it must be a finite number"),
        ({"command": "connect_only", "devices": "imu"}, "list of names"),
        ({"command": "connect_only", "devices": [[]]}, "connect_only"),
        ({"command": "turn", "device": "imu", "angle": 1}, "no servo 'imu'"),
        ({"command": "turn", "device": "left_wheel", "angle": math.nan}, "finite"),
        ({"command": "turn", "device": "left_wheel"}, "takes device, angle, speed"),
        ({"command": "push", "impulse": [1]}, "three numbers"),
        ({"command": "fault"}, "the kinds are drop"),
        ({"command": "fault", "kind": "silence", "device": "x"}, "left_wheel, right_wheel, imu"),
        (
            {"command": "fault", "kind": "jumping_encoder", "device": "imu", "angle": math.inf},
            "finite number",
        ),
    ],
)
def test_what_cannot_be_done_is_told_what_can(virtual, message, said):
    with pytest.raises(ControlError) as raised:
        run_command(virtual, message)
    assert said in str(raised.value)


def test_every_command_is_documented():
    assert commands.__doc__ is not None
    assert all(f"``{name}``" in commands.__doc__ for name in COMMANDS)


class Served:
    """A control socket, served whenever asked."""

    def __init__(self, virtual, path) -> None:
        self.path = path
        self.server = ControlServer(virtual, path)

    def connect(self) -> socket.socket:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.settimeout(5.0)
        made.connect(str(self.path))
        self.server.serve(self.server.descriptors)
        return made

    def say(self, client: socket.socket, data: bytes) -> None:
        client.sendall(data)
        self.server.serve(self.server.descriptors[1:])


@pytest.fixture
def served(virtual, tmp_path):
    made = Served(virtual, tmp_path / "control")
    yield made
    made.server.close()
    assert not made.path.exists()


def test_commands_come_by_the_socket_in_any_pieces(served):
    client = served.connect()
    served.say(client, b'{"command": "unpl')
    served.say(client, b'ug"}\n{"command": "nothing"}\nno json\n')
    answers = [json.loads(line) for line in client.recv(10_000).splitlines()]
    assert [answer["ok"] for answer in answers] == [True, False, False]
    assert "there are unplug" in answers[1]["error"]
    client.close()


def test_clients_that_leave_or_flood_are_let_go(served):
    gone, flood = served.connect(), served.connect()
    gone.close()
    served.server.serve(served.server.descriptors[1:])
    assert len(served.server.descriptors) == 2
    flood.setblocking(False)
    for _ in range(20):
        try:
            flood.send(b"x" * 30_000)
        except OSError:
            break
        served.server.serve(served.server.descriptors[1:])
    assert len(served.server.descriptors) == 1
    flood.close()


def test_a_file_of_that_name_is_not_destroyed(virtual, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("data")
    with pytest.raises(PortError, match="not a socket"):
        ControlServer(virtual, precious)
    assert precious.read_text() == "data"


def test_a_second_robot_does_not_take_the_first_ones_socket(virtual, tmp_path):
    path = tmp_path / "control"
    first = ControlServer(virtual, path)
    with pytest.raises(PortError, match="another virtual robot"):
        ControlServer(virtual, path)
    Control(path).close()
    first.close()
    assert not path.exists()


def test_a_socket_left_over_is_replaced_and_one_taken_over_is_left(virtual, tmp_path):
    path = tmp_path / "control"
    left_over = socket.socket(socket.AF_UNIX)
    left_over.bind(str(path))
    left_over.close()
    first = ControlServer(virtual, path)
    path.unlink()
    second = ControlServer(virtual, path)
    first.close()
    Control(path).close()
    second.close()


def test_where_nobody_listens_is_said(tmp_path):
    with pytest.raises(PortError, match="retort emulate ROBOT --control"):
        Control(tmp_path / "nobody")


@pytest.mark.parametrize("model", ["xl330-m288", "xl430-w250", "sts3215"])
@pytest.mark.parametrize("speed", [0.0, 1e3, -1e9, 1e300, 1e308])
@pytest.mark.parametrize("angle", [0.0, -60.0, 1e9, 1e300, 1.7e308])
def test_no_hand_can_bring_a_device_down(model, angle, speed):
    """Whatever a shaft does, every register shows what its bytes can hold."""
    table = load_model(model)
    robot = robot_of((model,), protocols=(table.protocol,))
    virtual = VirtualRobot(robot, RigidPlant(robot))
    (servo,) = virtual.servos
    torque = table.register("torque_enable").address
    size = max(r.address + r.size for r in table.registers.values())
    for on in (0, 1):
        do(virtual, "turn", device="joint_1", angle=angle, speed=speed)
        do(virtual, "load", device="joint_1", torque=speed)
        if table.protocol == "feetech":
            servo.write(torque, bytes((on,)))
        else:
            servo.write(torque, bytes((on,)), virtual.time)
        virtual.advance(virtual.time + 0.05)
        assert servo.read(0, min(size, 200), virtual.time)


def test_feedback_beyond_what_its_bytes_hold_stays_at_the_end(virtual):
    servo = virtual.servos[0]
    do(virtual, "turn", device="left_wheel", angle=1e7)
    servo.refresh(0.0)
    assert servo.registers["present_position"] == 2**31 - 1


def test_no_hand_turns_a_shaft_through_a_stop():
    robot = load_robot("arm6")
    virtual = VirtualRobot(robot, Twin(robot))
    with pytest.raises(ControlError, match=r"stops of elbow are at 1\.562 and 4\.722 rad"):
        do(virtual, "turn", device="elbow", angle=5.0)
    do(virtual, "turn", device="elbow", angle=4.7)
    assert virtual.plant.motor(2)[0] == pytest.approx(4.7)
