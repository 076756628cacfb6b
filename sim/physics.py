"""Many copies of one robot stepped on native threads, with named access to what they share.

Knows MuJoCo and the robot's joints; knows nothing of tasks, observations or rewards.
"""

from __future__ import annotations

import mujoco
import numpy as np
from mujoco import batch

from ..hardware.errors import RetortError
from ..hardware.robot import Robot

IMU_SENSORS = ("orientation", "angular_velocity", "linear_acceleration")


class ModelError(RetortError):
    """A robot's MJCF does not fit its robot.toml."""


def load_model(robot: Robot, timestep: float | None = None) -> mujoco.MjModel:
    """Compile a robot's MJCF and check that it names what robot.toml names.

    Raises:
        ModelError: the file does not compile, or a joint, actuator or sensor is missing.
    """
    try:
        model = mujoco.MjModel.from_xml_path(str(robot.model_path))
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
    # With "same frame" flags MuJoCo skips a site's own rotation; it is randomised here.
    model.site_sameframe[:] = mujoco.mjtSameFrame.mjSAMEFRAME_NONE
    if timestep is not None:
        model.opt.timestep = timestep
    return model


class Physics:
    """``num_envs`` simulations of one robot.

    Arrays are live: a write to ``qpos``, ``qvel``, ``ctrl`` or ``wrench`` is the state at the next
    step. ``sensors`` lag the state by one substep, as a sensor's own filter does.
    """

    def __init__(self, robot: Robot, num_envs: int, *, substeps: int, threads: int = 0) -> None:
        self.robot = robot
        self.model = load_model(robot)
        self.substeps = substeps
        self.num_envs = num_envs
        period = substeps * self.model.opt.timestep
        if abs(period - robot.period) > 1e-9:
            raise ModelError(
                f"{substeps} substeps of {self.model.opt.timestep} s are {period:.6g} s, but one "
                f"control tick is {robot.period:.6g} s; change the timestep or the substeps"
            )
        self.batch = batch.Batch(self.model, num_envs, nthread=threads)
        self.qpos = self.batch.bind("qpos")
        self.qvel = self.batch.bind("qvel")
        self.ctrl = self.batch.bind("ctrl")
        self.wrench = self.batch.bind("xfrc_applied")
        self.actuator_force = self.batch.bind("actuator_force")
        self._site_position = self.batch.bind("site_xpos")
        self._centre_of_mass = self.batch.bind("xipos")
        sensors = self.batch.bind("sensordata")
        self.sensors = {
            self.model.sensor(i).name: sensors[
                :, self.model.sensor_adr[i] : self.model.sensor_adr[i] + self.model.sensor_dim[i]
            ]
            for i in range(self.model.nsensor)
        }
        joints = [self.model.joint(name) for name in robot.joints]
        self.joint_qpos = np.array([joint.qposadr[0] for joint in joints])
        self.joint_qvel = np.array([joint.dofadr[0] for joint in joints])
        self.actuators = np.array([self.model.actuator(name).id for name in robot.joints])
        self.strength = np.ones((num_envs, len(robot.joints)))  # of each motor, 1 nominal
        self.nominal: dict[str, np.ndarray] = {}
        self.fields: dict[str, np.ndarray] = {}

    def expand(self, field: str) -> np.ndarray:
        """Per-simulation values of a model field, (num_envs, ...); remembers the nominal ones."""
        if field not in self.fields:
            self.nominal[field] = np.array(getattr(self.model, field), copy=True)
            self.fields[field] = self.batch.expand(field)
        return self.fields[field]

    def reset(self, ids: np.ndarray) -> None:
        """Put simulations ``ids`` back to the model's defaults and nominal fields, uncomputed."""
        self.batch.reset(ids, stage=mujoco.mjtStage.mjSTAGE_NONE)
        for name, values in self.fields.items():
            values[ids] = self.nominal[name]
        self.strength[ids] = 1.0

    def settle(self, ids: np.ndarray) -> None:
        """Compute derived constants and sensors of ``ids`` after a reset and its randomisation."""
        if self.fields:
            self.batch.set_const(ids)
        self.batch.forward(ids)

    def apply_force(self, ids: np.ndarray, site: str, force: np.ndarray) -> None:
        """Let ``force`` (len(ids), 3) [N], world frame, act at a site until ``wrench`` changes."""
        number = self.model.site(site).id
        body = int(self.model.site_bodyid[number])
        # MuJoCo applies at the body's own centre of mass.
        arm = self._site_position[ids, number] - self._centre_of_mass[ids, body]
        self.wrench[ids, body, :3] = force
        self.wrench[ids, body, 3:] = np.cross(arm, force)

    def step(self, target: np.ndarray) -> None:
        """One control tick for everybody.

        Args:
            target: (num_envs, joints), in the unit of each joint's mode.
        """
        self.ctrl[:, self.actuators] = target * self.strength
        self.batch.step(nstep=self.substeps)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything needed to go on to the bit."""
        arrays = {f"field.{name}": np.array(values) for name, values in self.fields.items()}
        return {
            "state": np.array(self.batch.state),
            "strength": self.strength.copy(),
            **arrays,
        }

    def load_state_dict(self, arrays: dict[str, np.ndarray]) -> None:
        """The inverse of ``state_dict``."""
        for name, values in self.fields.items():
            values[:] = arrays[f"field.{name}"]
        if self.fields:
            self.batch.set_const()
        self.strength[:] = arrays["strength"]
        self.batch.state[:] = arrays["state"]
        self.batch.forward()
        self.batch.state[:] = arrays["state"]
