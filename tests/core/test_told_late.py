"""What a board said before something happened, and a bridge tells after it, says nothing of that."""

from world import SESSION, World

from satmeter.core import commands as cmd
from satmeter.core.reading import Reading


def quiet_board(**how):
    """A session whose board says at first that it holds no grant; returns when it said so, too."""
    w = World(**how)
    w.board_on = False
    at = w.now
    w.sell(cmd.Report(meter="m", reading=Reading("b1", 0, grant=0)))
    w.open()
    assert w.grant() == 100
    w.now += 1_000
    return w, at


def test_a_board_has_not_stopped_by_what_it_said_before_the_close():
    w, at = quiet_board()
    w.buy(cmd.CloseStream(session=SESSION))
    w.pump()
    w.now += 500
    w.sell(cmd.Report(meter="m", reading=Reading("b1", 0, grant=0, age_ms=w.now - at)))
    w.pump()
    assert w.sale.ending
    w.now += 500
    w.sell(cmd.Report(meter="m", reading=Reading("b1", 100, grant=0)))
    w.pump()
    assert w.receipts()[-1]["charged_msat"] == 10_000


def test_nor_by_an_unplugged_plug_that_is_told_late():
    w, at = quiet_board()
    w.sell(cmd.Report(meter="m", reading=Reading("b1", 0, plugged=False, grant=0, age_ms=w.now - at)))
    w.pump()
    assert w.sale.ending  # and what the board says next decides
    w.now += 500
    w.sell(cmd.Report(meter="m", reading=Reading("b1", 40, plugged=False, grant=0)))
    w.pump()
    assert w.receipts()[-1]["charged_msat"] == 4_000


def test_a_board_knows_of_no_reservation_by_what_it_said_before_it():
    w, at = quiet_board(policy={"max_spend_msat": 10**6})
    w.fail = 10**6  # nothing more is paid
    w.sell(cmd.Report(meter="m", reading=Reading("b1", 0, grant=100)))
    session = w.sell(cmd.Spend(session=SESSION, id="g1", step="reserve", amount_msat=5_000))
    assert not w.seller.confirmed(session)
    w.now += 500
    w.sell(cmd.Report(meter="m", reading=Reading("b1", 0, grant=0, age_ms=w.now - at)))
    assert not w.seller.confirmed(session)
    w.now += 500
    w.sell(cmd.Report(meter="m", reading=Reading("b1", 0, grant=50)))
    assert w.seller.confirmed(session)
