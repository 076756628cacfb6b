"""A virtual robot served in real time, and a run folder without training: its bundle is a linear
controller that balances."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from retort.controller import Contract, record_golden, save_bundle
from retort.hardware import RobotState, load_robot
from retort.hardware.virtual import Emulator, VirtualRobot
from retort.launch.cli import main
from retort.sim.task import load_task, make_contract

WHEEL_RADIUS = 0.04  # [m]
HALF_TRACK = 0.05  # [m]


def linear_gains(contract: Contract) -> np.ndarray:
    """Action per observation, (joints, observation_size), acting on the newest frame only."""
    frame = np.zeros((2, contract.frame_size))
    at, scale = contract.slices(), {term.name: term.scale for term in contract.terms}
    speed = -0.005  # [N·m per rad/s] of wheel speed wanted and not there
    turn = 0.01  # [N·m per rad/s] of turn rate wanted and not there
    frame[:, at["projected_gravity"].start] = 0.55 / scale["projected_gravity"]
    frame[:, at["angular_velocity"].start + 1] = 0.045 / scale["angular_velocity"]
    frame[:, at["joint_velocity"]] = -0.5 * speed / scale["joint_velocity"]
    frame[:, at["command"].start] = speed / WHEEL_RADIUS / scale["command"]
    for wheel, side in enumerate((-1.0, 1.0)):
        frame[wheel, at["command"].start + 1] = side * turn / scale["command"]
        frame[wheel, at["angular_velocity"].start + 2] -= side * turn / scale["angular_velocity"]
    gains = np.zeros((2, contract.observation_size))
    gains[:, -contract.frame_size :] = frame  # frame-major: the newest is last
    return gains / np.array(contract.action.scale)[:, None]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[VirtualRobot], dict[str, str]]]:
    """Serves a virtual robot on pseudo-terminals until the test ends; gives each line's port."""
    running = []

    def serve(virtual: VirtualRobot) -> dict[str, str]:
        emulator, ready = Emulator(virtual, tmp_path / "port"), threading.Event()
        thread = threading.Thread(target=emulator.serve, args=(lambda _: ready.set(),))
        thread.start()
        running.append((emulator, thread))
        assert ready.wait(10.0)
        return emulator.ports

    yield serve
    for emulator, thread in running:
        emulator.stop()
        thread.join(10.0)


@pytest.fixture(scope="session")
def contract() -> Contract:
    """The balancer task's contract on its robot."""
    return make_contract(load_robot("balancer"), load_task("balancer"), None, {})


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory, contract: Contract) -> Path:
    """A verified bundle of the linear controller, in a run folder of its own."""
    assert contract.layout == "frame-major"
    gains = linear_gains(contract).astype(np.float32)
    return linear_bundle(contract, gains, tmp_path_factory.mktemp("run") / "student")


def linear_bundle(contract: Contract, gains: np.ndarray, folder: Path) -> Path:
    """A bundle of ``action = gains @ observation``."""
    rng = np.random.default_rng(0)
    shape = (2, 20)
    joints = len(contract.joints)
    orientation = rng.normal(size=(*shape, 4)) * 0.05 + [1.0, 0.0, 0.0, 0.0]
    orientation /= np.linalg.norm(orientation, axis=-1, keepdims=True)
    states = RobotState(
        joint_position=rng.normal(size=(*shape, joints)),
        joint_velocity=rng.normal(size=(*shape, joints)),
        joint_effort=np.zeros((*shape, joints)),
        orientation=orientation,
        angular_velocity=rng.normal(size=(*shape, 3)),
        linear_acceleration=np.zeros((*shape, 3)),
        joint_valid=np.ones((*shape, joints), dtype=bool),
        imu_valid=np.ones(shape, dtype=bool),
    )
    commands = rng.uniform(-0.5, 0.5, size=(*shape, len(contract.command)))
    golden = record_golden(
        contract, lambda observation, hidden: (gains @ observation, hidden), states, commands
    )
    tensors = {
        "normaliser.mean": np.zeros(contract.observation_size, dtype=np.float32),
        "normaliser.std": np.ones(contract.observation_size, dtype=np.float32),
        "layers.0.weight": gains,
        "layers.0.bias": np.zeros(joints, dtype=np.float32),
    }
    save_bundle(folder, contract, {"architecture": "mlp", "activation": "tanh"}, tensors, golden)
    return folder


