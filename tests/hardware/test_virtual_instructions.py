"""Virtual DYNAMIXEL devices carry out every instruction as the manual has it. In virtual time."""

from __future__ import annotations

import math

import pytest
from retort.hardware.dynamixel import codec
from retort.hardware.dynamixel.codec import ALERT, Backup, Error, Reset
from retort.hardware.virtual.device import BOOT
from retort.hardware.virtual.dynamixel import PING_SLOT

BYTE = 1e-5  # [s] at 1 Mbit/s
LED, GOAL_POSITION, POSITION = 65, 116, 132
EXTENDED = 4


@pytest.fixture
def line(servo_line):
    """Supplied within the limits of both models."""
    return servo_line("xl330-m288", "xl330-m288", "xl430-w250", supply=6.5)


def errors(line, packet: bytes, answers: int = 1) -> list[int]:
    return [status.error for status in line.ask(packet, answers)]


# Registered instructions


def test_what_is_registered_waits_for_the_action(line):
    goals = [codec.reg_write(id, GOAL_POSITION, b"\x64\0\0\0") for id in (1, 2)]
    assert errors(line, goals[0]) + errors(line, goals[1]) == [Error.NONE, Error.NONE]
    assert line.read("registered_instruction") == 1
    assert line.read("goal_position") == 0
    assert errors(line, codec.action()) == []
    assert [line.read("goal_position", id) for id in (1, 2, 3)] == [100, 100, 0]
    assert line.read("registered_instruction") == 0


def test_what_cannot_be_written_cannot_be_registered(line):
    assert errors(line, codec.reg_write(1, POSITION, b"\0\0\0\0")) == [Error.ACCESS]
    assert errors(line, codec.reg_write(1, GOAL_POSITION, b"\xff\x7f\0\0")) == [Error.DATA_LIMIT]
    assert line.read("registered_instruction") == 0


def test_an_action_without_anything_registered_is_an_instruction_error(line):
    assert errors(line, codec.action(1)) == [Error.INSTRUCTION]


def test_what_is_registered_is_judged_again_when_it_is_carried_out(line):
    errors(line, codec.reg_write(1, 9, b"\x07"))  # return delay: EEPROM
    line.write("torque_enable", 1)
    assert errors(line, codec.action(1)) == [Error.ACCESS]


def test_a_reboot_forgets_what_was_registered(line):
    errors(line, codec.reg_write(1, GOAL_POSITION, b"\x64\0\0\0"))
    line.ask(codec.reboot(1))
    line.wait(BOOT)
    assert errors(line, codec.action(1)) == [Error.INSTRUCTION]


# Ping


def test_a_broadcast_ping_is_answered_in_turns_by_id(line):
    line.write("id", 40, id=2)
    start = line.clock.now()
    line.port.write(codec.ping(codec.BROADCAST))
    arrivals = []
    for _ in range(3):
        line.port.read(14, start + 1.0)
        arrivals.append(line.clock.now() - start - 24 * BYTE)
    assert arrivals == pytest.approx([id * PING_SLOT for id in (1, 3, 40)], abs=1e-5)


# Group reads


@pytest.mark.parametrize("fast", [False, True])
def test_a_bulk_read_gives_each_device_its_own_registers(line, fast):
    line.plant.turn(1, math.tau / 4)
    spans = [(2, POSITION, 4), (3, 144, 2), (1, 146, 1)]
    if fast:
        line.port.write(codec.fast_bulk_read(spans))
        data = line.port.read(8 + 4 * 3 + 7, line.clock.now() + 0.05)
        head = codec.fast_bulk_status_head([4, 2, 1])
        crc = codec.crc16(head)
        expected = head
        for id, value in ((2, b"\0\4\0\0"), (3, b"\x41\0"), (1, b"\x1e")):
            block, crc = codec.fast_status_block(id, 0, value, crc)
            expected += block
        assert data == expected
    else:
        answers = line.ask(codec.bulk_read(spans), answers=3)
        assert [(a.id, a.data) for a in answers] == [
            (2, b"\0\4\0\0"),
            (3, b"\x41\0"),
            (1, b"\x1e"),
        ]


def test_a_silent_device_loses_the_tail_of_a_bulk_read(line):
    answers = line.ask(codec.bulk_read([(1, LED, 1), (9, LED, 1), (2, LED, 1)]), answers=3)
    assert [answer.id for answer in answers] == [1]


def test_old_firmware_does_not_answer_fast_reads(line):
    line.servos[1].registers["firmware"] = 45
    assert len(line.ask(codec.sync_read([1, 2, 3], LED, 1), answers=3)) == 3
    answers = line.ask(codec.fast_sync_read([1, 2, 3], LED, 1), answers=3, fast_length=1)
    assert [answer.id for answer in answers] == [1]


def test_a_refused_read_is_an_error_in_its_place(line):
    answers = line.ask(codec.sync_read([1, 3, 2], 600, 2), answers=3)
    assert [answer.error for answer in answers] == [Error.ACCESS, 0, Error.ACCESS]
    assert [len(answer.data) for answer in answers] == [0, 2, 0]


# Writing to many


