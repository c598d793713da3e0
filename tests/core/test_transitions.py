"""Every state and every event of every machine: what the tables allow happens, anything else raises our own error and
changes nothing."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import BUYER_ID, POLICY, SELLER_ID, SESSION, TARIFF

from satmeter.core import transitions
from satmeter.core.buyer import events as buying
from satmeter.core.buyer.policy import Policy
from satmeter.core.buyer.session import BuyerSession, PaymentInFlight
from satmeter.core.buyer.state import BuyerState
from satmeter.core.errors import LocalError
from satmeter.core.journal import Event
from satmeter.core.seller import events as selling
from satmeter.core.seller.meter import Meter
from satmeter.core.seller.refund import Refund
from satmeter.core.seller.session import SellerSession
from satmeter.core.seller.state import SellerState
from satmeter.core.settlement.transaction import GrowingTransaction, OnchainAccount, SignedTransaction
from satmeter.core.states import MeterState, PaymentState, RefundState, SessionState, StreamState, TransactionState
from satmeter.core.tariff import Tariff

TERMS = Tariff.from_dict(TARIFF)
OTHER = "0e" * 16
VALUES = {
    **dict.fromkeys(("count", "offset", "register", "last_count", "lost_ticks", "ticks", "height", "vout", "code"), 0),
    **dict.fromkeys(("why", "reason", "note", "evidence", "text", "signature", "payment_hash", "change", "tip"), ""),
    **dict.fromkeys(("number", "tx_number", "revision", "pay_index", "owned_up_to", "up_to", "until", "feerate"), 1),
    **dict.fromkeys(("amount_msat", "charged_msat", "fee_msat", "maxfee_msat", "borne_msat", "arrived_msat"), 700),
    **dict.fromkeys(("value_sat", "fee_sat", "lost_sat", "arrived_sat", "maximum_sat", "weight"), 600),
    **dict.fromkeys(("claimed_msat", "invoice_msat", "sent_msat", "carried_msat", "carried_on_msat"), 900),
    **dict.fromkeys(("most_msat", "most_ticks"), 900),
    **{"parked": False, "final": False, "verified": False, "how": "seen", "id": "g", "inputs": [], "start": None},
    **{"meter": "m", "buyer": BUYER_ID, "seller": SELLER_ID, "tariff": TERMS, "policy": Policy.from_dict(POLICY)},
    **{"boot": "b1", "board": "p1", "address": "to", "txid": "t", "raw": "r", "bolt11": "lnbc1", "session": SESSION},
    **{"source": OTHER, "target": OTHER, "arrivals_msat": {}, "label": "l"},
    **{"offer_id": "o", "wanted": True, "bolt12": "lno1", "key": "k"},
}


def kinds(module):
    return [k for k in vars(module).values() if isinstance(k, type) and issubclass(k, Event) and k is not Event]


def event(kind, subject=SESSION, **fields):
    names = [name for name in kind.__dataclass_fields__ if name not in ("at", "subject")]
    values = {**VALUES, "evidence": {} if kind is buying.InvoiceRefused else "", "state": stream_in(StreamState.CLOSED)}
    return kind(at=5, subject=subject, **{name: values[name] for name in names}, **fields)


def outcome(state, happening):
    """Apply an event; returns whether it was taken. What was not taken has changed nothing."""
    before = state.dump()
    try:
        state.apply(happening)
    except LocalError:
        assert state.dump() == before, happening
        return False
    return True


# --- the seller


def selling_in(session=SessionState.OPEN, refund=RefundState.NONE, tx=TransactionState.GROWING, meter=None):
    """A seller with one meter and one session, in these states; `meter`: None where the session does not hold it."""
    state = SellerState()
    state.meters["m"] = Meter("m", TERMS, state=meter or MeterState.STANDBY, session=SESSION if meter else "")
    paid = {"paid_msat": 10_000, "payments": 1, "out": {1: 700}, "reserved": {"g": 500}, "start_count": 0}
    account = OnchainAccount({1: GrowingTransaction(1, "to", 1, state=tx, value_sat=600)}, count=1)
    ended = {"final_charge_msat": 0} if session in (SessionState.CLOSING, SessionState.CLOSED) else {}
    back = Refund(state=refund, bolt11="" if refund == RefundState.NONE else "lnbc0")
    fields = {"state": session, "refund": back, "onchain": account, **paid, **ended}
    state.sessions[SESSION] = SellerSession(SESSION, "m", BUYER_ID, TERMS, 0, **fields)
    state.unowned["l"] = 5
    return state


OF_A_METER = {kind for _, kind in transitions.METER}
OF_A_SESSION = {kind for _, kind in transitions.SESSION}
OF_A_REFUND = {kind for _, kind in transitions.REFUND}
OF_A_TRANSACTION = {kind for _, kind in transitions.TRANSACTION}
NEEDS_ITS_METER = {selling.DeliveryStarted, selling.StartCounted, selling.SessionSuspended}
NEXT = {selling.AddressGiven: {"tx_number": 2}, selling.CreditReserved: {"id": "new"}}
"""What has to be new in the event, so that only the states decide."""


def given_new(kind):
    fields = NEXT.get(kind, {})
    names = [name for name in kind.__dataclass_fields__ if name not in ("at", "subject")]
    return kind(at=5, subject=SESSION, **{name: {**VALUES, **fields}[name] for name in names})


@pytest.mark.parametrize("kind", sorted(OF_A_SESSION, key=lambda k: k.__name__))
def test_every_state_of_a_session_its_refund_its_transaction_and_its_meter(kind):
    taken = 0
    for session, refund, tx, meter in itertools.product(
        SessionState, RefundState, TransactionState, [None, *MeterState]
    ):
        state = selling_in(session, refund, tx, meter)
        legal = (session, kind) in transitions.SESSION
        legal &= kind not in OF_A_REFUND or (refund, kind) in transitions.REFUND
        legal &= kind not in OF_A_TRANSACTION or (tx, kind) in transitions.TRANSACTION
        legal &= kind not in NEEDS_ITS_METER or meter is not None
        legal &= kind not in OF_A_METER or meter is None or (meter, kind) in transitions.METER
        assert outcome(state, given_new(kind)) == legal, (session, refund, tx, meter)
        if legal:
            taken += 1
            now = state.sessions[SESSION]
            assert now.state in transitions.SESSION[session, kind]
            if kind in OF_A_REFUND:
                assert now.refund.state in transitions.REFUND[refund, kind]
            if kind in OF_A_TRANSACTION:
                assert now.onchain.transactions[1].state in transitions.TRANSACTION[tx, kind]
            if kind in OF_A_METER and meter is not None:
                assert state.meters["m"].state in transitions.METER[meter, kind]
    assert taken


@pytest.mark.parametrize("kind", [selling.Locked, selling.Unlocked, selling.MeterRemoved])
@pytest.mark.parametrize("state", MeterState)
def test_every_state_of_a_meter_and_its_lockout(state, kind):
    seller = selling_in(meter=state)
    legal = (state, kind) in transitions.METER
    assert outcome(seller, event(kind, "meter/m")) == legal
    if legal and kind is selling.MeterRemoved:
        assert "m" not in seller.meters
    elif legal:
        assert seller.meters["m"].state in transitions.METER[state, kind]


@pytest.mark.parametrize("parked", [False, True])
@pytest.mark.parametrize("state", MeterState)
def test_a_session_begins_in_standby_unless_it_only_keeps_money(state, parked):
    seller = selling_in(meter=state)
    opened = selling.SessionOpened(
        at=5, subject=OTHER, meter="m", buyer=BUYER_ID, tariff=TERMS, count=0, boot="b", register=0, parked=parked
    )
    assert outcome(seller, opened) == (parked or state == MeterState.STANDBY)
    assert not outcome(seller, selling.SessionOpened(**{**fields_of(opened), "subject": SESSION}))


def fields_of(happening):
    return {name: getattr(happening, name) for name in happening.__dataclass_fields__}


@pytest.mark.parametrize("kind", kinds(selling), ids=lambda kind: kind.__name__)
def test_an_event_about_what_is_not_there_changes_nothing(kind):
    of_nobody = {selling.PaymentUnowned, selling.UnownedSeen, selling.JournalReplaced, selling.MeterAdded}
    state = selling_in()
    if kind not in of_nobody | {selling.SessionOpened}:
        assert not outcome(state, event(kind, "meter/other" if "meter" in kind.__name__.lower() else OTHER))


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (selling.InvoiceDropped, {"number": 9}),
        (selling.InvoiceExpired, {"number": 9}),
        (selling.CreditSpent, {"id": "nothing"}),
        (selling.CreditReleased, {"id": "nothing"}),
        (selling.CreditReserved, {"id": "g"}),
        (selling.UpdateTaken, {"tx_number": 9}),
        (selling.TxSent, {"tx_number": 9}),
        (selling.AddressGiven, {"tx_number": 3}),
    ],
)
def test_what_an_event_names_has_to_be_there(kind, wrong):
    names = [name for name in kind.__dataclass_fields__ if name not in ("at", "subject")]
    fields = {name: {**VALUES, "evidence": "", **wrong}[name] for name in names}
    assert not outcome(selling_in(), kind(at=5, subject=SESSION, **fields))


@given(st.lists(st.tuples(st.sampled_from(kinds(selling)), st.integers(0, 2), st.booleans()), max_size=40))
def test_any_events_of_a_seller_in_any_order(happenings):
    state = SellerState()
    state.apply(event(selling.MeterAdded, "meter/m"))
    for kind, number, other in happenings:
        happening = event(kind, "meter/m" if kind in OF_A_METER - OF_A_SESSION else OTHER if other else SESSION)
        fields = fields_of(happening)
        fields |= {name: number for name in ("number", "tx_number") if name in fields}
        outcome(state, kind(**fields))
        for session in state.sessions.values():
            back = session.refunded_msat + session.taken_msat + session.lapsed_msat + session.owed_msat
            assert session.open or session.received_msat + session.debt_msat == session.charged_msat + back


# --- the buyer


def stream_in(state, payment=PaymentState.NONE):
    flight = {1: PaymentInFlight(700, 10, "h", 1)}
    return BuyerSession(
        SESSION,
        SELLER_ID,
        "m",
        "h:1",
        Policy.from_dict(POLICY),
        0,
        state=state,
        tariff=None if state == StreamState.OPENING else TERMS,
        in_flight=flight if payment == PaymentState.IN_FLIGHT else {},
        astray=flight if payment == PaymentState.ASTRAY else {},
        signed=SignedTransaction(1, "to", 1, 5, 5_000, "51"),
    )


OF_A_STREAM = {kind for _, kind in transitions.STREAM}
OF_A_PAYMENT = {kind for _, kind in transitions.PAYMENT}


@pytest.mark.parametrize("kind", sorted(OF_A_STREAM, key=lambda k: k.__name__))
def test_every_state_of_a_stream_and_of_its_payment(kind):
    taken = 0
    for state, payment in itertools.product(StreamState, PaymentState):
        buyer = BuyerState()
        buyer.streams[SESSION] = stream_in(state, payment)
        legal = (state, kind) in transitions.STREAM
        legal &= kind not in OF_A_PAYMENT or (payment, kind) in transitions.PAYMENT
        assert outcome(buyer, event(kind)) == legal, (state, payment)
        if legal:
            taken += 1
            assert buyer.streams[SESSION].state in transitions.STREAM[state, kind]
            if kind in OF_A_PAYMENT:
                assert buyer.streams[SESSION].payment_state(1) in transitions.PAYMENT[payment, kind]
    assert taken


def test_every_event_has_a_table_or_only_moves_counts():
    """A new kind of event has to be placed before anything takes it."""
    counts = {selling.MeterAdded, selling.MeterChanged, selling.MeterRemoved, selling.BoardBooted, selling.BoardBound}
    counts |= {selling.RegisterJumped, selling.AllowanceBegun, selling.Counted, selling.WalletInvoiceAsked}
    counts |= {selling.WalletInvoiceEnded, selling.PaymentUnowned, selling.UnownedSeen, selling.JournalReplaced}
    counts |= {selling.OfferAdded, selling.OfferWanted, selling.OfferPaid}
    assert set(kinds(selling)) == OF_A_METER | OF_A_SESSION | counts
    assert set(kinds(buying)) == OF_A_STREAM | {buying.StreamOpened, buying.StreamRecalled}


@given(st.lists(st.tuples(st.sampled_from(kinds(buying)), st.integers(0, 2), st.booleans()), max_size=40))
def test_any_events_of_a_buyer_in_any_order(happenings):
    state = BuyerState()
    for kind, number, other in happenings:
        fields = fields_of(event(kind, OTHER if other else SESSION))
        fields |= {name: number for name in ("number", "tx_number") if name in fields}
        outcome(state, kind(**fields))
        for stream in state.streams.values():
            assert not stream.in_flight.keys() & stream.astray.keys() and stream.in_flight_msat >= 0


def test_every_state_can_be_left_and_reached():
    for table, begins in (
        (transitions.METER, MeterState.STANDBY),
        (transitions.SESSION, SessionState.OPEN),
        (transitions.REFUND, RefundState.NONE),
        (transitions.TRANSACTION, TransactionState.GROWING),
        (transitions.STREAM, StreamState.OPENING),
        (transitions.PAYMENT, PaymentState.NONE),
    ):
        reached = {after for (_, _), afters in table.items() for after in afters} | {begins}
        assert reached == set(type(begins))


def test_an_event_of_the_other_side_is_none_of_ours():
    assert not outcome(SellerState(), event(buying.StreamPaused))
    assert not outcome(BuyerState(), event(selling.CloseAsked))
