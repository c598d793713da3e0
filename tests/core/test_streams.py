"""Whole streams between the two cores: opening, pausing, losing one another, crashes.

Figures are worked out by hand: 1,000 msat for 10 ticks (100 msat a tick), a quantum of 10,000 msat is 100 ticks.
"""

import pytest
from liar import Liar
from world import ARREARS, DAY_MS, OTHER, POLICY, SELLER_ID, SESSION, Victim, World, identity

from satmeter.core import commands as cmd
from satmeter.core import effects as do
from satmeter.core import messages as msg
from satmeter.core.buyer.session import HANDLED
from satmeter.core.buyer.streams import GIVE_UP_MS
from satmeter.core.errors import (
    WrongState,
)


def test_a_stream_from_open_to_receipt():
    w = World()
    w.open()
    assert (w.meter.state, w.grant(), w.sale.credit_msat) == ("delivering", 100, 10_000)
    for register in range(0, 301, 10):
        w.report(register)
        assert w.sale.credit_msat + w.sale.out_msat <= 10_000
        assert w.meter.state == "delivering"
    w.buy(cmd.CloseStream(session=SESSION))
    w.pump()
    (receipt,) = w.receipts()
    assert (receipt["ticks"], receipt["charged_msat"], receipt["owed_msat"]) == (300, 30_000, 0)
    assert receipt["paid_msat"] - receipt["refunded_msat"] == 30_000 and identity(receipt)
    assert w.balance == 30_000
    assert w.purchase.closing.verified and w.purchase.closing.why == "" and w.purchase.paid_msat == receipt["paid_msat"]
    assert w.meter.state == "standby" and w.grant() == 0


@pytest.mark.parametrize("code", [0, 2113, 2158])
def test_a_seller_is_not_taken_for_somebody_who_was_not_there_or_for_our_own_cap(code):
    w = World()
    w.lose = lambda message: True
    w.open()
    w.buy(cmd.FromPeer(peer=SELLER_ID, message=msg.Error(SESSION, w.now, msg.SELLER, code, "no")))
    assert (w.purchase.closing.code, w.purchase.closing.why) == (2155, "Refused: no")


def test_pause_and_resume():
    w = World()
    w.open()
    w.buy(cmd.PauseStream(session=SESSION))
    w.report(90)
    assert w.purchase.payments == 1 and not w.purchase.relay
    w.buy(cmd.ResumeStream(session=SESSION))
    w.pump()
    assert w.purchase.payments == 2 and w.meter.state == "delivering"
    with pytest.raises(WrongState):
        w.buy(cmd.ResumeStream(session=SESSION))


def test_the_relay_is_off_until_paid():
    w = World()
    w.hold = {do.Pay}
    w.open()
    assert not w.purchase.relay
    w.hold = set()
    w.pump()
    assert w.purchase.relay


def test_a_lost_seller_is_reached_for_again_until_it_is_back():
    w = World()
    w.open()
    connects = []
    w.hold, w.lose = {do.Connect}, lambda message: True
    w.buy(cmd.PeerLost(peer=SELLER_ID))
    for _ in range(60):
        w.pass_ms(1_000, step=1_000)
        connects += [a for _, a in w.todo if isinstance(a, do.Connect)]
        w.todo.clear()
    assert 4 <= len(connects) <= 10  # ever more seldom
    w.hold, w.lose = set(), lambda message: False
    w.buy(cmd.PeerConnected(peer=SELLER_ID))
    w.pump()
    w.report(80)
    assert w.purchase.payments == 2


@pytest.mark.parametrize("lost", [msg.Open, msg.Terms, msg.Invoice, msg.Close, msg.Receipt, msg.Low])
def test_any_first_message_may_be_lost(lost):
    w = World()
    dropped = []

    def lose(message):
        if isinstance(message, lost) and not dropped:
            dropped.append(message)
            return True
        return False

    w.lose = lose
    w.open()
    w.pass_ms(5_000)
    w.report(80)
    w.pass_ms(5_000)
    w.buy(cmd.CloseStream(session=SESSION))
    w.pass_ms(20_000)
    assert dropped and w.purchase.state == "closed" and w.purchase.closing.verified
    assert w.receipts()[-1]["charged_msat"] == 8_000 and w.balance == 8_000


def test_restart_of_either_side_at_every_moment():
    for moment in range(12):
        w = World()
        w.open()
        for i, register in enumerate(range(0, 240, 20)):
            w.report(register)
            if i == moment:
                w.restart_seller()
                w.restart_buyer()
                w.pump()
                w.report(register)
        w.buy(cmd.CloseStream(session=SESSION))
        w.pump()
        assert w.receipts()[-1]["charged_msat"] == 22_000 == w.balance
        assert w.purchase.closing.verified and not w.purchase.closing.why


def test_an_open_that_was_given_up_is_closed_at_the_seller_too():
    w = World(ARREARS)
    w.lose = lambda m: isinstance(m, (msg.Terms, msg.Receipt))
    w.open()
    w.report(1)
    w.pass_ms(61_000)
    w.report(1)
    assert w.purchase.state == "closed" and w.meter.state != "delivering"


