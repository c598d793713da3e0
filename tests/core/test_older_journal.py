"""An older copy in the journal's place: what was given back since is not given back again, what was paid since for
sessions that it does not know is no credit again, and a person settles the rest."""

import pytest
from older import refunded_since
from world import BUYER_ID, SESSION, World, refold, unrefunded

from satmeter.core import commands as cmd
from satmeter.core import effects as do
from satmeter.core import messages as msg
from satmeter.core.buyer.buyer import Buyer
from satmeter.core.buyer.state import BuyerState
from satmeter.core.errors import BadParam, WrongState
from satmeter.core.seller.payments import LOST_PART
from satmeter.core.seller.refunds import OLDER
from satmeter.core.seller.state import SellerState

OTHER = "07" * 16


def alarms(w):
    return [said for topic, said in w.notes if topic == "meter_alarm"]


def offer_another_invoice(w):
    w.sell(
        cmd.FromPeer(peer=BUYER_ID, message=msg.Close(SESSION, w.now + 10**6, msg.BUYER, "again", 0, "refund:another"))
    )
    w.pass_ms(200_000, step=5_000)


def test_what_was_given_back_since_waits_for_a_person():
    w = refunded_since()
    offer_another_invoice(w)
    assert sum(w.refunds.values()) == 7_000
    s = w.seller.state.sessions[SESSION]
    assert (s.state, s.owed_msat, s.alarm) == ("closed", 7_000, OLDER) and [a["session"] for a in alarms(w)] == [
        SESSION
    ]
    w.restart_seller()
    offer_another_invoice(w)
    assert sum(w.refunds.values()) == 7_000


def test_it_counts_as_given_back_where_a_person_says_so():
    w = refunded_since()
    offer_another_invoice(w)
    answer = w.sell(cmd.Attend(name=SESSION, how=cmd.PAID, note="seen in listpays"))
    w.pass_ms(200_000, step=5_000)
    assert answer["owed_msat"] == 0 and sum(w.refunds.values()) == 7_000
    figures = w.receipts()[-1]
    assert (figures["refunded_msat"], figures["owed_msat"]) == (7_000, 0) and not w.seller.state.sessions
    assert [e.note for e in w.seller_events if e.kind() == "alarm_ended"] == ["seen in listpays"]


def test_no_less_is_owed_than_a_refund_that_is_on_its_way():
    """It would be paid whole, and the rest would be a debt that nobody asks for."""
    w = World()
    w.open()
    w.report(30)
    w.hold = {do.PayRefund}
    w.buy(cmd.CloseStream(session=SESSION))
    w.pump()
    w.hold = set()
    w.todo.clear()
    w.replace_seller(len(w.seller_events), 30)
    w.pump()
    with pytest.raises(BadParam, match="takes up to 7000 msat with its fee"):
        w.sell(cmd.Attend(name=SESSION, how=cmd.OWED, note="", amount_msat=1_000))
    w.sell(cmd.Attend(name=SESSION, how=cmd.OWED))
    w.pump()
    assert sum(w.refunds.values()) == 7_000 and not w.receipts()[-1]["owed_msat"]


def test_it_is_paid_where_a_person_says_that_it_is_owed():
    w = unrefunded()
    w.replace_seller(len(w.seller_events) - 1, 30)
    w.channel_can_refund = True
    offer_another_invoice(w)
    assert not w.refunds
    w.sell(cmd.Attend(name=SESSION, how=cmd.OWED))
    w.pass_ms(200_000, step=5_000)
    assert sum(w.refunds.values()) == 7_000 and not w.seller.state.sessions


def test_credit_that_was_held_is_none_of_the_next_session_of_its_buyer():
    w = refunded_since()
    w.now += 100_000
    w.report(30)
    w.open(session=OTHER)
    assert w.remembered["sale", OTHER].brought_msat == 0


def test_sessions_and_wallets_of_the_lost_part_have_no_credit_again():
    w = World()
    upto = len(w.seller_events)
    w.open(session=OTHER)
    w.report(60)
    w.buy(cmd.CloseStream(session=OTHER))
    w.pump()
    w.pass_ms(100_000, step=5_000)
    label, _ = w.sell(cmd.MakeWalletInvoice(meter="m", amount_msat=5_000))
    w.pump()
    assert w.pay(label)
    w.pump()
    w.replace_seller(upto, 60)
    assert not w.seller.state.sessions and w.grant() == 0
    w.restart_seller()
    w.report(60)
    w.open()
    w.report(80)
    assert w.sale.received_msat == 10_000 and w.sale.charged_msat == 2_000  # and from here on it is as ever


def test_the_allowance_is_not_given_again_after_a_session_that_ended_in_the_lost_part():
    w = World({"allowance_ticks": 15})
    w.open()
    w.report(0)
    upto = len(w.seller_events)
    w.report(30)
    w.buy(cmd.CloseStream(session=SESSION))
    w.pump()
    assert w.grant() == 45 and sum(w.refunds.values()) == 7_000
    w.report(39)
    w.replace_seller(upto, 39)
    w.report(39)
    assert w.seller.state.sessions[SESSION].state == "closed" and w.grant() <= 45
    w.restart_seller()
    w.report(39)
    assert w.grant() <= 45


