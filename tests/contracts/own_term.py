"""A term as a recipe's own file defines it."""


def squared(sample, *, scale: float = 1.0):
    off = sample.student.mode() - sample.teacher.distribution.mode()
    return scale * off.square().mean(-1)


TERM = squared
