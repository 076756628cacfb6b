"""A student as a recipe's own file defines it."""

from retort.controller.architecture import Architecture
from retort.distill.students import TcnStudent
from retort.distill.students.student import dense


class Sieve(TcnStudent):
    groups = (("dense", "encoder"), *TcnStudent.architecture.groups)
    architecture = Architecture(groups, window=False)

    def __init__(self, config, interface):
        super().__init__(config, interface)
        self.encoder = dense((self.inputs, self.inputs))

    def _run(self, x, state, resets, *, keep):
        return super()._run(self._dense(self.encoder, x, {}), state, resets, keep=keep)


STUDENT = Sieve
