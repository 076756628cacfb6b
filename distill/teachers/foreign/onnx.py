"""Teachers that are ONNX files, from whatever trained them, run by onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....hardware.checks import POSITIVE, check
from ...distributions import Categorical, Gaussian
from ..teacher import TeacherOutput
from .base import ForeignTeacher, ForeignTeacherError


class OnnxTeacher(ForeignTeacher):
    """A network from one observation (batch, size) to one action (batch, actions).

    Its output is the mean of a Gaussian of stated deviation; with ``discrete``, it is logits of
    choices. No gradient reaches the observations. A file of a fixed batch is run in pieces of that
    size: one row at a time, which is slow, where it is 1; export it with a free batch axis.

    Args:
        path: the file.
        noise_std: stated deviation, in units of the action; 0.1 when absent.
        discrete: the output is one logit per choice.
        temperature: logits are divided by it.
        output: its name, where the file has several.
        group: the observations it knows.

    Raises:
        ForeignTeacherError: onnxruntime is missing or cannot read the file, or inputs and outputs
            are not as above, or an option is given that would do nothing.
        RangeError: a deviation or temperature that is not above 0.
    """

    def __init__(
        self,
        path: Path,
        *,
        noise_std: float | None = None,
        discrete: bool = False,
        temperature: float = 1.0,
        output: str | None = None,
        group: str = "teacher",
    ) -> None:
        if discrete and noise_std is not None:
            raise ForeignTeacherError(
                f"noise_std is {noise_std} and does nothing where discrete is true; leave one out"
            )
        if not discrete and temperature != 1.0:
            raise ForeignTeacherError(
                f"temperature is {temperature} and does nothing where discrete is false; leave it "
                "out, or set discrete"
            )
        noise_std = 0.1 if noise_std is None else noise_std
        check("noise_std", noise_std, POSITIVE)
        check("temperature", temperature, POSITIVE)
        self.path = path
        self._session = _session(path)
        entering, leaving = self._session.get_inputs(), self._session.get_outputs()
        if len(entering) != 1:
            raise ForeignTeacherError(
                f"{path} has inputs {_said(entering)}, expected the observation alone; export the "
                "policy without hidden state and with constants inside"
            )
        chosen = [port for port in leaving if output in (None, port.name)]
        if len(chosen) != 1:
            raise ForeignTeacherError(
                f"{path} has outputs {_said(leaving)}, expected one; name it with the option output"
            )
        self._input, self._batch, inputs = _port(path, "input", entering[0])
        self._output, _, outputs = _port(path, "output", chosen[0])
        self.noise_std, self.temperature = noise_std, temperature
        if outputs is None:
            if inputs is None:
                raise ForeignTeacherError(
                    f"{path} leaves the sizes of its input and output open; export it with fixed "
                    "numbers of observations and actions"
                )
            outputs = self._run(np.zeros((self._batch or 1, inputs), np.float32)).shape[-1]
        super().__init__(
            group=group,
            observation_size=inputs,
            actions=None,
            outputs=outputs,
            discrete=discrete,
        )

    def describe(self, observation: Tensor) -> TeacherOutput:
        rows = np.ascontiguousarray(observation.detach().numpy(), dtype=np.float32)
        output = torch.from_numpy(self._run(rows))
        if self.discrete:
            return TeacherOutput(Categorical(output / self.temperature))
        return TeacherOutput(Gaussian(output, torch.full_like(output, self.noise_std)))

    def _run(self, rows: np.ndarray) -> np.ndarray:
        """(n, size) to (n, outputs)."""
        size = self._batch or max(len(rows), 1)
        missing = -len(rows) % size
        padded = np.concatenate([rows, np.zeros((missing, rows.shape[1]), np.float32)])
        parts = [
            self._session.run([self._output], {self._input: padded[i : i + size]})[0]
            for i in range(0, len(padded), size)
        ]
        return np.concatenate(parts)[: len(rows)]


def _session(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ForeignTeacherError(
            f"{path} needs onnxruntime, which is not installed: pip install onnxruntime"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # its idle threads would starve the physics'
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's own errors have no common base
        raise ForeignTeacherError(
            f"cannot read {path} as an ONNX model: {str(error).splitlines()[0]}; export it again"
        ) from error


def _said(ports: list[Any]) -> str:
    """Names and shapes."""
    return ", ".join(f"{port.name} {port.shape}" for port in ports)


def _port(path: Path, kind: str, port: Any) -> tuple[str, Any, Any]:
    """Name, batch and size of an input or output; None where the file leaves them open."""
    if len(port.shape) != 2 or port.type != "tensor(float)":
        raise ForeignTeacherError(
            f"{path}: {kind} {port.name} is {port.type} of shape {port.shape}, expected float of "
            "shape (batch, size); export it so"
        )
    batch, size = (extent if isinstance(extent, int) else None for extent in port.shape)
    return port.name, batch, size
