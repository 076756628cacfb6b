"""DYNAMIXEL Protocol 2.0: frames to bytes and back, registers to SI units. Opens no port."""
