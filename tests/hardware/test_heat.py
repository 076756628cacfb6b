"""A winding warms by its current, the case after it, and both settle where heat in is heat out."""

from __future__ import annotations

import dataclasses

import pytest
from retort.hardware import load_model
from retort.hardware.virtual.heat import Winding

TABLE = load_model("xl330-m288")


def test_it_settles_where_the_air_takes_what_the_current_brings():
    assert TABLE.motor is not None
    assert TABLE.thermal is not None
    winding = Winding(TABLE, air=20.0)
    for second in range(1, 10_000):
        winding.advance(float(second), 0.4)
    heat = TABLE.motor.resistance * 0.4**2
    case = 20.0 + heat * TABLE.thermal.case_to_air
    assert winding.temperature == pytest.approx(case, abs=0.1)
    assert winding.winding == pytest.approx(case + heat * TABLE.thermal.winding_to_case, abs=0.1)


def test_the_winding_leads_and_the_case_follows():
    winding = Winding(TABLE)
    winding.advance(5.0, 1.47)
    assert winding.winding - 25.0 > 10.0 * (winding.case - 25.0) > 0.0


def test_it_does_not_matter_how_often_it_is_asked():
    rarely, often = Winding(TABLE), Winding(TABLE)
    rarely.advance(60.0, 1.0)
    for step in range(1, 6001):
        often.advance(0.01 * step, 1.0)
    assert rarely.temperature == pytest.approx(often.temperature, rel=0.01)


def test_the_sign_of_the_current_does_not_matter():
    forward, backward = Winding(TABLE), Winding(TABLE)
    forward.advance(10.0, 1.0)
    backward.advance(10.0, -1.0)
    assert forward.temperature == backward.temperature


def test_it_cools_in_the_air():
    winding = Winding(TABLE)
    winding.temperature = 60.0
    winding.advance(3000.0, 0.0)
    assert winding.temperature == pytest.approx(25.0, abs=0.1)
    winding.temperature = 60.0
    winding.cool()
    assert winding.winding == winding.case == winding.air


def test_a_table_without_thermal_data_is_refused():
    with pytest.raises(ValueError, match=r"\[thermal\]"):
        Winding(dataclasses.replace(TABLE, thermal=None))