def test_streams_whose_seller_is_gone_make_room_and_end():
    w = World()
    w.buyer.max_streams = 1
    w.open()
    w.lose = lambda m: True
    w.buy(cmd.CloseStream(session=SESSION))
    w.buy(cmd.OpenStream(session="ab" * 16, seller=SELLER_ID, meter="other", address="h:1", policy=w.policy))
    w.pass_ms(61 * DAY_MS, step=DAY_MS // 4)
    assert w.purchase.state == "closed" and "no receipt" in w.purchase.closing.why


def test_a_clock_that_was_set_back_accuses_nobody():
    w = World({"rating_ticks_per_s": 100})
    w.open()
    w.now += 10_000
    w.report(20)
    w.now -= 3_600_000
    w.report(21)
    w.report(90)
    assert w.meter.count == 90 and w.purchase.state == "streaming"


def test_that_a_stream_is_paid_for_is_told_once():
    w = World()
    w.open()
    w.report(100)
    assert w.purchase.payments == 2
    told = [said for topic, said in w.notes if topic == "stream_state" and said["state"] == "streaming"]
    assert len(told) == 2  # its terms, and its first payment


def test_a_seller_that_is_lost_is_reached_for_at_once():
    w = World()
    w.open()
    w.buy(cmd.PeerLost(peer=SELLER_ID))
    assert [a for _, a in w.todo] == [do.Connect(peer=SELLER_ID, address="h:1")]


def test_a_seller_that_says_nothing_for_thirty_seconds_is_reached_for_and_asked():
    w = Liar()
    w.ask(0)
    w.told.clear()
    w.now += 29_999
    w.tell(cmd.Tick())
    assert not w.told
    w.now += 1
    w.tell(cmd.Tick())
    reach, asked = w.told
    assert reach == do.Connect(peer=SELLER_ID, address="h:1") and isinstance(asked.message, msg.Open)


def test_one_seller_that_is_lost_is_not_looked_for_at_anothers_address():
    w = World()
    w.open()
    other = "02" + "99" * 32
    w.buy(cmd.OpenStream(session="6f" * 16, seller=other, meter="m", address="elsewhere:2", policy=w.policy))
    w.todo.clear()
    w.buy(cmd.PeerLost(peer=SELLER_ID))
    assert [a for _, a in w.todo] == [do.Connect(peer=SELLER_ID, address="h:1")]
    assert not w.buyer.state.streams["6f" * 16].memory.cut_off


def test_what_is_in_flight_is_exposed_after_the_end_too():
    w = Liar(hold=True, policy={"max_fee_msat": 100})
    w.ask(0)
    w.close()
    w.receipt(paid_msat=0, charged_msat=0)
    assert w.p.state == "closed" and w.p.exposure_msat == 10_100


def test_a_stream_that_ended_is_remembered_for_five_seconds():
    w = Liar()
    w.now += 60_000
    w.tell(cmd.FromPeer(peer=SELLER_ID, message=msg.Error(SESSION, w.now, msg.SELLER, 2_103, "gone")))
    for ms, there in ((4_999, True), (1, False)):
        w.now += ms
        w.tell(cmd.Tick())
        assert (SESSION in w.buyer.state.streams) is there


def test_the_relay_is_on_for_what_was_carried_in():
    assert Liar(carried=5_000).p.relay and not Liar().p.relay


def test_a_receipt_is_waited_for_as_long_as_a_payment_hangs():
    w = Liar(hold=True)
    w.ask(0)
    w.close()
    w.now += GIVE_UP_MS + 1
    w.tell(cmd.Tick())
    assert w.p.state == "closing"
    w.tell(cmd.PaymentLost(session=SESSION, number=1, attempt=1, why="failed"))
    w.tell(cmd.Tick())
    assert w.p.state == "closed"


def test_only_one_stream_at_a_time_goes_to_a_meter_and_only_a_paused_one_goes_on():
    w = World()
    w.hold = {do.Send}
    opened = w.buy(cmd.OpenStream(session=SESSION, seller=SELLER_ID, meter="m", address="h:1", policy=POLICY))
    assert opened.id == SESSION
    with pytest.raises(WrongState, match="is opening already"):
        w.buy(cmd.OpenStream(session=OTHER, seller=SELLER_ID, meter="m", address="h:1", policy=POLICY))
    with pytest.raises(WrongState, match="only a paused one can be resumed"):
        w.buy(cmd.ResumeStream(session=SESSION))
    assert set(w.buyer.state.streams) == {SESSION}


def test_news_of_a_payment_that_nobody_made_changes_nothing():
    w = World()
    w.open()
    before = len(w.buyer_events)
    for of, number in ((SESSION, 99), ("77" * 16, 1)):
        w.buy(cmd.PaymentDone(session=of, number=number, payment_hash="h", sent_msat=10_000))
        w.buy(cmd.PaymentKnown(session=of, number=number, attempt=number))
        w.buy(cmd.PaymentLost(session=of, number=number, attempt=number, why="no route"))
    assert len(w.buyer_events) == before


def test_of_numbers_that_were_never_paid_the_newest_may_still_be():
    """Numbers that are skipped are remembered as far as the newest thousand go."""
    session = Victim().purchase
    for number in range(2, 2 * HANDLED + 4, 2):
        session.note_handled(number)
    assert session.was_handled(3) and not session.was_handled(2 * HANDLED + 1) and not session.was_handled(7)