def test_an_allowance_that_began_in_the_lost_part_is_not_begun_again():
    w = World({"allowance_ticks": 15})
    w.report(15)
    upto = len(w.seller_events)
    w.now += 3_600_000
    w.report(15)
    assert w.grant() == 30
    w.report(30)
    w.replace_seller(upto, 30)
    w.pass_ms(2_000)
    assert w.grant() <= 30
    w.now += 3_600_000
    w.report(30)
    assert w.grant() == 45


def test_a_payment_of_the_lost_part_for_a_session_that_had_ended_waits_too():
    w = World({"window": 4})
    w.open()
    w.report(30)
    late = next(label for label, row in w.invoices.items() if row[1] == "unpaid")
    w.buy(cmd.CloseStream(session=SESSION))
    w.pump()
    upto, back = len(w.seller_events), sum(w.refunds.values())
    w.pay(late, hook=False)
    w.pump()
    offer_another_invoice(w)
    given = sum(w.refunds.values())
    assert given > back
    w.replace_seller(upto, 30)
    w.sell(
        cmd.FromPeer(peer=BUYER_ID, message=msg.Close(SESSION, w.now + 10**7, msg.BUYER, "again", 0, "refund:third"))
    )
    w.pass_ms(200_000, step=5_000)
    assert sum(w.refunds.values()) == given and w.seller.state.sessions[SESSION].refund.held


def test_a_debt_that_was_paid_since_is_paid():
    w = World({"mode": "arrears", "limit_msat": 10_000})
    w.open()
    w.report(95)
    before = len(w.seller_events)
    w.report(150)
    assert w.balance == 10_000
    w.replace_seller(before, 150)
    assert w.sale.charged_msat == w.sale.received_msat == w.balance == 10_000


def test_what_others_used_in_the_lost_part_is_no_debt_of_the_session_that_the_copy_has():
    w = World({"mode": "arrears", "limit_msat": 10_000})
    w.open()
    w.report(60)
    copied = len(w.seller_events)
    w.buy(cmd.CloseStream(session=SESSION))
    w.pump()
    assert w.balance == 6_000
    w.pass_ms(100_000, step=5_000)
    w.open(session=OTHER)
    w.report(95)
    w.buy(cmd.CloseStream(session=OTHER))
    w.pump()
    assert w.balance == 9_500
    w.replace_seller(copied, 95)
    w.pass_ms(200_000, step=5_000)
    s = w.seller.state.sessions.get(SESSION)
    assert w.balance == 9_500 and (s is None or not s.debt_msat) and w.meter.state == "standby"


def test_a_person_says_how_much_is_owed_where_others_used_the_meter_since():
    w = unrefunded()
    copied = next(n for n, e in enumerate(w.seller_events) if e.kind() == "session_closing")
    w.replace_seller(copied, 90)  # sixty ticks of others
    offer_another_invoice(w)
    s = w.seller.state.sessions[SESSION]
    assert s.owed_msat == 1_000
    with pytest.raises(BadParam, match="10000 msat"):
        w.sell(cmd.Attend(name=SESSION, how=cmd.OWED, amount_msat=10_001))
    w.channel_can_refund = True
    w.sell(cmd.Attend(name=SESSION, how=cmd.OWED, amount_msat=7_000))
    w.pass_ms(200_000, step=5_000)
    assert sum(w.refunds.values()) == 7_000 and w.receipts()[-1]["charged_msat"] == 3_000


def test_payments_of_the_lost_part_are_no_credit_of_a_session_that_was_opened_again_under_its_id():
    w = World({"mode": "arrears", "limit_msat": 10_000})
    copied = len(w.seller_events)
    w.open()
    w.report(200)
    assert w.balance == 20_000
    w.todo.clear()
    paid = [(row[2], label, row[0]) for label, row in w.invoices.items() if row[1] == "paid"]
    w.replace_seller(copied, 200, tell=False)
    w.sell(cmd.FromPeer(peer=BUYER_ID, message=msg.Open(SESSION, w.now + 10**6, "m")))
    w.sell(cmd.FromPeer(peer=BUYER_ID, message=msg.Agree(SESSION, w.now + 10**6 + 1)))
    w.report(200)
    for index, label, amount in sorted(paid):
        assert not w.sell(
            cmd.InvoiceSettled(label=label, amount_msat=amount, pay_index=index, payment_hash=label, after=index - 1)
        )
    s = w.seller.state.sessions.get(SESSION)
    assert s is not None and s.received_msat == 0
    assert w.seller.state.unowned == {LOST_PART: 20_000}


