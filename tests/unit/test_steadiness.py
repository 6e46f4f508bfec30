"""A test in real time is run again where the machine stood still, and only there."""

import ctypes

import pytest

from rigs.steadiness import MachineStoodError, only_where_the_machine_ran


def late_on_a_machine_that_stands_still() -> None:
    # Called without letting go of the interpreter: no thread runs.
    ctypes.PyDLL(None).usleep(400_000)
    raise AssertionError("late")


def test_a_failure_while_nothing_ran_is_told_apart() -> None:
    with pytest.raises(MachineStoodError, match="nothing ran for 0"), only_where_the_machine_ran():
        late_on_a_machine_that_stands_still()


def test_a_failure_of_a_machine_that_ran_is_the_tests_own() -> None:
    with pytest.raises(AssertionError, match="late"), only_where_the_machine_ran():
        raise AssertionError("late")
