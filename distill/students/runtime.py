"""Whether the robot's runtime does what a student does: of kinds that are a recipe's own."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...controller.policy import PolicyError, Stack
from . import Student, StudentError

_TOLERANCE = 1e-4  # of actions, in float32


@torch.no_grad()
def check_runtime(student: Student, sequence: Tensor) -> None:
    """A student's actions along a sequence must be those of the runtime, tick by tick.

    Args:
        student: as it is before or after training.
        sequence: (T, N, observation_size), not normalised.

    Raises:
        StudentError: the runtime cannot read it, or acts or remembers differently.
    """
    interface, kind = student.interface, student.config.kind
    meta, tensors = student.export()
    try:
        policy = Stack(
            meta,
            {name: tensor.numpy() for name, tensor in tensors.items()},
            columns=interface.columns(student.architecture),
            outputs=interface.outputs,
            limit=interface.limit,
        )
    except PolicyError as error:
        raise StudentError(
            f"the robot's runtime cannot read students of kind {kind}: {error}"
        ) from error
    if policy.state_size != student.state_size:
        raise StudentError(
            f"students of kind {kind} remember {student.state_size} numbers and the robot's "
            f"runtime {policy.state_size} by their architecture; let state_size be the sum of its "
            "layers'"
        )
    count = sequence.shape[1]
    never = torch.zeros(sequence.shape[:2], dtype=torch.bool)
    said = student.deployed()(sequence, student.initial_state(count), never)[0].mode()
    for i in range(count):
        hidden = policy.initial_state()
        for t, observation in enumerate(sequence[:, i].numpy()):
            action, hidden = policy.step(observation, hidden)
            off = float(np.abs(action - said[t, i].numpy()).max())
            if not off <= _TOLERANCE:
                raise StudentError(
                    f"students of kind {kind} act otherwise than the robot's runtime by their "
                    f"architecture (by {off:.2g} at tick {t}); let _run be those layers, in that "
                    "order, each but the last with the activation"
                )
