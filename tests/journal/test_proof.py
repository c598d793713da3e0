"""What `satmeter journal audit` proves of a journal: honest histories are whole, and what was changed in one is found.

Sessions of 90 ticks a payment at 100 msat a tick; the receipts are really signed.
"""

import json

import pytest
import sqlalchemy as sa
from coincurve import PrivateKey
from test_compaction import BUYER, TARIFF
from test_compaction import Shop as Unsigned

from satmeter.core import commands as cmd
from satmeter.core import messages as msg
from satmeter.core import receipt
from satmeter.core.errors import JournalTrouble
from satmeter.core.labels import session_label
from satmeter.core.seller import history
from satmeter.core.seller.seller import Seller
from satmeter.core.seller.state import SellerState
from satmeter.core.status import SessionRow
from satmeter.journal import compaction, store
from satmeter.journal.compaction import compact
from satmeter.journal.proof import Side, Whose, proofs
from satmeter.journal.store import Journal
from satmeter.journal.url import sqlite_url
from satmeter.wire.signature import pack, sign

KEY = b"\x07" * 32
NODE = PrivateKey(KEY).public_key.format().hex()


class Shop(Unsigned):
    """A seller whose receipts are signed, with its index, and a node that knows its invoices and refunds."""

    def __init__(self, path):
        self.journal = Journal(sqlite_url(path), "meter", NODE)
        self.core = Seller(NODE, journal=self.journal.name)
        self.now, self.paid, self.register, self.sessions = 10**12, 0, 0, 0
        self.invoices, self.pays = {}, {}
        self.do(cmd.AddMeter(meter="m", tariff=TARIFF))
        self.reading()

    def do(self, what):
        self.now += 10
        self.keep(self.core.handle(what, self.now))

    def keep(self, step):
        self.journal.commit(step.events, history.rows(self.core.state, step.events))

    def payment(self, session):
        made = super().payment(session)
        label = made.label.replace("/0/", f"/{self.journal.name}/", 1)
        invoice = {"payment_hash": made.payment_hash, "status": "paid", "label": label, "paid_at": self.now // 1000}
        more = {"amount_received_msat": made.amount_msat, "created_index": made.pay_index, "pay_index": made.pay_index}
        self.invoices[made.payment_hash] = {**invoice, **more}
        return cmd.InvoiceSettled(
            label=label,
            amount_msat=made.amount_msat,
            pay_index=made.pay_index,
            payment_hash=made.payment_hash,
            after=made.after,
        )

    def ask_refund(self, session):
        """The buyer's close: a refund begins, and the node claims a hash for it."""
        s = self.core.state.sessions[session]
        self.do(
            cmd.FromPeer(
                peer=BUYER, message=msg.Close(session, self.now, msg.BUYER, "bye", s.received_msat, f"r{session}")
            )
        )
        if s.refund.under_way:
            self.do(
                cmd.ClaimRefund(
                    session=session,
                    bolt11=s.refund.bolt11,
                    attempt=s.refund.attempts,
                    payment_hash=f"hash of {session}",
                    known=False,
                )
            )

    def settle(self, session):
        s = self.core.state.sessions[session]
        self.ask_refund(session)
        if s.refund.under_way:
            self.sent(session)
            self.do(
                cmd.RefundSettled(
                    session=session,
                    bolt11=s.refund.bolt11,
                    amount_msat=s.refund.amount_msat,
                    fee_msat=0,
                    payment_hash=f"hash of {session}",
                )
            )
        for n in list(s.dropped):
            self.do(cmd.InvoiceGone(label=session_label(self.journal.name, session, n)))
        self.sign(session)

    def sent(self, session):
        """The node has paid the refund that is under way."""
        refund = self.core.state.sessions[session].refund
        paid = {"status": "complete", "amount_msat": refund.amount_msat, "completed_at": self.now // 1000}
        self.pays[f"hash of {session}"] = paid

    def sign(self, session):
        s = self.core.state.sessions[session]
        text = receipt.text(s, NODE, s.next_revision)
        self.do(
            cmd.SignatureMade(session=session, revision=s.next_revision, text=text, signature=pack(sign(KEY, text)))
        )

    def call(self, method, **params):
        if method == "getinfo":
            return {"id": NODE}
        if method == "wait":
            return {"created": max((each["created_index"] for each in self.invoices.values()), default=0)}
        if method == "listpays":
            return {"pays": [self.pays[hash] for hash in [params["payment_hash"]] if hash in self.pays]}
        known = sorted(self.invoices.values(), key=lambda each: each["created_index"])
        return {"invoices": [each for each in known if each["created_index"] >= params["start"]]}

    def wrong(self):
        """What is not so, in words; an hour and a day after the last event."""
        whose = Whose(self.journal.name, NODE, "meter", self.now / 1000 + 90_000)
        found = list(proofs(self.journal, whose, Side.of("meter"), self.call))
        return [proof.words for proof in found if proof.holds is False]

    def unsure(self):
        whose = Whose(self.journal.name, NODE, "meter", self.now / 1000 + 90_000)
        return [
            proof.words for proof in proofs(self.journal, whose, Side.of("meter"), self.call) if proof.holds is None
        ]


@pytest.fixture(autouse=True)
def _every_snapshot_is_a_checkpoint(monkeypatch):
    monkeypatch.setattr(store, "CHECKPOINT_MS", 0)
    monkeypatch.setattr(compaction, "PAUSE_S", 0)


@pytest.fixture
def shop(tmp_path):
    made = Shop(tmp_path / "j.sqlite3")
    yield made
    made.journal.close()


# --- honest histories


def test_sessions_one_after_the_other_are_whole(shop):
    for end in ("done", "open", "done"):
        shop.session(3, "done")
        shop.snapshot()
        shop.session(1, end) if end != "open" else None
    shop.session(2, "closed")
    assert shop.wrong() == [] and shop.unsure() == []


def test_a_journal_all_of_whose_events_are_compacted_is_whole(shop):
    for _ in range(3):
        shop.session(3, "done")
    shop.snapshot()
    assert compact(shop.journal, SellerState, shop.now + 1, 0) > 0 and not shop.journal.history()
    assert shop.wrong() == []
    shop.session(2, "done")
    assert shop.wrong() == []


def test_receipts_that_are_kept_for_less_time_than_events_are_no_fault(shop):
    for _ in range(3):
        shop.session(3, "done")
        middle = shop.now
    shop.session(3, "done")
    shop.snapshot()
    compact(shop.journal, SellerState, 0, middle)
    assert shop.wrong() == [] and "deleted by their age" in " ".join(shop.unsure())


def test_what_a_person_said_is_owed_is_no_fault_after_compaction_either(shop):
    shop.session(1, "open")
    session = f"{shop.sessions:032x}"
    shop.snapshot()
    shop.core = Seller(NODE, journal=shop.journal.name, state=shop.folded(), older=shop.paid)
    shop.keep(shop.core.resume(shop.now))
    shop.reading()
    shop.reading()
    assert shop.core.state.sessions[session].owed_msat == 1_500
    shop.do(cmd.Attend(name=session, how=cmd.OWED, note="told", amount_msat=1_000))
    shop.settle(session)
    assert shop.wrong() == []
    shop.snapshot()
    shop.session(1, "done")
    assert compact(shop.journal, SellerState, shop.now + 1, 0) > 0
    shop.session(1, "done")
    assert shop.wrong() == []


# --- what was changed


def tampered(shop, change):
    """Change the newest snapshot's state: what the plugin goes on from at its next start."""
    with shop.journal._engine.begin() as db:
        upto, text = db.execute(sa.text("SELECT upto, state FROM satmeter_snapshot ORDER BY upto DESC")).first()
        state = json.loads(text)
        change(state)
        db.execute(
            sa.text("UPDATE satmeter_snapshot SET state=:state WHERE upto=:upto"),
            {"state": json.dumps(state), "upto": upto},
        )


SNAPSHOTS = {
    "charges less": lambda state: state["sessions"][0].update(final_charge_msat=0),
    "refunds to another": lambda state: state["sessions"][0]["refund"].update(bolt11="lnbcrt1another"),
    "another tariff": lambda state: state["meters"][0]["tariff"].update(price_msat=1),
    "another tariff of a session": lambda state: state["sessions"][0]["tariff"].update(price_msat=1),
    "no meters": lambda state: state.update(meters=[]),
    "no sessions": lambda state: state.update(sessions=[]),
    "somebody is owed": lambda state: state["unowned"].update({"satmeter/0/s/x/1": 5_000}),
    "a refund's hash": lambda state: state["refund_hashes"].update({"ab" * 32: "5e" * 16}),
    "more was paid": lambda state: state["sessions"][0].update(paid_msat=10**6),
    "fewer ticks": lambda state: state["sessions"][0].update(count=0),
    "an earlier payment": lambda state: state.update(pay_index=0),
    "a gate's reservation": lambda state: state["sessions"][0]["reserved"].update(gate=7_000),
}


@pytest.mark.parametrize("change", SNAPSHOTS)
def test_a_snapshot_that_says_otherwise_than_the_events_is_found_and_not_begun_with(shop, change):
    shop.session(3, "done")
    shop.session(2, "closed")  # something is owed yet
    shop.core.state.sessions.pop(f"{1:032x}")
    shop.snapshot()
    assert shop.wrong() == []
    tampered(shop, SNAPSHOTS[change])
    (words,) = shop.wrong()
    assert "snapshot" in words
    before = shop.journal.history()
    with pytest.raises(JournalTrouble, match="nothing is deleted"):
        compact(shop.journal, SellerState, shop.now + 1, 0)
    assert shop.journal.history() == before


def test_a_snapshot_of_a_version_that_recorded_less_is_whole(shop):
    shop.session(2, "closed")
    shop.snapshot()

    def earlier(state):
        del state["refund_hashes"]
        for session in state["sessions"]:
            del session["fees_borne_msat"], session["refund"]["tries"]

    tampered(shop, earlier)
    assert shop.wrong() == []


def begun_with(shop, upto):
    with shop.journal._engine.begin() as db:
        db.exec_driver_sql("DELETE FROM satmeter_about WHERE name='base'")
        db.execute(sa.text("INSERT INTO satmeter_about VALUES ('base', :upto)"), {"upto": str(upto)})


def test_a_journal_that_is_said_to_begin_elsewhere_is_found(shop):
    for _ in range(3):
        shop.session(3, "done")
        shop.snapshot()
    first = shop.journal.snapshots()[0].upto
    shop.journal.rebase(shop.journal.checkpoint_before(shop.now))
    while shop.journal.delete_under_base(10):
        pass
    shop.session(2, "done")
    shop.snapshot()
    assert shop.wrong() == []
    begins, newest = shop.journal.base().upto, shop.journal.snapshots()[-1].upto
    for upto, words in ((newest, "is said to begin with event"), (first, "has no snapshot"), (0, "are missing")):
        begun_with(shop, upto)
        assert any(words in each for each in shop.wrong()), upto
    begun_with(shop, begins)
    assert shop.wrong() == []


def test_events_that_are_still_there_are_looked_at_whatever_the_journal_is_said_to_begin_with(shop):
    shop.session(3, "done")
    shop.snapshot()
    shop.journal.rebase(shop.journal.snapshots()[-1])  # a compaction that was ended before it deleted anything
    assert shop.wrong() == []
    tampered(shop, SNAPSHOTS["another tariff"])
    (words,) = shop.wrong()
    assert "snapshot" in words


def payment_changed(shop, **fields):
    with shop.journal._engine.begin() as db:
        found = db.exec_driver_sql("SELECT id, data FROM satmeter_event WHERE kind='invoice_paid' ORDER BY id DESC")
        id, data = found.first()
        query = sa.text("UPDATE satmeter_event SET data=:data WHERE id=:id")
        db.execute(query, {"data": json.dumps({**json.loads(data), **fields}), "id": id})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"pay_index": 900, "owned_up_to": 900}, "its pay_index is 2 at the node, and 900 on record"),
        ({"owned_up_to": 900}, "of index 2, says that payments up to 900 have their owners"),
    ],
)
def test_a_payment_that_hides_the_ones_to_come_is_found(shop, fields, words):
    """The plugin asks its node for payments after the newest that has its owner: later ones would never be credited."""
    shop.session(2, "done")
    assert shop.wrong() == []
    payment_changed(shop, **fields)
    assert any(words in each for each in shop.wrong())


