"""Feetech STS/SMS protocol: frames to bytes and back, registers to SI units. Opens no port."""
