"""How the meter's plugin begins: with a new journal at the node's newest payment, with another where that ended."""

from types import SimpleNamespace

import pytest

from satmeter.core.errors import JournalTrouble
from satmeter.core.labels import session_label
from satmeter.core.seller import events as ev
from satmeter.core.seller.context import Limits
from satmeter.core.seller.state import SellerState
from satmeter.plugin.meter import MeterPlugin

NODE, JOURNAL, OTHER = "02" + "aa" * 32, "0a0a0a0a", "0b0b0b0b"


class Node:
    """Has made 50 invoices, of which 40 were paid; `labels` are its newest."""

    def __init__(self, *labels):
        self.labels = labels

    def newest_index(self):
        return 40

    def invoices_created(self):
        return 50

    def newest_labels(self, most):
        return list(self.labels)


class Plugin:
    """What MeterPlugin.build() uses of its plugin."""

    _recall, _check_index, _check_new = MeterPlugin._recall, MeterPlugin._check_index, MeterPlugin._check_new

    def __init__(self, *labels, forgotten=()):
        self.node, self.node_id, self._strange = Node(*labels), NODE, None
        self.options = SimpleNamespace(limits=Limits(), forgotten=forgotten)
        self.runtime = SimpleNamespace(journal=SimpleNamespace(name=JOURNAL))

    def folded(self, snapshot, events):
        state = SellerState()
        if snapshot is not None:
            state.load(snapshot)
        for event in events:
            state.apply(event)
        return state

    def build(self, snapshot=None, events=(), older=False):
        return MeterPlugin.build(self, snapshot, list(events), older)


def paid_up_to(pay_index):
    fields = {"label": "l", "amount_msat": 5, "payment_hash": "h", "pay_index": pay_index, "owned_up_to": pay_index}
    return [ev.PaymentUnowned(at=1, subject="u", **fields)]


def snapshot_at(pay_index):
    state = SellerState()
    state.pay_index = pay_index
    return state.dump()


def test_a_new_journal_begins_at_the_nodes_newest_payment():
    assert Plugin().build().state.pay_index == 40


KILLED, STOPPED, BOTH = (None, paid_up_to(30)), (snapshot_at(30), []), (snapshot_at(20), paid_up_to(30))


@pytest.mark.parametrize(("snapshot", "events"), [KILLED, STOPPED, BOTH])
def test_another_goes_on_where_it_ended_so_that_what_was_paid_since_is_told(snapshot, events):
    """Also one that was killed before its first snapshot, and one without an event since its last."""
    assert Plugin().build(snapshot, events).state.pay_index == 30


def test_a_journal_with_more_payments_than_the_node_made_invoices_is_anothers():
    assert Plugin().build(snapshot_at(50)).state.pay_index == 50
    for given in ({"snapshot": snapshot_at(51)}, {"events": paid_up_to(51)}):
        with pytest.raises(JournalTrouble, match="up to index 51, but the node made only 50"):
            Plugin().build(**given)


def test_a_new_journal_is_refused_where_the_node_has_invoices_of_another():
    labels = (session_label(OTHER, "5e" * 16, 1), "somebody else's")
    with pytest.raises(JournalTrouble, match=f"invoices of journal {OTHER}"):
        Plugin(*labels).build()
    assert Plugin(*labels, forgotten=(OTHER,)).build().state.pay_index == 40
    assert Plugin(*labels).build(snapshot_at(30)).state.pay_index == 30
    assert Plugin(session_label(JOURNAL, "5e" * 16, 1)).build().state.pay_index == 40


@pytest.mark.parametrize("older", [True, False])
def test_an_older_copy_takes_all_payments_of_the_node_for_lost(older):
    found = Plugin().build(snapshot_at(30), older=older)
    assert found.context.older == (40 if older else -1)