def test_a_bulk_write_that_one_device_refuses_reaches_the_others(line):
    data = [(1, GOAL_POSITION, b"\x64\0\0\0"), (2, POSITION, b"\0\0\0\0"), (3, LED, b"\1")]
    assert errors(line, codec.bulk_write(data)) == []
    assert line.read("goal_position") == 100
    assert line.read("led", 3) == 1


def test_a_cut_off_bulk_write_writes_what_is_whole(line):
    packet = codec.frame(
        codec.BROADCAST, codec.Instruction.BULK_WRITE, bytes.fromhex("0141000100 01 0241000400 01")
    )
    line.ask(packet)
    assert [line.read("led", id) for id in (1, 2)] == [1, 0]


# Reset, backup, start


@pytest.mark.parametrize(
    ("what", "id", "baud"),
    [(Reset.ALL, 1, 57_600), (Reset.ALL_BUT_ID, 2, 57_600), (Reset.ALL_BUT_ID_AND_BAUD, 2, 10**6)],
)
def test_a_factory_reset_spares_what_it_should(line, what, id, baud):
    line.write("velocity_limit", 99, id=2)
    assert len(errors(line, codec.factory_reset(2, what))) == 1
    servo = line.servos[1]
    assert (servo.id, servo.baud) == (id, baud)
    assert servo.registers["velocity_limit"] == 445
    assert not servo.listening(line.clock.now())


@pytest.mark.parametrize(
    ("parameters", "error"),
    [(b"", Error.DATA_LENGTH), (b"\x01\x01", Error.DATA_LENGTH), (b"\x07", Error.DATA_RANGE)],
)
def test_a_strange_factory_reset_is_refused(servo_line, parameters, error):
    line = servo_line()
    assert errors(line, codec.frame(1, codec.Instruction.FACTORY_RESET, parameters)) == [error]
    assert line.servos[0].listening(line.clock.now())


def test_a_backup_brings_eeprom_back_and_ram_where_asked_for(servo_line):
    line = servo_line()
    line.write("velocity_limit", 99)
    line.write("startup_configuration", 2)  # RAM restore
    line.write("position_p", 777)
    line.write("indirect_address_1", 132)
    assert errors(line, codec.backup(1, Backup.RESTORE)) == [Error.RESULT_FAIL]
    assert errors(line, codec.backup(1, Backup.STORE)) == [Error.NONE]
    assert line.read("backup_ready") == 1
    line.write("velocity_limit", 300)
    line.write("position_p", 5)
    assert errors(line, codec.backup(1, Backup.RESTORE)) == [Error.NONE]
    assert line.ask(codec.ping(1)) == []  # it reboots
    line.wait(BOOT)
    assert line.read("velocity_limit") == 99
    assert line.read("position_p") == 777
    assert line.read("indirect_address_1") == 132
    assert line.read("backup_ready") == 1


def test_no_backup_with_torque_on(servo_line):
    line = servo_line()
    line.write("torque_enable", 1)
    assert errors(line, codec.backup(1, Backup.STORE)) == [Error.RESULT_FAIL]
    assert errors(line, codec.frame(1, 0x20, b"\1ABCD")) == [Error.DATA_RANGE]


def test_startup_torque_comes_at_the_end_of_the_boot(servo_line):
    line = servo_line()
    line.write("startup_configuration", 1)
    line.plant.turn(0, 1.0)
    line.ask(codec.reboot(1))
    line.wait(BOOT - 0.01)
    assert not line.servos[0].torque
    line.wait(0.02)
    assert line.servos[0].torque
    line.wait(0.2)
    assert line.plant.motor(0)[0] == pytest.approx(1.0, abs=0.01)  # and moves nothing


# Second id


def test_a_shadow_id_is_obeyed_and_not_answered(line):
    for id in (1, 2):
        line.write("secondary_id", 100, id=id)
    assert line.ask(codec.write(100, LED, b"\1")) == []
    assert [line.read("led", id) for id in (1, 2, 3)] == [1, 1, 0]
    line.ask(codec.sync_write(LED, [(100, b"\0")]), answers=0)
    assert [line.read("led", id) for id in (1, 2)] == [0, 0]
    assert line.ask(codec.ping(100)) == []
    assert line.ask(codec.read(100, LED, 1)) == []
    assert line.ask(codec.sync_read([100], LED, 1)) == []


def test_a_shadow_id_cannot_change_eeprom(line):
    line.write("secondary_id", 100)
    line.ask(codec.write(100, 9, b"\x07"))
    line.ask(codec.factory_reset(100, Reset.ALL_BUT_ID))
    assert line.read("return_delay") == 0


def test_a_servos_own_id_goes_before_anothers_shadow(line):
    line.write("secondary_id", 2)
    assert [a.id for a in line.ask(codec.write(2, LED, b"\1"))] == [2]
    assert [line.read("led", id) for id in (1, 2)] == [1, 1]


# Windows