@pytest.fixture(scope="session")
def flown(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with a flight of 6 s under two pushes and lost replies."""
    out = tmp_path_factory.mktemp("flown")
    arguments = ["run", str(bundle), "--lockstep", "--seconds=6", "--out", str(out)]
    arguments += ["--push-times=1,3", "--push-impulse=0.05", "--drop=0.01", "--corrupt=0.01"]
    arguments += ["--command=0:0,0", "--command=2:0.2,0.5", "--seed=3"]
    assert main(arguments) == 0
    return out


@pytest.fixture(scope="session")
def flown_arm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with a flight of 4 s of the arm, which is pushed and keeps its default pose."""
    robot = load_robot("arm6")
    contract = make_contract(robot, load_task("reach"), None, {})
    out = tmp_path_factory.mktemp("arm")
    still = np.zeros((6, contract.observation_size), dtype=np.float32)
    bundle = linear_bundle(contract, still, out / "student")
    arguments = ["run", str(bundle), "--lockstep", "--seconds=4", "--out", str(out)]
    arguments += ["--push-times=4", "--push-impulse=0.1", "--command=0:0.2,0,0.15,0.2"]
    assert main(arguments) == 0
    (out / "recipe.toml").write_text('name = "arm"\nrobot = "arm6"\ntask = "reach"\n')
    return out


def _side(score: float, falls: int = 0) -> dict:
    return {
        "score": score,
        "score_low": score - 0.01,
        "score_high": score + 0.01,
        "falls": falls,
        "forward_speed_rmse": 0.1,
        "turn_rate_rmse": 0.2,
    }


def _level(level: int, episodes: int, seconds: float, **changes) -> dict:
    row = {
        "level": level,
        "episodes": episodes,
        "seconds": seconds,
        "teacher": _side(0.8),
        "student": _side(0.79),
        "ratio": {"value": 0.985, "low": 0.975, "high": 0.995},
        "normalised": {"value": 0.98, "low": 0.97, "high": 0.99},
    }
    return {**row, **changes}


@pytest.fixture(scope="session")
def template(flown: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with everything in it, not to be changed."""
    folder = tmp_path_factory.mktemp("template") / "whole"
    shutil.copytree(flown, folder)
    (folder / "recipe.toml").write_text(
        'name = "a <b> run"\nrobot = "balancer"\ntask = "balancer"\n'
    )
    teacher = [
        {
            "steps": 1000 * i,
            "seconds": float(i),
            "score": 0.02 * i,
            "falls_per_minute": 9.0 - 0.2 * i,
        }
        for i in range(1, 40)
    ]
    student = [
        {
            "steps": 1000 * i,
            "seconds": float(i),
            "score_student": 0.02 * i,
            "score_teacher": 0.8,
            "levels": {"pushes": i // 10, "packet_loss": i // 20},
            "terms": {"policy_kl": 1.0 / i},
        }
        for i in range(1, 40)
    ]
    for name, rows in (("teacher", teacher), ("distillation", student)):
        (folder / name).mkdir()
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / name / "progress.jsonl").write_text(lines)
    evaluation = {
        "levels": [_level(i, 50, 10.0) for i in range(5)],
        "hardest": _level(4, 500, 20.0),
        "parameters": {"student": 2258, "teacher_actor": 40000},
    }
    (folder / "evaluation.json").write_text(json.dumps(evaluation))
    return folder


@pytest.fixture
def whole(template: Path, tmp_path: Path) -> Path:
    """A run folder with everything in it, to change."""
    folder = tmp_path / "whole"
    shutil.copytree(template, folder)
    return folder