def test_what_was_paid_in_the_lost_part_is_shown_as_one_sum_until_a_person_has_seen_it():
    w = World()
    copied = len(w.seller_events)
    for n in range(3):
        w.open(session=f"{n:032x}")
        w.report(90 * (n + 1))
        w.buy(cmd.CloseStream(session=f"{n:032x}"))
        w.pump()
        w.pass_ms(100_000, step=5_000)
    total = sum(row[0] for row in w.invoices.values() if row[1] == "paid")
    w.replace_seller(copied, 270)
    assert w.seller.state.unowned == {LOST_PART: total}
    assert [said["label"] for said in alarms(w)] == [LOST_PART]
    w.restart_seller()
    assert w.seller.state.unowned == {LOST_PART: total}
    assert w.sell(cmd.Attend(name=LOST_PART, how=cmd.SEEN))["amount_msat"] == total and not w.seller.state.unowned


def test_a_wallets_rest_that_is_held_does_not_lapse_meanwhile():
    w = World({"remainder_s": 60})
    label, _ = w.sell(cmd.MakeWalletInvoice(meter="m", amount_msat=5_000))
    w.pump()
    assert w.pay(label)
    w.report(20)
    w.report(20, plugged=False)
    w.replace_seller(len(w.seller_events), 20)
    w.pass_ms(300_000, step=5_000)
    (s,) = w.seller.state.sessions.values()
    assert (s.owed_msat, s.lapsed_msat, s.refund.held) == (3_000, 0, True)
    w.sell(cmd.Attend(name=s.id, how=cmd.OWED))
    assert (s.owed_msat, s.lapsed_msat) == (3_000, 0)


def test_a_refund_that_the_node_has_paid_is_found_before_it_is_paid_again():
    w = unrefunded()
    w.replace_seller(len(w.seller_events), 30)
    w.hold = {do.PayRefund}
    w.sell(cmd.Attend(name=SESSION, how=cmd.OWED))
    w.pass_ms(100_000, step=5_000)
    (again,) = {a.bolt11 for _, a in w.todo if isinstance(a, do.PayRefund)}
    assert w.sell(
        cmd.ClaimRefund(session=SESSION, bolt11=again, attempt=w.sale.refund.attempts, payment_hash="h", known=True)
    )  # it may have been paid in the lost part


def test_a_session_that_owes_nothing_waits_for_nobody():
    w = World()
    w.open()
    w.report(50)
    copied = len(w.seller_events)
    w.report(100)
    w.replace_seller(copied, 100)
    w.buy(cmd.CloseStream(session=SESSION))
    w.pump()
    w.pass_ms(100_000, step=5_000)
    s = w.seller.state.sessions.get(SESSION)
    assert s is None or (not s.alarm and not s.refund.held) or s.owed_msat


def test_an_unowned_payment_is_seen_by_a_person():
    w = World()
    w.sell(
        cmd.InvoiceSettled(label=f"satmeter/0/s/{OTHER}/1", amount_msat=5_000, pay_index=1, payment_hash="h1", after=0)
    )
    (label,) = w.seller.state.unowned
    with pytest.raises(WrongState, match="seen"):
        w.sell(cmd.Attend(name=label, how=cmd.OWED))
    assert w.sell(cmd.Attend(name=label, how=cmd.SEEN, note="sent back by hand"))["amount_msat"] == 5_000
    assert not w.seller.state.unowned and not refold(w.seller_events, SellerState()).unowned


@pytest.mark.parametrize(("how", "words"), [(cmd.SEEN, "owed or paid"), (cmd.OWED, "not ended")])
def test_what_can_not_be_said_of_an_alarm_is_refused(how, words):
    w = refunded_since()
    w.seller.state.sessions[SESSION].state = "open" if how == cmd.OWED else "closed"
    with pytest.raises(WrongState, match=words):
        w.sell(cmd.Attend(name=SESSION, how=how))


def test_a_session_without_an_alarm_has_none_to_end():
    w = World()
    w.open()
    with pytest.raises(WrongState, match="no alarm"):
        w.sell(cmd.Attend(name=SESSION, how=cmd.SEEN))


def test_a_buyer_with_an_older_copy_pays_no_more_for_its_streams():
    w = World()
    w.open()
    w.report(30)
    buyer = Buyer(state=refold(w.buyer_events, BuyerState()), older=True)
    step = buyer.resume(w.now)
    assert [e.kind() for e in step.events] == ["copy_replaced", "stream_closing"]
    w.buyer = buyer
    w.todo += [("buyer", a) for a in step.effects]
    w.pump()
    w.report(100)
    assert buyer.state.streams[SESSION].state == "closed" and w.sale.received_msat == 10_000


def test_a_second_older_copy_draws_no_revision_again():
    """Both copies were made before any receipt: what the first one signed since must not have another text."""
    w = refunded_since()
    upto = next(n for n, e in enumerate(w.seller_events) if e.kind() == "journal_replaced")
    first = w.receipts()[-1]["revision"]
    w.pass_ms(20_000, step=1_000)
    w.replace_seller(upto, 40)
    second = w.receipts()[-1]
    assert second["revision"] > first and {r["revision"] for r in w.receipts()[:-1]}.isdisjoint({second["revision"]})
