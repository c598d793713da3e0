"""A meter that makes its own invoices: when, for what, how often, and what its page says.

A quantum of 10,000 msat is 100 ticks; a wallet invoice lasts 180 s.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import TARIFF, World

from satmeter.core import commands as cmd
from satmeter.core import effects as do
from satmeter.core.errors import BadParam
from satmeter.core.reading import Reading
from satmeter.core.seller import views
from satmeter.core.seller.context import Limits
from satmeter.core.seller.self_service import SHOWN_MS
from satmeter.core.tariff import Tariff

THREE = {"choices": "2sat, 0.5unit, 10sat"}


def shop(mode, **tariff):
    return World({"quantum_msat": 10_000, "self_service": mode, **THREE, **tariff})


def shown(w):
    """The amount (msat) of the invoice that the board shows; None for none."""
    text = w.meter.wallet_invoice(w.now)
    return int(text.rsplit(":", 1)[1]) if text else None


def page(w):
    session = w.seller.state.sessions.get(w.meter.session)
    return views.board(w.meter, session, views.Codes(invoice=w.meter.wallet_invoice(w.now))).page


def press(w, times, register=0):
    w.sell(cmd.Report(meter="m", reading=Reading("b1", register, presses=(w.meter.memory.presses or 0) + times)))
    w.pump()


def pay(w):
    (label,) = [label for label, row in w.invoices.items() if row[3] == w.meter.wallet_invoice(w.now)]
    assert w.pay(label)
    w.pump()


def count(w):
    return sum(e.kind() == "wallet_invoice_asked" for e in w.seller_events)


def asked(w):
    return [action.currency for _, action in w.todo if isinstance(action, do.FindRate)]


def test_a_choice_in_a_currency_waits_for_its_rate_and_follows_it():
    w = shop("always", choices="0.01EUR, 3sat")
    assert shown(w) == 3_000
    w.hold.add(do.FindRate)
    w.now += 299_000
    w.report(0)
    assert asked(w) == []
    w.now += 1_000
    w.report(0)
    w.report(0)
    assert asked(w) == ["EUR"]
    w.sell(cmd.RateFound(currency="EUR", msat=500_000))
    w.report(0)
    assert shown(w) == 5_000 and page(w)[2] == "0.01EUR 5 sat"
    w.sell(cmd.RateFound(currency="EUR", msat=5_000_000))  # beyond the quantum
    w.now += 200_000
    w.report(0)
    assert shown(w) == 3_000


def test_an_old_rate_makes_no_invoice():
    w = shop("always", choices="0.01EUR")
    w.sell(cmd.RateFound(currency="EUR", msat=500_000))
    w.report(0)
    assert shown(w) == 5_000
    w.now += 3_600_000
    w.report(0)
    w.pass_ms(1_000)
    assert shown(w) is None


def test_off_makes_none():
    w = shop("off")
    w.pass_ms(5_000)
    press(w, 1)
    assert shown(w) is None and count(w) == 0


def test_always_has_one_and_the_next_one_before_it_expires():
    w = shop("always")
    assert shown(w) == 2_000
    for _ in range(70):
        w.pass_ms(10_000, step=1_000)
        w.report(0)
        assert shown(w) == 2_000
    assert 4 <= count(w) <= 6  # 700 s, each lasts for 150


def test_plug_shows_one_as_something_is_plugged_in_and_not_for_ever():
    w = shop("plug")
    assert shown(w) == 2_000  # it was there when the plugin began
    w.report(0, plugged=False)
    w.pass_ms(200_000, step=1_000)
    assert shown(w) is None
    w.report(0)
    assert shown(w) == 2_000
    for _ in range(80):
        w.pass_ms(10_000, step=1_000)
        w.report(0)
    assert shown(w) is None


def test_each_press_steps_through_the_choices():
    w = shop("button")
    assert shown(w) is None
    seen = []
    for _ in range(4):
        press(w, 1)
        seen.append(shown(w))
    assert seen == [2_000, 1_000, 10_000, 2_000]
    press(w, 2)
    assert shown(w) == 10_000


def test_a_board_that_restarts_presses_no_button():
    w = shop("button")
    press(w, 3)
    before = count(w)
    w.sell(cmd.Report(meter="m", reading=Reading("b2", 0, presses=1)))
    w.pump()
    assert count(w) == before


@pytest.mark.parametrize("wrong", [{"plugged": False}, {"fault": "adc"}])
def test_nothing_is_offered_that_can_not_be_delivered(wrong):
    w = shop("always")
    w.sell(cmd.Report(meter="m", reading=Reading("b1", 0, **wrong)))
    w.pass_ms(200_000, step=1_000)
    assert shown(w) is None
    w.report(0)
    assert shown(w) == 2_000


def test_a_board_that_is_silent_sells_nothing():
    w = World({"self_service": "always"}, limits=Limits(silent_ms=15_000))
    w.pass_ms(200_000, step=1_000)
    assert shown(w) is None


def test_paid_it_delivers_and_shows_the_next_one_when_the_credit_is_low():
    w = shop("always", choices="10sat")
    pay(w)
    assert (w.meter.state, w.grant(), shown(w)) == ("delivering", 100, None)
    w.report(80)
    assert shown(w) == 10_000 and page(w)[-1] == "10sat: scan"
    pay(w)
    assert w.grant() == 200


def test_the_page_says_what_is_offered():
    w = shop("button")
    press(w, 2)
    assert page(w) == ["m", "standby", "0.5unit 1 sat", "scan to pay"]
    w.report(0, plugged=False)
    w.pass_ms(200_000, step=1_000)
    assert page(w) == ["m", "standby", ""]


def test_a_choice_that_was_left_is_paid_by_nobody():
    w = shop("button")
    press(w, 1)
    (first,) = w.invoices
    press(w, 1)
    assert not w.pay(first) and w.invoices[first][1] == "gone"


def test_a_payment_that_was_under_way_as_the_choice_changed_is_credited():
    w = shop("button")
    press(w, 1)
    (first,) = w.invoices
    w.hold.add(do.CancelInvoice)
    press(w, 1)
    assert w.pay(first)
    w.hold.clear()
    w.pump()
    assert w.seller.state.sessions[w.meter.session].received_msat == 2_000


def test_who_plays_with_the_button_makes_sixty_invoices_an_hour_and_a_row_of_twenty():
    w = shop("button")
    for _ in range(3_600):
        w.now += 1_000
        press(w, 1)
    assert count(w) <= 81


def test_a_restart_shows_one_again_and_pays_nothing_twice():
    w = shop("always")
    before = count(w)
    w.restart_seller()
    w.pump()
    w.report(0)
    assert shown(w) == 2_000 and count(w) <= before + 1


@pytest.mark.parametrize(
    ("field", "value"),
    [("self_service", "sometimes"), ("self_service", 1), ("choices", 100), ("choices", "1euro")],
)
def test_what_can_not_be_is_refused_by_name(field, value):
    with pytest.raises(BadParam) as refused:
        Tariff.from_dict({**TARIFF, field: value})
    assert refused.value.data["param"] == field


def test_in_arrears_no_wallet_can_serve_itself():
    with pytest.raises(BadParam, match="self_service: plug given, but a wallet can only prepay"):
        Tariff.from_dict({**TARIFF, "mode": "arrears", "limit_msat": 20_000, "self_service": "plug"})


def test_it_is_no_part_of_the_terms_that_a_buyer_agrees_to():
    plain, own = Tariff.from_dict(TARIFF), Tariff.from_dict({**TARIFF, "self_service": "plug", **THREE})
    assert own.terms() == plain.terms() == Tariff.from_dict(own.terms()).terms() and own.mark == plain.mark
    w = World({"self_service": "always"})
    w.open()
    assert w.purchase.tariff.to_dict()["self_service"] == "off"


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["press", "pay", "use", "plug", "unplug", "wait", "restart"]), st.integers(1, 40)),
        max_size=25,
    )
)
def test_whatever_people_do_the_money_is_delivered_or_on_the_meter(steps):
    w, register = shop("button", choices="10sat"), 0
    for what, much in steps:
        if what == "press":
            press(w, much, register)
        elif (
            what == "pay" and w.meter.wallet_invoice(w.now) and not w.seller.rejects(next(reversed(w.invoices)), w.now)
        ):
            pay(w)
        elif what == "use":
            register = min(register + much, max(register, w.grant()))
            w.report(register)
        elif what in ("plug", "unplug"):
            w.report(register, plugged=what == "plug")
        elif what == "wait":
            w.pass_ms(much * 1_000, step=1_000)
        else:
            w.restart_seller()
            w.report(register)
    paid = sum(row[0] for row in w.invoices.values() if row[1] == "paid")
    newest = {each["session"]: each for each in w.receipts()}
    newest |= {e.id: _figures(e) for e in w.seller.state.sessions.values() if e.open}
    assert paid == sum(each["paid_msat"] for each in newest.values())
    assert paid == sum(
        e["charged_msat"] + e["refunded_msat"] + e["lapsed_msat"] + e["owed_msat"] for e in newest.values()
    )


def _figures(session):
    """An open session: what is not charged yet is on the meter."""
    left = session.received_msat - session.charged_msat - session.refunded_msat - session.lapsed_msat
    return {
        "paid_msat": session.received_msat,
        "charged_msat": session.charged_msat,
        "refunded_msat": session.refunded_msat,
        "lapsed_msat": session.lapsed_msat,
        "owed_msat": left,
    }


def turn(w, position):
    w.sell(cmd.Report(meter="m", reading=Reading("b1", 0, position=position)))
    w.pump()


def test_the_potentiometer_points_at_an_amount_and_the_invoice_waits_until_it_rests():
    w = shop("button", choices="", choose_by="potentiometer")
    turn(w, 0)
    assert shown(w) is None
    turn(w, 500)
    assert shown(w) is None and page(w)[2:] == ["6sat", "turn to choose"]
    w.now += 500
    turn(w, 999)
    assert page(w)[2:] == ["10sat", "turn to choose"] and count(w) == 0
    w.now += 999
    turn(w, 999)
    assert count(w) == 0
    w.now += 1
    turn(w, 999)
    assert shown(w) == 10_000 and page(w)[2:] == ["10sat", "scan to pay"]
    w.now += 5_000
    turn(w, 100)
    assert shown(w) == 10_000 and page(w)[2:] == ["2sat", "turn to choose"]
    w.now += 1_000
    turn(w, 100)
    assert shown(w) == 2_000
    pay(w)
    w.now += 5_000
    turn(w, 900)  # now it is the flow
    assert w.meter.state == "delivering" and shown(w) == 2_000  # the credit is low: as much as before


def test_the_potentiometer_chooses_among_what_is_named():
    w = shop("always", choose_by="potentiometer")
    for position, amount in ((0, 2_000), (400, 1_000), (1000, 10_000)):
        turn(w, position)
        w.now += 1_000
        turn(w, position)
        assert shown(w) == amount


def test_a_board_that_restarts_turns_nothing():
    w = shop("button", choices="", choose_by="potentiometer")
    w.sell(cmd.Report(meter="m", reading=Reading("b2", 0, position=700)))
    w.now += 1_000
    w.sell(cmd.Report(meter="m", reading=Reading("b2", 0, position=700)))
    w.pump()
    assert shown(w) is None


def test_a_way_to_choose_that_is_none_is_refused():
    with pytest.raises(BadParam, match="choose_by: must be button or potentiometer"):
        shop("button", choose_by="knob")


def test_what_was_chosen_long_ago_is_chosen_no_more():
    w = shop("always")
    press(w, 2)
    assert shown(w) == 10_000
    w.pass_ms(SHOWN_MS + 1_000, step=30_000)
    assert shown(w) == 2_000


def test_time_alone_makes_the_next_invoice():
    w = shop("always")
    first = shown(w)
    label = next(iter(w.invoices))
    w.now += 175_000
    w.sell(cmd.Tick())
    w.pump()
    assert shown(w) == first and len(w.invoices) == 2 and w.meter.wallet_invoice(w.now) != w.invoices[label][3]


def test_a_press_wakes_a_meter_whose_potentiometer_chooses():
    w = shop("button", choose_by="potentiometer")
    w.report(0)
    assert shown(w) is None
    press(w, 1)
    w.pass_ms(5_000)
    assert shown(w) == 2_000
