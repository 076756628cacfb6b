"""Many copies of one robot stepped on native threads, with named access to what they share.

Knows MuJoCo and the robot's joints; knows nothing of tasks, observations or rewards.
"""

from __future__ import annotations

import mujoco
import numpy as np

from ..controller.gate import gate_limits
from ..hardware.robot import Robot
from .motors import check_motors
from .servo_loops import SPEED, close_loops
from .simulations import GRAVITY, ModelError, Simulations

IMU_SENSORS = ("orientation", "angular_velocity", "linear_acceleration")
_PLACES = ("site_xpos", "xipos")  # that forces are applied by


def load_model(
    robot: Robot, timestep: float | None = None, *, loops: bool = False
) -> mujoco.MjModel:
    """Compile a robot's MJCF and check that it names what robot.toml names.

    Args:
        robot: whose.
        timestep: instead of the file's [s].
        loops: joints in position mode take angles, as their servos do, instead of torques.

    Raises:
        ModelError: the file does not compile, a joint, actuator or sensor is missing, an actuator
            is not the motor of its servo, or a joint's loop cannot be simulated.
    """
    try:
        spec = mujoco.MjSpec.from_file(str(robot.model_path))
        model = spec.compile()
    except ValueError as error:
        raise ModelError(f"{robot.model_path} does not compile: {error}") from error
    for kind, names in (
        (mujoco.mjtObj.mjOBJ_JOINT, robot.joints),
        (mujoco.mjtObj.mjOBJ_ACTUATOR, robot.joints),
        (mujoco.mjtObj.mjOBJ_SENSOR, IMU_SENSORS if robot.imu else ()),
    ):
        for name in names:
            if mujoco.mj_name2id(model, kind, name) < 0:
                what = kind.name.removeprefix("mjOBJ_").lower()
                raise ModelError(f"{robot.model_path} has no {what} named {name!r}; add one")
    check_motors(model, robot)
    if loops:
        close_loops(spec, robot)
        try:
            model = spec.compile()
        except ValueError as error:
            raise ModelError(
                f"{robot.model_path} does not compile with its servos' loops: {error}"
            ) from error
    # With "same frame" flags MuJoCo skips a site's own rotation; it is randomised here.
    model.site_sameframe[:] = mujoco.mjtSameFrame.mjSAMEFRAME_NONE
    if timestep is not None:
        model.opt.timestep = timestep
    return model


