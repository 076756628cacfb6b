"""The errors a bus can raise. Everything that can happen while reading is data instead."""

from __future__ import annotations


class RetortError(Exception):
    """Base of every error retort raises on purpose; its text is one sentence to act on."""


class PortError(RetortError):
    """The port cannot be opened, is held by another program, or has gone away."""


class DeviceError(RetortError):
    """A device did not answer, or answered with an error, where an answer is required."""


class RobotFileError(RetortError):
    """A robot.toml or servo model table is not as it must be."""
