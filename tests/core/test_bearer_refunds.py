"""What a plain wallet leaves comes back by an invoice: once, of what is left, and to nobody else in the meantime.

1,000 msat for 10 ticks (100 msat a tick), a quantum of 10,000 msat is 100 ticks.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import SESSION, World, identity

from satmeter.core import commands as cmd
from satmeter.core import effects as do
from satmeter.core.errors import BadParam, TooMany, UnknownSession, WrongState
from satmeter.core.labels import wallet_of
from satmeter.core.seller import views
from satmeter.core.seller.context import Limits
from satmeter.core.seller.refunds import BEARERS, FIRST_MS, INVOICES


def bearer(w):
    label, session = w.sell(cmd.MakeWalletInvoice(meter="m", amount_msat=0))
    w.pump()
    assert w.pay(label)
    w.pump()
    return session


def left(w, used=40):
    """A bearer has used some of its quantum, and unplugged."""
    session = bearer(w)
    w.report(w.meter.register + used)
    w.report(w.meter.register, plugged=False)
    w.report(w.meter.register)
    return session


def ask(w, session, bolt11="lnback", amount_msat=0, number=0):
    w.sell(cmd.AskRefund(session=session, bolt11=bolt11, invoice_msat=amount_msat, number=number))
    w.pump()
    return [r for r in w.receipts() if r["session"] == session][-1]


def test_an_invoice_without_an_amount_gets_all_of_it():
    w = World()
    receipt = ask(w, left(w))
    assert w.refunds == {"lnback": 6_000} and (receipt["refunded_msat"], receipt["owed_msat"]) == (6_000, 0)
    assert identity(receipt)


def test_an_invoice_of_whole_sat_gets_that_and_its_fee_is_of_the_rest():
    w = World()
    w.fee = 300
    session = left(w)
    assert views.session_status(w.seller.state.sessions[session]).refundable_msat == 5_000
    receipt = ask(w, session, amount_msat=5_000)
    # 4,000 msat were earned: the seller bears a hundredth of them
    assert w.refunds == {"lnback": 5_000} and receipt["owed_msat"] == 6_000 - 5_000 - (300 - 40)
    assert views.session_status(w.seller.state.sessions[session]).refundable_msat == 0  # under two sat


def test_what_can_not_be_given_back_is_refused_and_changes_nothing():
    w = World()
    session = bearer(w)
    with pytest.raises(WrongState, match="close it first"):
        ask(w, session)
    w.report(40, plugged=False)
    with pytest.raises(BadParam, match="at most 5000 msat of 6000"):
        ask(w, session, amount_msat=6_001)
    with pytest.raises(UnknownSession):
        ask(w, "0" * 32)
    w.report(40)
    w.open()
    with pytest.raises(WrongState, match="has a buyer"):
        ask(w, SESSION)
    assert ask(w, session)["owed_msat"] == 0
    with pytest.raises(WrongState, match="owes nothing"):
        ask(w, session)
    assert w.refunds == {"lnback": 6_000}


def test_of_many_invoices_at_once_one_is_paid():
    w = World()
    session = left(w)
    w.hold.add(do.PayRefund)
    ask(w, session, "first")
    for n in range(50):
        with pytest.raises(WrongState, match="being paid already"):
            ask(w, session, f"other{n}")
    w.hold.clear()
    w.pump()
    assert w.refunds == {"first": 6_000}


def test_what_fails_leaves_the_rest_for_another_invoice():
    w = World()
    session = left(w)
    w.channel_can_refund = False
    assert ask(w, session, "first", 5_000)["owed_msat"] == 6_000
    with pytest.raises(BadParam, match="used for a refund of this session before"):
        ask(w, session, "first", 5_000)
    ask(w, session, "second")  # three fees are tried, then it is given up
    w.channel_can_refund = True
    assert w.refunds == {} and ask(w, session, "third")["owed_msat"] == 0
    assert w.refunds == {"third": 6_000}


def test_invoices_are_bounded():
    w = World()
    session = left(w)
    w.channel_can_refund = False
    for n in range(INVOICES):
        ask(w, session, f"n{n}")
    with pytest.raises(TooMany):
        ask(w, session, "one more")


def test_what_is_asked_for_back_is_not_the_next_ones_and_does_not_lapse():
    w = World({"remainder_s": 100})
    session = left(w)
    w.hold.add(do.PayRefund)
    ask(w, session)
    w.pass_ms(200_000, step=1000)
    second = bearer(w)
    assert w.seller.state.sessions[second].credit_msat == 10_000
    w.hold.clear()
    w.restart_seller()
    w.pump()
    assert w.refunds == {"lnback": 6_000}


def test_where_a_page_gives_it_back_the_next_one_waits_for_it():
    w = World({"remainder_s": 3600}, limits=Limits(silent_ms=10**9, remainder_own_ms=600_000))
    first = left(w)
    kept = w.seller.context.refunds.left_at(w.meter, w.now)
    assert kept is not None and kept.id == first and kept.fed_by == {1: 10_000}
    assert w.seller.state.sessions[bearer(w)].credit_msat == 10_000
    assert w.seller.context.refunds.left_at(w.meter, w.now) is None  # in use by another
    w.report(w.meter.register + 100)
    w.report(w.meter.register, plugged=False)
    w.report(w.meter.register)
    w.pass_ms(600_000, step=5_000)
    assert w.seller.context.refunds.left_at(w.meter, w.now) is None
    assert w.seller.state.sessions[bearer(w)].credit_msat == 16_000


def feed(w, amount_msat):
    label, _ = w.sell(cmd.MakeWalletInvoice(meter="m", amount_msat=amount_msat))
    w.pump()
    assert w.pay(label)
    w.pump()
    return wallet_of(label).number, w.meter.session


def test_each_payer_gets_back_what_is_left_of_its_own_payment():
    w = World()
    first, session = feed(w, 10_000)
    w.report(10)
    stranger, same = feed(w, 1_000)
    assert same == session
    live = w.seller.state.sessions[session]
    assert (live.left_of(first), live.left_of(stranger)) == (9_000, 1_000)
    assert live.leads(first) and not live.leads(stranger)
    w.report(10, plugged=False)
    with pytest.raises(WrongState, match="who have theirs first"):
        ask(w, session, "stranger's", number=stranger)
    assert ask(w, session, "first's", number=first)["owed_msat"] == 1_000
    with pytest.raises(WrongState, match="nothing is left of what"):
        ask(w, session, "more", number=first)
    ask(w, session, "stranger's", number=stranger)
    assert w.refunds == {"first's": 9_000, "stranger's": 1_000}


def test_many_small_payments_take_no_ones_place():
    w = World(limits=Limits(silent_ms=10**9, wallet_invoices_per_meter=100))
    first, session = feed(w, 10_000)
    for _ in range(100):
        feed(w, 1_000)
    live = w.seller.state.sessions[session]
    assert live.received_msat == 110_000 and live.left_of(first) == 10_000 and len(live.fed_by) < 100


def test_who_paid_little_has_it_once_the_time_of_the_others_is_over():
    w = World({"remainder_s": 3600})
    first, session = feed(w, 10_000)
    second, _ = feed(w, 3_000)
    w.report(10, plugged=False)
    with pytest.raises(BadParam, match="asks for 3001 msat; at most 2000 msat of 3000"):
        w.now += FIRST_MS
        ask(w, session, "too much", 3_001, number=second)
    with pytest.raises(BadParam, match="no payment of wallet invoice 77"):
        ask(w, session, number=77)
    ask(w, session, "second's", number=second)
    assert w.refunds == {"second's": 3_000} and w.seller.state.sessions[session].claim_msat(first) == 9_000


def test_what_an_earlier_bearer_left_is_used_first_and_is_no_payers_to_take():
    w = World({"remainder_s": 3600})
    left(w)
    number, session = feed(w, 1_000)
    live = w.seller.state.sessions[session]
    assert live.credit_msat == 7_000 and live.left_of(number) == 1_000
    w.report(w.meter.register + 20)
    assert live.left_of(number) == 1_000
    w.report(w.meter.register, plugged=False)
    w.now += FIRST_MS
    ask(w, session, number=number)
    assert w.refunds == {"lnback": 1_000} and w.seller.state.sessions[session].owed_msat == 4_000


def test_bearers_that_hold_their_refunds_keep_no_buyers_waiting():
    w = World({"remainder_s": 10**6})
    held = []
    for n in range(2 * BEARERS + 2):
        session = left(w, used=(30, 80)[n % 2])
        w.hold.add(do.PayRefund)
        ask(w, session, f"held{n}")
        held.append(session)
    under_way = [each for each in held if w.seller.state.sessions[each].refund.under_way]
    assert len(under_way) == 2 * BEARERS
    w.open()
    w.report(w.meter.register + 30)
    w.buy(cmd.CloseStream(session=SESSION))
    w.pump()
    w.report(w.meter.register, plugged=False)
    w.pump()
    assert w.seller.state.sessions[SESSION].refund.under_way


def test_numbers_go_on_beyond_those_of_a_lost_part():
    w = World()
    upto = len(w.seller_events)
    lost, _ = w.sell(cmd.MakeWalletInvoice(meter="m", amount_msat=0))
    w.replace_seller(upto=upto)
    w.report(0)
    label, _ = w.sell(cmd.MakeWalletInvoice(meter="m", amount_msat=0))
    assert wallet_of(label).number > wallet_of(lost).number


def test_the_board_shows_what_gives_it_back():
    w = World()
    left(w)
    shown = views.board(w.meter, None, views.Codes("", "", "LNURL1", 5_000))
    assert (shown.page, shown.codes) == (["m", "standby", "rest 5 sat", "scan to get back"], ["", "LNURL1"])


STEPS = st.lists(
    st.tuples(
        st.sampled_from(("buy", "use", "unplug", "ask", "fail", "mend", "hold", "go", "restart", "wait")),
        st.integers(0, 60),
    ),
    max_size=40,
)


@given(steps=STEPS, fee=st.sampled_from((0, 30, 900)))
@settings(max_examples=60)
def test_every_msat_is_delivered_given_back_or_on_the_meter(steps, fee):
    w = World({"remainder_s": 300}, limits=Limits(silent_ms=10**9, wallet_invoices_per_meter=10**6))
    w.fee, invoices, known = fee, 0, set()
    for what, n in steps:
        if what == "buy":
            known.add(bearer(w))
        elif what == "use":
            w.report(w.meter.register + min(n, max(0, w.grant() - w.meter.register)))
        elif what == "unplug":
            w.report(w.meter.register, plugged=False)
            w.report(w.meter.register)
        elif what == "ask":
            for session in [s for s in w.seller.state.sessions.values() if not s.open and s.owed_msat]:
                invoices += 1
                amount = session.refundable_msat() if n % 2 else 0
                try:
                    ask(w, session.id, f"r{invoices}", amount)
                except WrongState:
                    assert session.refund.bolt11  # the only reason
        elif what in ("fail", "mend"):
            w.channel_can_refund = what == "mend"
        elif what == "hold":
            w.hold.add(do.PayRefund)
        elif what == "go":
            w.hold.clear()
            w.pump()
        elif what == "restart":
            w.restart_seller()
            w.report(w.meter.register)
        else:
            w.pass_ms(n * 1000, step=1000)
    w.hold.clear()
    w.channel_can_refund = True
    w.pump()
    sessions = list(w.seller.state.sessions.values())
    newest = {r["session"]: r for r in w.receipts()}
    gone = [r for name, r in newest.items() if name not in w.seller.state.sessions]
    delivered = sum(s.charged_msat for s in sessions) + sum(r["charged_msat"] for r in gone)
    kept = sum(s.lapsed_msat for s in sessions) + sum(r["lapsed_msat"] for r in gone)
    on_meter = sum(max(0, s.credit_msat) if s.open else s.owed_msat for s in sessions)
    assert not any(s.refund.under_way for s in sessions)
    # What the seller has gained, of which it bears up to a hundredth of what it earned as fees of refunds.
    assert 0 <= delivered + kept + on_meter - w.balance <= delivered // 100
    assert delivered <= w.meter.count * 100


def test_an_invoice_that_asks_for_more_than_a_person_said_is_owed_is_given_up():
    w = World({"remainder_s": 10**6})
    others = []
    for n in range(2 * BEARERS):
        others.append(left(w, used=(30, 80)[n % 2]))
        w.hold.add(do.PayRefund)
        ask(w, others[-1], f"held{n}")
    waiting = left(w, used=40)
    ask(w, waiting, "waits", 6_000)
    assert not w.seller.state.sessions[waiting].refund.under_way
    w.replace_seller(upto=len(w.seller_events), register=w.meter.register)
    w.sell(cmd.Attend(name=waiting, how=cmd.OWED, note="", amount_msat=2_000))
    for other in others:
        w.sell(cmd.Attend(name=other, how=cmd.PAID))
    w.hold.clear()
    w.pump()
    w.pass_ms(120_000, step=5_000)
    assert "waits" not in w.refunds
    ask(w, waiting, "less")
    assert w.refunds["less"] == 2_000


def test_nobody_leads_where_nothing_is_left():
    w = World()
    first, session = feed(w, 2_000)
    second, _ = feed(w, 1_000)
    live = w.seller.state.sessions[session]
    w.report(30)
    assert not live.leads(first) and not live.leads(second)


def test_what_an_earlier_wallet_left_keeps_the_next_one_from_ending_nothing():
    """What was brought is of none of those who paid for this session: the only one that did ends it."""
    w = World({"remainder_s": 10**6})
    _, before = feed(w, 10_000)
    w.report(0, plugged=False)
    assert w.seller.state.sessions[before].owed_msat == 10_000
    w.report(0)
    second, session = feed(w, 4_000)
    live = w.seller.state.sessions[session]
    assert live.brought_msat == 10_000 and live.left_of(second) == 4_000 and live.leads(second)


def test_an_invoice_over_a_sum_is_tried_once():
    """Who waits for it asks for less, or gives another; only a refund of all that is left is tried for a higher fee."""
    w = World()
    session = left(w)
    w.channel_can_refund = False
    ask(w, session, "first", 5_000)
    assert [e.kind() for e in w.seller_events].count("refund_failed") == 1


def test_what_a_payer_has_left_after_a_refund_is_without_the_fee_that_it_bore():
    w = World({"remainder_s": 3600})
    w.fee = 300
    first, session = feed(w, 10_000)
    feed(w, 1_000)
    w.report(10, plugged=False)
    ask(w, session, "in part", 5_000, number=first)
    # Of the fee, the seller bears 10 msat: a hundredth of the 1,000 msat that were earned.
    assert w.refunds == {"in part": 5_000}
    assert w.seller.state.sessions[session].claim_msat(first) == 9_000 - 5_000 - 290


def test_who_asked_is_answered_with_the_session():
    w = World()
    session = left(w)
    assert w.sell(cmd.AskRefund(session=session, bolt11="lnback", invoice_msat=0, number=0)).id == session


@pytest.mark.parametrize(("owed", "most"), [(10_000_000, 9_900_000), (100_000, 99_000), (2_000, 1_000), (1_000, 0)])
def test_a_hundredth_is_left_for_the_fee_and_the_rest_is_whole_sat(owed, most):
    w = World({"quantum_msat": owed})
    session = bearer(w)
    w.report(0, plugged=False)
    assert w.seller.state.sessions[session].refundable_msat() == most


def test_a_buyer_gets_its_rest_by_itself_and_not_by_asking():
    w = World()
    w.open()
    w.report(30)
    w.hold = {do.Send}  # it is not heard
    w.report(30, plugged=False)
    assert w.sale.owed_msat == 7_000 and not w.sale.refund.bolt11 and w.sale.refundable_msat() == 0