class Physics(Simulations):
    """``num_envs`` simulations of one robot.

    ``sensors`` are live views by name, (num_envs, size), and lag the state by one substep, as a
    sensor's own filter does. ``actuators`` are those of the joints, in their order, and ``loops``
    those among them that follow angles as their servos do.

    Args:
        robot: whose MJCF is simulated.
        num_envs: simulations.
        substeps: physics steps of one control tick.
        threads: 0 is one per core.

    Raises:
        ModelError: the model does not fit the robot, the substeps do not make one tick, or a
            joint's loop cannot be simulated.
    """

    def __init__(self, robot: Robot, num_envs: int, *, substeps: int, threads: int = 0) -> None:
        model = load_model(robot, loops=True)
        period = substeps * model.opt.timestep
        if abs(period - robot.period) > 1e-9:
            raise ModelError(
                f"{substeps} substeps of {model.opt.timestep} s are {period:.6g} s, but one "
                f"control tick is {robot.period:.6g} s; change the timestep or the substeps"
            )
        outputs = ("actuator_force", "site_xpos", "xipos", "sensordata")
        super().__init__(model, num_envs, substeps=substeps, threads=threads, outputs=outputs)
        self.robot = robot
        sensors = self.outputs["sensordata"]
        self.sensors = {
            model.sensor(i).name: sensors[
                :, model.sensor_adr[i] : model.sensor_adr[i] + model.sensor_dim[i]
            ]
            for i in range(model.nsensor)
        }
        joints = [model.joint(name) for name in robot.joints]
        self.joint_qpos = np.array([joint.qposadr[0] for joint in joints])
        self.joint_qvel = np.array([joint.dofadr[0] for joint in joints])
        self.actuators = np.array([model.actuator(name).id for name in robot.joints])
        self._controls = model.actuator_ctrladr[self.actuators]
        self.loops = self.actuators[[joint.mode == "position" for joint in robot.joint]]
        self.strength = np.ones((num_envs, len(robot.joints)))  # of each motor, 1 nominal
        limits = gate_limits(robot)
        self._low, self._high = limits.low, limits.high
        self._loaded: dict[str, np.ndarray] = {}  # where things were, until the next step
        # What is asked before anything is: where a position loop leads to at first.
        rest = [joint.default if joint.mode == "position" else 0.0 for joint in robot.joint]
        self._rest = np.array(rest)
        self._history, self._act = self.batch.bind("history"), self.batch.bind("act")
        self._first_history = _asked_before(model, self.actuators, self._rest)
        loops = model.actuator_dynprm[self.actuators, SPEED] > 0
        self._ways = model.actuator_actadr[self.actuators[loops]]
        self._way_rest = self._rest[loops]

    def reset(self, ids: np.ndarray) -> None:
        """Put simulations ``ids`` back to the model's defaults and nominal fields, uncomputed.

        Joints in position mode have been asked for their default angle until then.
        """
        super().reset(ids)
        self.strength[ids] = 1.0
        self.ctrl[ids[:, None], self._controls] = self._rest
        self._history[ids] = self._first_history
        self._act[ids[:, None], self._ways] = self._way_rest

    def against_gravity(self, orientation: np.ndarray, rows: slice | np.ndarray) -> np.ndarray:
        """Orientations of ``rows`` in a frame whose z points up, whichever way the floor leans.

        Args:
            orientation: (n, 4), w x y z, in the floor's frame.
            rows: whose they are.
        """
        if GRAVITY not in self.fields:
            return orientation
        gravity = self.fields[GRAVITY][rows]
        down = (gravity / np.linalg.norm(gravity, axis=1, keepdims=True)).astype(orientation.dtype)
        # The shortest rotation q from down to -z, as q * orientation.
        turn = np.stack([1.0 - down[:, 2], -down[:, 1], down[:, 0]], axis=1)
        w, x, y = (turn / np.linalg.norm(turn, axis=1, keepdims=True)).T
        a, b, c, d = orientation.T
        return np.stack(
            [
                w * a - x * b - y * c,
                w * b + x * a + y * d,
                w * c + y * a - x * d,
                w * d + x * c - y * b,
            ],
            axis=1,
        )

    def apply_force(self, ids: np.ndarray, site: str, force: np.ndarray) -> None:
        """Let ``force`` (len(ids), 3) [N], world frame, act at a site until ``wrench`` changes."""
        number = self.model.site(site).id
        body = int(self.model.site_bodyid[number])
        # MuJoCo applies at the body's own centre of mass.
        arm = self._place("site_xpos")[ids, number] - self._place("xipos")[ids, body]
        self.wrench[ids, body, :3] = force
        self.wrench[ids, body, 3:] = np.cross(arm, force)

    def drive(self, target: np.ndarray) -> None:
        """Give every joint its target for the steps to come, within its limits as on the robot.

        Args:
            target: (num_envs, joints) [N·m], or [rad] of joints in position mode.
        """
        self.ctrl[:, self._controls] = np.clip(target, self._low, self._high) * self.strength

    def settle(self, ids: np.ndarray) -> None:
        """Compute derived constants and fields of ``ids`` after a reset and writes to them."""
        super().settle(ids)
        for name, values in self._loaded.items():
            values[ids] = self.outputs[name][ids]

    def step(self) -> None:
        """``substeps`` physics steps of everybody in one native call."""
        super().step()
        self._loaded = {}

    def _place(self, field: str) -> np.ndarray:
        """A derived position before the last substep, which a loaded state alone cannot tell."""
        return self._loaded[field] if field in self._loaded else self.outputs[field]

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything needed to go on to the bit."""
        places = {name: self._place(name).copy() for name in _PLACES}
        return {**super().state_dict(), "strength": self.strength.copy(), **places}

    def load_state_dict(self, arrays: dict[str, np.ndarray]) -> None:
        """The inverse of ``state_dict``."""
        self.strength[:] = arrays["strength"]
        super().load_state_dict(arrays)
        # A state of before they were kept goes on, with the places of its last substep.
        self._loaded = {name: np.asarray(arrays[name]).copy() for name in _PLACES if name in arrays}


def _asked_before(model: mujoco.MjModel, actuators: np.ndarray, control: np.ndarray) -> np.ndarray:
    """What the delays hold at first if ``actuators`` have been asked for ``control`` so far."""
    data = mujoco.MjData(model)
    for i, asked in zip(actuators, control, strict=True):
        if samples := int(model.actuator_history[i, 0]):
            mujoco.mj_initCtrlHistory(model, data, i, None, np.full(samples, asked))
    return np.array(data.history)