def compacted(shop):
    for _ in range(3):
        shop.session(3, "done")
    shop.snapshot()
    assert compact(shop.journal, SellerState, shop.now + 1, 0) > 0 and not shop.journal.history()
    assert shop.wrong() == []


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.update(pay_index=10**6),
        lambda state: state.update(early=[10**6]),
        lambda state: state.update(lost_up_to=10**6),
    ],
)
def test_a_beginning_beyond_all_payments_of_the_node_is_found(shop, change):
    compacted(shop)
    tampered(shop, change)
    (words,) = shop.wrong()
    assert "it goes on after payment 1,000,000, and the node made 9 invoices in all" in words


def test_a_beginning_beyond_the_payments_that_the_node_still_has_is_said(shop):
    compacted(shop)
    assert shop.unsure() == []
    shop.invoices.popitem()
    shop.invoices["unpaid"] = {"payment_hash": "unpaid", "status": "unpaid", "label": "l", "created_index": 9}
    assert "it goes on after payment 9, and the newest that the node has is 8" in shop.unsure()


def test_a_payment_that_nobody_credited_is_found_also_where_all_events_are_compacted(shop):
    compacted(shop)
    last = shop.invoices[f"{9:064x}"]
    shop.invoices["late"] = {**last, "payment_hash": "late", "pay_index": 10, "created_index": 10}
    (words,) = shop.wrong()
    assert "was never credited" in words


