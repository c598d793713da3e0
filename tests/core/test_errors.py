"""The errors' numbers.

Figures are worked out by hand: 1,000 msat for 10 ticks (100 msat a tick), a quantum of 10,000 msat is 100 ticks.
"""

from satmeter.core.errors import by_code


def test_numbers_of_errors_are_for_ever():
    names = "UnknownMeter UnknownSession NameTaken MeterTaken WrongState LockedOut BoardSilent NoCredit JournalTrouble"
    assert [by_code(number).__name__ for number in range(2_102, 2_111)] == names.split()
