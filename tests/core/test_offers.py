"""Standing offers of a meter: recorded before they are given out, answered while it can deliver, paid as by any wallet.

1,000 msat for 10 ticks (100 msat a tick), a quantum of 10,000 msat is 100 ticks.
"""

import json

import pytest
from world import SESSION, World, identity

from satmeter.core import commands as cmd
from satmeter.core import effects as do
from satmeter.core.errors import BadParam, WrongState
from satmeter.core.seller import views
from satmeter.core.seller.context import Limits
from satmeter.core.seller.seller import Seller
from satmeter.core.seller.state import SellerState

OFFER, OTHERS = "0f" * 32, "ee" * 32
PAYER = "02" + "ab" * 32


class Node:
    """What the node is asked about offers; each that it makes is active."""

    def __init__(self, w):
        self.w, self.asked, self.made = w, [], 0

    def answer(self):
        for _, effect in [each for each in self.w.todo if isinstance(each[1], (do.MakeOffer, do.SwitchOffer))]:
            self.asked.append(effect)
            if isinstance(effect, do.MakeOffer):
                self.made += 1
                made = cmd.OfferMade(
                    meter=effect.meter, amount_msat=effect.amount_msat, offer_id=OFFER, bolt12="lno1text", active=True
                )
                self.w.sell(made)
            else:
                self.w.sell(cmd.OfferSwitched(offer_id=effect.offer_id, active=effect.active))
        self.w.todo.clear()

    @property
    def switched(self):
        return [each.active for each in self.asked if isinstance(each, do.SwitchOffer)]


def shop(amount=0, **tariff):
    w = World({"remainder_s": 3600, **tariff}, limits=Limits(silent_ms=10_000))
    w.hold |= {do.MakeOffer, do.SwitchOffer}
    node = Node(w)
    assert w.sell(cmd.AskOffer(meter="m", amount_msat=amount)) == (f"satmeter/0/b/m/{amount}", "")
    node.answer()
    return w, node


def pay(w, amount, n=0, note="", offer=OFFER, index=None):
    label = f"{offer}-{PAYER}-{n}"
    w.paid_index = index or w.paid_index + 1
    w.sell(
        cmd.InvoiceSettled(
            label=label,
            amount_msat=amount,
            pay_index=w.paid_index,
            payment_hash=label,
            after=w.paid_index - 1,
            payer_note=note,
        )
    )
    w.pump()
    return label


def test_it_is_recorded_and_found_again():
    w, node = shop()
    assert [e.kind() for e in w.seller_events][-1] == "offer_added"
    assert w.sell(cmd.AskOffer(meter="m", amount_msat=0)) == ("", OFFER) and node.made == 1
    dumped = json.loads(json.dumps(w.seller.state.dump()))
    state = SellerState()
    state.load(dumped)
    assert Seller("02" * 33, state=state).state.offers[OFFER].bolt12 == "lno1text"


def test_a_payment_is_a_wallets_and_says_who_paid():
    w, _ = shop()
    label = pay(w, 5_000, note="for the kettle\x07")
    assert w.grant() == 50
    w.report(20)
    w.report(20, plugged=False)
    receipt = w.receipts()[-1]
    assert receipt["payers"] == [{"key": PAYER, "note": "for the kettle?"}] and identity(receipt)
    assert (receipt["paid_msat"], receipt["owed_msat"]) == (5_000, 3_000)
    session = w.seller.state.sessions[receipt["session"]]
    assert session.fed_by == {1: 5_000} and label


def test_a_payment_without_a_note_says_who_paid_all_the_same():
    w, _ = shop()
    pay(w, 5_000)
    w.report(0, plugged=False)
    assert w.receipts()[-1]["payers"] == [{"key": PAYER, "note": ""}]


def test_two_payments_of_one_payer_are_two_credits_and_each_counts_once():
    w, _ = shop()
    pay(w, 2_000, 0)
    pay(w, 2_000, 1)
    pay(w, 2_000, 1, index=w.paid_index)  # told again
    assert w.seller.state.sessions[w.meter.session].received_msat == 4_000


def test_what_can_not_be_delivered_is_refused_when_it_is_paid():
    w, _ = shop()
    label = f"{OFFER}-{PAYER}-0"
    assert w.seller.rejects(label, w.now, 5_000) == ""
    assert "from 100 to 10000 msat" in w.seller.rejects(label, w.now, 10_001)
    assert "from 100 to 10000 msat" in w.seller.rejects(label, w.now, 99)
    assert w.seller.rejects(f"{OTHERS}-{PAYER}-0", w.now, 5_000) == ""  # none of ours: others may take it
    assert "silent" in w.seller.rejects(label, w.now + 10_001, 5_000)
    w.report(0, plugged=False)
    assert w.seller.rejects(label, w.now, 5_000) == "nothing is plugged in"
    w.report(0)
    w.open()
    assert w.seller.rejects(label, w.now, 5_000) == "another session has the meter"


