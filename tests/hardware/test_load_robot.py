"""A robot by name, by folder, by file."""

import pytest
from retort.hardware import RobotFileError, load_robot


def test_a_shipped_robot_is_found_whatever_else_has_its_name_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "balancer").symlink_to("/dev/null")  # as a link to a virtual robot's port
    assert load_robot("balancer").name == "balancer"


def test_a_robot_that_does_not_exist_names_those_that_do():
    with pytest.raises(RobotFileError, match="balancer"):
        load_robot("no-such-robot")
