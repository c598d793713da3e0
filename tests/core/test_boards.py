"""A meter has one board: where cables are changed, or a second bridge reports, no other one's readings count."""

import pytest
from world import TARIFF, World

from satmeter.core import commands as cmd
from satmeter.core.errors import Implausible
from satmeter.core.reading import Reading
from satmeter.core.seller import views
from satmeter.core.seller.context import Limits
from satmeter.core.seller.seller import Seller
from satmeter.core.seller.state import SellerState

SILENT = Limits(silent_ms=3_000)


def report(w, register, boot, board, meter="m"):
    w.sell(cmd.Report(meter=meter, reading=Reading(boot, register, board=board)))
    w.pump()


def two_meters():
    w = World(limits=SILENT)
    w.sell(cmd.AddMeter(meter="n", tariff=TARIFF))
    report(w, 0, "a1", "aaaa")
    report(w, 0, "c1", "cccc", "n")
    return w


def test_boards_that_change_cables_are_refused_in_words_and_count_nothing():
    w = two_meters()
    w.now += 60_000  # both were silent, as they are while cables are changed
    for meter, boot, board in (("m", "c2", "cccc"), ("n", "a2", "aaaa")):
        with pytest.raises(Implausible, match=f"meter-bind {meter} {board}"):
            report(w, 500, boot, board, meter)
    assert [m.count for m in w.seller.state.meters.values()] == [0, 0]
    m = w.meter
    assert "another cable" in views.meter_status(m, None, w.now, 3_000, 0, {}).fault and m.silent(w.now, 3_000)


def test_a_second_bridge_counts_nothing_beside_the_first():
    w = two_meters()
    for n in range(1, 90):
        report(w, n, "a1", "aaaa")
        with pytest.raises(Implausible):
            report(w, 305 + n, "v1", "0dd0")
    assert (w.meter.count, w.meter.boot) == (89, "a1")


@pytest.mark.parametrize("new", ["bbbb", ""])
def test_a_new_board_takes_over_by_command_and_the_count_goes_on(new):
    w = two_meters()
    report(w, 40, "a1", "aaaa")
    with pytest.raises(Implausible):
        report(w, 0, "b9", "bbbb")
    w.sell(cmd.BindBoard(meter="m", board=new))
    report(w, 0, "b9", "bbbb")
    report(w, 2, "b9", "bbbb")
    assert (w.meter.board, w.meter.count) == ("bbbb", 42)
    with pytest.raises(Implausible):
        report(w, 41, "a1", "aaaa")


@pytest.mark.parametrize("base", [0, 4_000])
def test_a_board_that_ran_elsewhere_brings_nothing_of_what_it_counted_there(base):
    w = two_meters()
    w.open()
    report(w, 10, "a1", "aaaa")
    before = w.balance
    w.sell(cmd.BindBoard(meter="m", board="bbbb"))
    w.sell(cmd.Report(meter="m", reading=Reading("b9", 5_000, base, board="bbbb")))
    w.pump()
    assert (w.meter.count, w.balance) == (10, before)
    w.sell(cmd.Report(meter="m", reading=Reading("b9", 5_003, base, board="bbbb")))
    assert w.meter.count == 13
    w.sell(cmd.BindBoard(meter="m", board="aaaa"))  # and back, without a power cycle
    report(w, 300, "a1", "aaaa")
    report(w, 301, "a1", "aaaa")
    assert w.meter.count == 14
    w.restart_seller()
    assert w.meter.board == "aaaa"


def test_a_restart_knows_whose_board_it_is():
    w = two_meters()
    books = SellerState()
    for e in w.seller_events:
        books.apply(e)
    again = SellerState()
    again.load(books.dump())
    seller = Seller("02" + "aa" * 32, SILENT, again)
    with pytest.raises(Implausible):
        seller.handle(cmd.Report(meter="m", reading=Reading("b1", 5, board="bbbb")), w.now)


def test_a_board_without_an_id_is_taken_as_it_was():
    w = World(limits=SILENT)
    report(w, 3, "b1", "")
    report(w, 4, "b1", "aaaa")
    report(w, 5, "b1", "")
    assert (w.meter.count, w.meter.board) == (5, "aaaa")


def test_another_board_that_was_bound_has_not_jumped():
    """Its register is its own: nobody has to look."""
    w = two_meters()
    report(w, 40, "a1", "aaaa")
    w.sell(cmd.BindBoard(meter="m", board="bbbb"))
    w.sell(cmd.Report(meter="m", reading=Reading("b9", 4_000, base=4_000, board="bbbb")))
    w.pump()
    assert not [payload for topic, payload in w.notes if topic == "meter_alarm"] and w.meter.count == 40