@pytest.mark.parametrize("model", ["xl330-m288", "xl330-m288-fw53", "xm430-w350"])
def test_scattered_registers_read_and_write_as_one(servo_line, model):
    """LED, goal position and present position behind each other."""
    line = servo_line(model)
    shown = [LED, *range(GOAL_POSITION, GOAL_POSITION + 4), *range(POSITION, POSITION + 4)]
    for number, address in enumerate(shown, 1):
        assert line.write(f"indirect_address_{number}", address) == 0
    window = line.servos[0].table.register("indirect_data_1").address
    assert errors(line, codec.write(1, window, b"\1\xe8\3\0\0")) == [Error.NONE]
    assert line.read("led") == 1
    assert line.read("goal_position") == 1000
    line.plant.turn(0, math.tau / 2)
    (answer,) = line.ask(codec.read(1, window, 9))
    assert answer.data == b"\1\xe8\3\0\0\0\x08\0\0"


def test_windows_keep_the_rules_of_what_they_show(servo_line):
    line = servo_line()
    for number, address in enumerate((POSITION, GOAL_POSITION, LED), 1):
        line.write(f"indirect_address_{number}", address)
    assert errors(line, codec.write(1, 208, b"\0")) == [Error.DATA_LENGTH]
    assert errors(line, codec.write(1, 209, b"\0")) == [Error.DATA_LENGTH]
    assert errors(line, codec.write(1, 210, b"\2")) == [Error.DATA_RANGE]
    assert line.write("indirect_address_1", 63) == Error.DATA_RANGE  # EEPROM cannot be shown


def test_a_window_shows_itself_at_first(servo_line):
    line = servo_line()
    assert line.write("indirect_data_20", 123) == 0
    assert line.read("indirect_data_20") == 123


# Turns


def test_position_is_counted_over_many_turns_until_torque_in_position_mode(servo_line):
    """The wrap trap: what was read before torque-on is not where the servo is after it."""
    line = servo_line()
    line.plant.turn(0, 5.25 * math.tau)
    assert line.read("present_position") == 5 * 4096 + 1024
    line.write("torque_enable", 1)
    assert line.read("present_position") == 1024
    line.wait(0.2)
    assert line.plant.motor(0)[0] == pytest.approx(5.25 * math.tau, abs=0.01)


def test_extended_position_keeps_its_turns_over_torque(servo_line):
    line = servo_line()
    line.write("operating_mode", EXTENDED)
    line.plant.turn(0, 5.25 * math.tau)
    line.write("torque_enable", 1)
    line.write("torque_enable", 0)
    assert line.read("present_position") == 5 * 4096 + 1024
    line.write("operating_mode", 3)
    assert line.read("present_position") == 1024


def test_clearing_turns_moves_nothing(servo_line):
    line = servo_line()
    line.write("operating_mode", EXTENDED)
    line.plant.turn(0, 5.25 * math.tau)
    line.write("torque_enable", 1)
    line.wait(0.1)
    assert errors(line, codec.clear_turns(1)) == [Error.NONE]
    assert line.read("present_position") == 1024
    line.wait(0.5)
    assert line.plant.motor(0)[0] == pytest.approx(5.25 * math.tau, abs=0.01)
    assert errors(line, codec.frame(1, codec.Instruction.CLEAR, b"\1")) == [Error.DATA_RANGE]


@pytest.mark.parametrize(("reverse", "expected"), [(0, 1024 + 100), (1, 3072 + 100)])
def test_homing_offset_is_added_and_never_reversed(servo_line, reverse, expected):
    line = servo_line()
    line.write("drive_mode", reverse)
    line.write("homing_offset", 100)
    line.plant.turn(0, math.tau / 4)
    line.write("operating_mode", 1)
    line.write("operating_mode", 3)
    assert line.read("present_position") == expected


def test_an_offset_too_large_is_ignored_in_position_mode_only(servo_line):
    line = servo_line()
    line.write("homing_offset", 5000)
    assert line.read("present_position") == 0
    line.write("operating_mode", EXTENDED)
    assert line.read("present_position") == 5000


# Modes


def test_another_mode_brings_its_own_gains_and_no_profile(servo_line):
    line = servo_line()
    line.write("position_p", 5)
    line.write("profile_velocity", 5)
    line.write("operating_mode", 3)
    assert line.read("position_p") == 5  # it was in this mode
    line.write("operating_mode", EXTENDED)
    assert line.read("position_p") == 400
    assert line.read("profile_velocity") == 0
    line.write("operating_mode", 5)
    assert line.read("goal_current") == 1750
    line.write("operating_mode", 0)
    assert line.read("goal_current") == 0


def test_shutdown_can_only_be_left_by_a_reboot(servo_line):
    line = servo_line()
    line.servos[0].fail(32)
    line.write("shutdown", 0)
    assert line.write("torque_enable", 1) == ALERT | Error.ACCESS
    line.write("drive_mode", 8)
    line.write("goal_position", 5)
    assert not line.servos[0].torque
    line.ask(codec.reboot(1))
    line.wait(BOOT)
    assert line.write("torque_enable", 1) == Error.NONE


def test_a_servo_told_to_speak_another_protocol_is_deaf(servo_line):
    line = servo_line("xm430-w350")
    assert line.write("protocol_type", 1) == Error.NONE  # the answer is still in this one
    assert line.ask(codec.ping(1)) == []
