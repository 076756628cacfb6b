"""A short animation of a flight: recorded states in, animated WebP out. Rendered without a screen.

Run as a program of its own (``python -m retort.launch.animation FOLDER OUT``), since the OpenGL
platform has to be chosen before MuJoCo is imported and a broken driver may end the process.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .results import Results, load_results

FRAMES_PER_SECOND = 16
SECONDS = 6.0
WIDTH, HEIGHT = 440, 330
TIME_LIMIT = 60.0  # [s]


def render(folder: Path) -> tuple[bytes | None, str]:
    """The animation of the flight in ``folder``, or None and a sentence that says why not."""
    out = folder / "animation.webp"
    out.unlink(missing_ok=True)
    command = [sys.executable, "-m", "retort.launch.animation", str(folder), str(out)]
    environment = {"MUJOCO_GL": "egl", **os.environ}
    try:
        made = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=TIME_LIMIT
        )
    except subprocess.TimeoutExpired:
        return None, f"There is no animation: rendering took longer than {TIME_LIMIT:g} s."
    if made.returncode == 0 and out.is_file():
        return out.read_bytes(), ""
    lines = made.stderr.strip().splitlines()
    reason = lines[-1] if lines else f"the renderer ended with code {made.returncode}"
    return None, f"There is no animation: nothing could render here ({reason})."


def window(results: Results) -> tuple[float, float]:
    """The part of the flight to show [s]: around a push, or its beginning."""
    assert results.bus is not None
    end = results.bus.seconds
    pushes = results.endured_pushes()
    first = pushes[len(pushes) // 2] - 0.35 * SECONDS if pushes else 0.0
    first = min(max(first, 0.0), max(end - SECONDS, 0.0))
    return first, min(first + SECONDS, end)


def _frames(results: Results) -> list[np.ndarray]:
    import mujoco

    from ..hardware.robot import load_robot

    assert results.bus is not None
    robot = load_robot(results.recipe.get("robot", results.bus.flight.meta["robot"]))
    model = mujoco.MjModel.from_xml_path(str(robot.model_path))
    model.vis.quality.shadowsize = min(model.vis.quality.shadowsize, 1024)
    data = mujoco.MjData(model)
    ticks = results.bus.flight.ticks
    flight_time = ticks["time"] - results.bus.start
    pose_time, position = _positions(results, np.asarray(model.qpos0[:3]))
    camera = mujoco.MjvCamera()
    camera.distance = 2.9 * _radius(model)
    camera.azimuth, camera.elevation = 125.0, -14.0
    pushes = results.endured_pushes()
    first, last = window(results)
    frames = []
    with mujoco.Renderer(model, HEIGHT, WIDTH) as renderer:
        for time in np.arange(first, last, 1.0 / FRAMES_PER_SECOND):
            row = max(int(np.searchsorted(flight_time, time, side="right")) - 1, 0)
            base = [np.interp(time, pose_time, axis) for axis in position.T]
            put(data, base, ticks[row], results.bus.joints)
            mujoco.mj_forward(model, data)
            camera.lookat[:] = data.subtree_com[1]
            renderer.update_scene(data, camera=camera)
            if any(0.0 <= time - push < 0.25 for push in pushes):
                _mark_push(renderer.scene, _pushed(model, data))
            frames.append(renderer.render().copy())
    return frames


def put(data, base: Sequence[float], tick, joints: Sequence[str]) -> None:
    """Put the robot into the pose of one recorded tick.

    Args:
        data: MuJoCo's, of the robot's model; changed.
        base: where the base is [m]; a base that cannot move stays where it is.
        tick: a row of the flight log.
        joints: names, in the order of its readings.
    """
    import mujoco

    if data.model.jnt_type[0] == mujoco.mjtJoint.mjJNT_FREE:
        data.qpos[:3], data.qpos[3:7] = base, tick["orientation"]
    for index, joint in enumerate(joints):
        data.joint(joint).qpos[0] = tick["joint_position"][index]


def _positions(results: Results, nominal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Base positions (n, 3) over time: the virtual robot's truth, or one place if nobody knows."""
    assert results.bus is not None
    poses = [event for event in results.events if event["event"] == "pose"]
    if not poses:
        return np.zeros(1), nominal[None]
    time = np.array([event["time"] for event in poses], dtype=float) - results.bus.start
    return time, np.array([event["position"] for event in poses], dtype=float)


def _radius(model) -> float:
    """Of a ball around the base that holds the whole robot in its default pose [m]."""
    import mujoco

    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    robot = model.geom_bodyid > 0
    distance = np.linalg.norm(data.geom_xpos[robot] - data.xpos[1], axis=1)
    return float(np.max(distance + model.geom_rbound[robot]))


def _pushed(model, data) -> np.ndarray:
    """Where a push acts: the site of that name, or the base."""
    import mujoco

    site = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_SITE, "push")
    return data.site_xpos[site] if site >= 0 else data.xpos[model.jnt_bodyid[0]]


def _mark_push(scene, where: np.ndarray) -> None:
    """A ball above what is being pushed."""
    import mujoco

    if scene.ngeom >= scene.maxgeom:
        return
    mujoco.mjv_initGeom(
        scene.geoms[scene.ngeom],
        mujoco.mjtGeom.mjGEOM_SPHERE,
        np.array([0.014, 0, 0]),
        np.asarray(where) + np.array([0.0, 0.0, 0.1]),
        np.eye(3).ravel(),
        np.array([0.85, 0.25, 0.3, 1.0], dtype=np.float32),
    )
    scene.ngeom += 1


def main(folder: str, out: str) -> None:
    """Render the flight in ``folder`` to ``out``."""
    from PIL import Image

    images = [Image.fromarray(frame) for frame in _frames(load_results(Path(folder)))]
    images[0].save(
        out,
        save_all=True,
        append_images=images[1:],
        duration=round(1000 / FRAMES_PER_SECOND),
        loop=0,
        quality=72,
        method=2,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
