"""The MuJoCo twin: one robot as the plant behind virtual servos, with a hand that holds it.

Uses the same MJCF as training, at a finer timestep. While any servo has no torque the hand holds
the robot upright where it stands; it lets go when all have torque. A fixed base needs no hand.
"""

from __future__ import annotations

from collections import deque

import mujoco
import numpy as np

from ..hardware.plant import Drive, ImuSample
from ..hardware.robot import Robot
from .motors import motor_of
from .physics import ModelError, load_model
from .servo_loops import CONSTANT, RESISTANCE, VOLTAGE

_HAND_STIFFNESS = 1.2  # [N·m/rad] towards upright
_HAND_DAMPING = 0.06  # [N·m·s/rad]
_HAND_SPRING = 60.0  # [N/m] towards where it was taken
_HAND_FRICTION = 6.0  # [N·s/m]
_FALLEN = 0.9  # [rad]


class Twin:
    """``hardware.plant.Plant`` in MuJoCo, for robots whose MJCF drives joints by ``dcmotor``
    with ``input="ff"``.

    ``free`` says whether the base can move, and ``held`` whether the hand holds it.

    Args:
        robot: the robot; its signs and zeros map servo angles to joints.
        seed: of the pose it is held in at first.
        timestep: of physics [s].
        latency: from a drive's change to torque [s], as a servo's own firmware adds.
        battery_resistance: the supply sags by this times the total current [Ω].

    Raises:
        ModelError: the MJCF does not fit the robot.
    """

    def __init__(
        self,
        robot: Robot,
        seed: int = 0,
        *,
        timestep: float = 0.001,
        latency: float = 0.005,
        battery_resistance: float = 0.1,
    ) -> None:
        self.robot = robot
        self.model = load_model(robot, timestep)
        self.data = mujoco.MjData(self.model)
        self.model.actuator_delay[:] = 0.0
        self._delay = round(latency / timestep)
        self._battery_resistance = battery_resistance
        joints = [self.model.joint(name) for name in robot.joints]
        self._qpos = np.array([joint.qposadr[0] for joint in joints])
        self._qvel = np.array([joint.dofadr[0] for joint in joints])
        self._actuator = np.array([self.model.actuator(name).id for name in robot.joints])
        gains = self.model.actuator_gainprm[self._actuator]
        if np.any(self.model.actuator_ctrlspec[self._actuator] != mujoco.mjtCtrlInput.mjINPUT_FF):
            raise ModelError(
                f"{robot.model_path}: virtual servos ask every dcmotor for a torque; write "
                'input="ff" for each joint'
            )
        self._resistance, self._constant = gains[:, RESISTANCE].copy(), gains[:, CONSTANT].copy()
        self._nominal_voltage = float(gains[0, VOLTAGE])
        self._supply = self._nominal_voltage
        self._sign = np.array([joint.sign for joint in robot.joint], dtype=float)
        self._zero = np.array([joint.zero for joint in robot.joint])
        self._torque_constant = np.array(
            [motor_of(joint).at(self._nominal_voltage).torque_constant for joint in robot.joint]
        )
        n = len(robot.joints)
        self._drive: list[tuple[Drive, float]] = [("off", 0.0)] * n
        self._pending: deque[list[tuple[Drive, float]]] = deque([list(self._drive)] * self._delay)
        self._sensor = {
            self.model.sensor(i).name: slice(
                self.model.sensor_adr[i], self.model.sensor_adr[i] + self.model.sensor_dim[i]
            )
            for i in range(self.model.nsensor)
        }
        self._base = int(self.model.jnt_bodyid[0])
        site = mujoco.mj_name2id(self.model, mujoco.mjtObj.mjOBJ_SITE, "push")
        self._push_site = site
        self._pushed = int(self.model.site_bodyid[site]) if site >= 0 else self._base
        self.time = 0.0
        self._started: float | None = None
        self._steps = 0
        self.free = bool(self.model.jnt_type[0] == mujoco.mjtJoint.mjJNT_FREE)
        rng = np.random.default_rng(seed)
        tilt = rng.uniform(-0.02, 0.02)
        if self.free:
            self.data.qpos[3:7] = [np.cos(tilt / 2), 0.0, np.sin(tilt / 2), 0.0]
        self.data.qpos[self._qpos] = _within(self.model, robot, rng.uniform(-1.0, 1.0, n))
        mujoco.mj_forward(self.model, self.data)
        self.held = self.free
        self._grip = np.array(self.data.qpos[:3])
        self._heading = self._yaw()
        self._blocked: dict[int, float] = {}  # by joint: where a hand holds it [rad of the joint]
        self._push: tuple[np.ndarray, int] = (np.zeros(3), 0)

    # Plant

    def drive(self, joint: int, kind: Drive, value: float) -> None:
        self._drive[joint] = (kind, float(value))

    def advance(self, time: float) -> None:
        if self._started is None:
            self._started = time
        timestep = self.model.opt.timestep
        due = int((time - self._started) / timestep + 1e-6)
        while self._steps < due:
            self._step()
            self._steps += 1
        self.time = time

    def motor(self, joint: int) -> tuple[float, float, float]:
        sign = self._sign[joint]
        angle = sign * self.data.qpos[self._qpos[joint]] + self._zero[joint]
        velocity = sign * self.data.qvel[self._qvel[joint]]
        torque = sign * self.data.actuator_force[self._actuator[joint]]
        return float(angle), float(velocity), float(torque / self._torque_constant[joint])

    def supply(self) -> float:
        return self._supply

    def imu(self) -> ImuSample:
        sensors = self.data.sensordata
        return ImuSample(
            orientation=sensors[self._sensor["orientation"]].copy(),
            angular_velocity=sensors[self._sensor["angular_velocity"]].copy(),
            linear_acceleration=sensors[self._sensor["linear_acceleration"]].copy(),
        )

    # The world around the robot

    def push(self, impulse: tuple[float, float, float] | np.ndarray, seconds: float = 0.01) -> None:
        """Push with ``impulse`` [N·s], world frame, spread over ``seconds``.

        It acts at the site ``push`` of the MJCF, or at the base's centre of mass if there is none.
        """
        steps = max(1, round(seconds / self.model.opt.timestep))
        force = np.asarray(impulse, dtype=float) / (steps * self.model.opt.timestep)
        self._push = (force, steps)

    def turn(self, joint: int, angle: float, speed: float = 0.0) -> None:
        """Put a motor's shaft at ``angle`` [rad] with ``speed`` [rad/s], as a hand would.

        Raises:
            ValueError: there is a stop before ``angle``.
        """
        sign, zero = self._sign[joint], self._zero[joint]
        target = sign * (angle - zero)
        name = self.robot.joints[joint]
        if self.model.joint(name).limited[0]:
            low, high = self.model.joint(name).range
            if not low <= target <= high:
                stops = sorted((sign * low + zero, sign * high + zero))
                raise ValueError(
                    f"angle is {angle:g} rad; the stops of {name} are at {stops[0]:.3f} and "
                    f"{stops[1]:.3f} rad of its servo's shaft"
                )
        self.data.qpos[self._qpos[joint]] = target
        self.data.qvel[self._qvel[joint]] = sign * speed
        if joint in self._blocked:
            self._blocked[joint] = float(self.data.qpos[self._qpos[joint]])

    def block(self, joint: int, blocked: bool = True) -> None:
        """Hold a shaft where it is, whatever pulls at it; or let go."""
        if blocked:
            self._blocked[joint] = float(self.data.qpos[self._qpos[joint]])
        else:
            self._blocked.pop(joint, None)

    def load(self, joint: int, torque: float) -> None:
        """Let a torque [N·m, in the servo's sense] pull at a shaft until told otherwise."""
        self.data.qfrc_applied[self._qvel[joint]] = self._sign[joint] * torque

    @property
    def tilt(self) -> float:
        """Angle between the body's axis and the vertical [rad]."""
        up = self.data.xmat[self._base].reshape(3, 3)[2, 2]
        return float(np.arccos(np.clip(up, -1.0, 1.0)))

    @property
    def fallen(self) -> bool:
        """Lying on the floor with nobody holding it."""
        return self.free and not self.held and self.tilt > _FALLEN

    def pose(self) -> np.ndarray:
        """Generalised positions, (nq,), a copy."""
        return np.array(self.data.qpos)

    def _step(self) -> None:
        self._pending.append(list(self._drive))
        drives = self._pending.popleft()
        for joint, (kind, value) in enumerate(drives):
            self.data.ctrl[self._actuator[joint]] = self._torque(joint, kind, value)
        forces = np.abs(self.data.actuator_force[self._actuator]) / self._torque_constant
        self._supply = self._nominal_voltage - self._battery_resistance * float(forces.sum())
        self.model.actuator_gainprm[self._actuator, VOLTAGE] = self._supply
        self.data.xfrc_applied[self._pushed] = 0.0
        if self.free:
            self._hold(any(kind == "off" for kind, _ in self._drive))
        force, steps = self._push
        if steps > 0:
            wrench = self.data.xfrc_applied[self._pushed]
            wrench[:3] += force
            if self._push_site >= 0:
                arm = self.data.site_xpos[self._push_site] - self.data.xipos[self._pushed]
                wrench[3:] += np.cross(arm, force)
            self._push = (force, steps - 1)
        mujoco.mj_step(self.model, self.data)
        for joint, angle in self._blocked.items():
            self.data.qpos[self._qpos[joint]] = angle
            self.data.qvel[self._qvel[joint]] = 0.0

    def _torque(self, joint: int, kind: Drive, value: float) -> float:
        """What the bridge asks of the motor, in the joint's sense [N·m].

        The ``dcmotor`` delivers it as far as the supply voltage allows.
        """
        if kind == "off":
            return 0.0  # the feed-forward input compensates back-EMF: an open bridge
        if kind == "current":
            return self._sign[joint] * value * self._torque_constant[joint]
        velocity = self._sign[joint] * self.data.qvel[self._qvel[joint]]
        constant, resistance = self._constant[joint], self._resistance[joint]
        return self._sign[joint] * constant * (value - constant * velocity) / resistance

    def _hold(self, grip: bool) -> None:
        wrench = self.data.xfrc_applied[self._base]
        wrench[:] = 0.0
        if grip and not self.held:
            self._grip = np.array([*self.data.qpos[:2], self.model.qpos0[2]])
            self._heading = self._yaw()
        self.held = grip
        if not grip:
            return
        rotation = self.data.xmat[self._base].reshape(3, 3)
        axis = np.cross(rotation[:, 2], [0.0, 0.0, 1.0])
        turned = np.arctan2(
            np.sin(self._heading - self._yaw()), np.cos(self._heading - self._yaw())
        )
        axis[2] += 0.3 * turned
        angular = rotation @ self.data.qvel[3:6]
        wrench[3:] = _HAND_STIFFNESS * axis - _HAND_DAMPING * angular
        error = self._grip - self.data.qpos[:3]
        error[2] = 0.0  # the floor carries the weight
        velocity = self.data.qvel[:3] * [1.0, 1.0, 0.0]
        wrench[:3] = _HAND_SPRING * error - _HAND_FRICTION * velocity

    def _yaw(self) -> float:
        rotation = self.data.xmat[self._base].reshape(3, 3)
        return float(np.arctan2(rotation[1, 0], rotation[0, 0]))


def _within(model: mujoco.MjModel, robot: Robot, angles: np.ndarray) -> np.ndarray:
    """``angles`` (joints,) [rad] moved into the joints' ranges."""
    joints = [model.joint(name).id for name in robot.joints]
    limited, span = model.jnt_limited[joints].astype(bool), model.jnt_range[joints]
    return np.where(limited, np.clip(angles, span[:, 0], span[:, 1]), angles)