@pytest.mark.parametrize("deleted", [False, True])
def test_a_session_that_no_event_opened_is_found_where_its_events_would_be_kept(shop, deleted):
    """Of one that is older than all events that are kept, nothing can be said."""
    shop.session(3, "done")
    shop.snapshot()
    if deleted:
        assert compact(shop.journal, SellerState, shop.now + 1, 0) > 0
    begun = shop.now
    shop.session(1, "done")
    older, made_up = (SessionRow(f"{n:032x}", at, "m", BUYER) for n, at in ((8, 10**12), (9, begun + 30)))
    shop.session(1, "done")
    shop.journal.commit([], [older, made_up])
    assert shop.wrong() == [f"session {made_up.id} is listed, and no event says that it was opened"]


def test_a_refund_that_the_node_has_paid_and_the_journal_does_not_know_is_found(shop):
    """As in an older copy: the next start would be asked to pay what was paid."""
    shop.session(2, "closed")
    shop.ask_refund(f"{1:032x}")
    assert shop.core.state.sessions[f"{1:032x}"].refund.under_way and shop.wrong() == []
    shop.sent(f"{1:032x}")
    (words,) = shop.wrong()
    assert f"refund hash of {1:032x}" in words and "the node sent 1,000 msat, and no event says so" in words


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("UPDATE satmeter_session SET opened_at='abc'", "listed with opened_at 'abc'"),
        ("UPDATE satmeter_event SET data='" + "[" * 100_000 + "' WHERE id=3", "can't be read"),
        ("UPDATE satmeter_snapshot SET state='" + "[" * 100_000 + "'", "the journal is damaged"),
    ],
)
def test_what_is_damaged_is_said(shop, row, words):
    shop.session(3, "done")
    shop.snapshot()
    with shop.journal._engine.begin() as db:
        db.exec_driver_sql(row)
    assert any(words in each for each in shop.wrong())