def test_paid_all_the_same_it_is_kept_for_its_payer():
    w, _ = shop()
    w.open()
    pay(w, 5_000)
    assert w.meter.session == SESSION
    assert [r["owed_msat"] for r in w.receipts() if not r["buyer"]] == [5_000]


def test_the_node_answers_it_only_while_the_meter_can_deliver():
    w, node = shop()
    assert node.switched == []
    w.report(0, plugged=False)
    node.answer()
    w.report(0, plugged=False)
    node.answer()
    assert node.switched == [False]
    w.now += 5_000
    w.report(0)
    node.answer()
    assert node.switched == [False, True]
    w.now += 11_000
    w.sell(cmd.Tick())
    node.answer()
    assert node.switched == [False, True, False]


def test_its_operator_ends_it_and_begins_it_again():
    w, node = shop()
    assert w.sell(cmd.AskOffer(meter="m", amount_msat=0, active=False)) == ("", OFFER)
    node.answer()
    assert node.switched == [False] and "not sell" in w.seller.rejects(f"{OFFER}-{PAYER}-0", w.now, 5_000)
    w.now += 5_000
    w.report(0)
    node.answer()
    assert node.switched == [False]
    w.sell(cmd.AskOffer(meter="m", amount_msat=0))
    node.answer()
    assert node.switched == [False, True]
    assert views.offer_status(OFFER, w.seller.state.offers[OFFER]).active


def test_a_removed_meter_answers_no_more_and_what_is_paid_to_it_waits_for_a_person():
    w, node = shop()
    w.sell(cmd.RemoveMeter(meter="m"))
    node.answer()
    assert node.switched == [False] and w.seller.rejects(f"{OFFER}-{PAYER}-0", w.now, 5_000)
    label = pay(w, 5_000)
    assert w.seller.state.unowned == {label: 5_000}


@pytest.mark.parametrize(
    ("tariff", "amount", "why"),
    [
        ({"mode": "arrears", "limit_msat": 10_000}, 0, "plain wallet"),
        ({"settlement": "onchain", "quantum_msat": 10_000_000}, 0, "plain wallet"),
        ({}, 99, "from 100"),
        ({}, 10_001, "to 10000"),
    ],
)
def test_what_can_not_be_offered_is_refused(tariff, amount, why):
    w = World(tariff)
    with pytest.raises(BadParam, match=why):
        w.sell(cmd.AskOffer(meter="m", amount_msat=amount))
    with pytest.raises(BadParam, match="has no offer"):
        w.sell(cmd.AskOffer(meter="m", amount_msat=amount, active=False))


def test_an_older_copy_of_the_journal_learns_of_it_from_the_node():
    w, _ = shop()
    w.replace_seller(upto=1)
    w.sell(cmd.OfferMade(meter="m", amount_msat=0, offer_id=OFFER, bolt12="lno1text", active=True))
    w.report(0)
    pay(w, 5_000)
    assert w.grant() == 50 and w.sell(cmd.AskOffer(meter="m", amount_msat=0)) == ("", OFFER)
    w.sell(
        cmd.OfferMade(meter="gone", amount_msat=0, offer_id=OTHERS, bolt12="lno1other", active=True)
    )  # of a meter that is gone: nobody needs it
    assert OTHERS not in w.seller.state.offers


def test_a_payment_that_opens_nothing_names_its_payer_in_the_receipt():
    w, _ = shop()
    w.open()
    pay(w, 3_000, note="for the kettle")
    parked = next(r for r in w.receipts() if r["session"] != SESSION)
    assert (parked["paid_msat"], parked["payers"]) == (3_000, [{"key": PAYER, "note": "for the kettle"}])


def test_all_offers_of_an_amount_end_at_once():
    w, node = shop()
    w.sell(
        cmd.OfferMade(meter="m", amount_msat=0, offer_id=OTHERS, bolt12="lno1other", active=True)
    )  # made on an older copy of the journal, say
    w.sell(cmd.AskOffer(meter="m", amount_msat=0, active=False))
    node.answer()
    assert not any(each.wanted or each.memory.active for each in w.seller.state.offers.values())
    w.sell(cmd.AskOffer(meter="m", amount_msat=0))
    assert [each.wanted for each in w.seller.state.offers.values()] == [True, False]


def test_while_a_session_ends_nothing_more_is_taken():
    w, _ = shop()
    pay(w, 2_000)
    assert not w.seller.rejects(f"{OFFER}-{PAYER}-1", w.now)
    w.sell(cmd.CloseSession(session=w.meter.session))
    assert w.seller.state.sessions[w.meter.session].ending  # the board has not stopped yet
    assert w.seller.rejects(f"{OFFER}-{PAYER}-1", w.now) == "the session is just ending"
    with pytest.raises(WrongState, match="just ending"):
        w.sell(cmd.MakeWalletInvoice(meter="m", amount_msat=0, deliverable=True))
