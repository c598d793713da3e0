"""Old events go, balances stay: what a compacted journal comes to is what the whole one came to."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balances import balances
from satmeter.core import commands as cmd
from satmeter.core import messages as msg
from satmeter.core.buyer.events import InvoiceRefused
from satmeter.core.errors import JournalTrouble
from satmeter.core.labels import opening_label, session_label
from satmeter.core.reading import Reading
from satmeter.core.seller.seller import Seller
from satmeter.core.seller.state import SellerState
from satmeter.core.status import SessionRow
from satmeter.journal import compaction, store
from satmeter.journal.compaction import compact
from satmeter.journal.store import Journal
from satmeter.journal.url import sqlite_url

NODE, BUYER = "02" + "aa" * 32, "02" + "bb" * 32
TARIFF = {"price_msat": 1000, "ticks_per_unit": 10, "quantum_msat": 10_000, "allowance_ticks": 5}


class Shop:
    """A seller's core with a journal, and sessions one after the other, each left in one of several states."""

    def __init__(self, path):
        self.journal = Journal(sqlite_url(path), "meter", NODE)
        self.core = Seller(NODE, journal="0")
        self.now, self.paid, self.register, self.sessions = 10**12, 0, 0, 0
        self.do(cmd.AddMeter(meter="m", tariff=TARIFF))
        self.reading()

    def do(self, what):
        self.now += 10
        self.journal.commit(self.core.handle(what, self.now).events)

    def reading(self, ticks=0, plugged=True):
        self.register += ticks
        self.do(cmd.Report(meter="m", reading=Reading("b1", self.register, 0, 0, plugged, 0)))

    def session(self, payments, end):
        self.sessions += 1
        session = f"{self.sessions:032x}"
        self.do(cmd.FromPeer(peer=BUYER, message=msg.Open(session, self.now, "m")))
        for _ in range(max(1, payments)):
            self.do(self.payment(session))
            self.reading(90)
        if end == "open":
            return
        self.do(cmd.CloseSession(session=session))
        self.reading()
        if end == "done":
            self.settle(session)

    def payment(self, session):
        """The payment of the invoice that is due now; the first one opens the session."""
        opened = session in self.core.state.sessions
        s = self.core.state.sessions[session] if opened else self.core.waiting[session]
        n, amount = next(iter(s.out.items()))
        label = session_label("0", session, n) if opened else opening_label("0", s.first)
        self.paid += 1
        return cmd.InvoiceSettled(
            label=label, amount_msat=amount, pay_index=self.paid, payment_hash=f"{self.paid:064x}", after=self.paid - 1
        )

    def settle(self, session):
        """Refund and receipt, and everything else that makes a session done."""
        s = self.core.state.sessions[session]
        self.do(
            cmd.FromPeer(
                peer=BUYER, message=msg.Close(session, self.now, msg.BUYER, "bye", s.received_msat, f"refund{session}")
            )
        )
        if s.refund.under_way:
            self.do(
                cmd.RefundSettled(
                    session=session,
                    bolt11=s.refund.bolt11,
                    amount_msat=s.refund.amount_msat,
                    fee_msat=0,
                    payment_hash="",
                )
            )
        for n in list(s.dropped):
            self.do(cmd.InvoiceGone(label=session_label("0", session, n)))
        self.do(cmd.SignatureMade(session=session, revision=s.revision + 1, text=self.text(s), signature="sig"))

    def text(self, s):
        from satmeter.core import receipt

        return receipt.text(s, NODE, s.revision + 1)

    def snapshot(self):
        """A checkpoint, with an event that it goes with."""
        self.now += 10
        events = self.core.handle(
            cmd.SetMeter(meter="m", tariff={"remainder_s": 3600 + self.now % 1000}), self.now
        ).events
        self.journal.commit(events, snapshot=self.core.state.dump())

    def folded(self):
        state, events = self.journal.load()
        books = SellerState()
        if state is not None:
            books.load(state)
        for e in events:
            books.apply(e)
        return books


@pytest.fixture(autouse=True)
def _every_snapshot_is_a_checkpoint(monkeypatch):
    monkeypatch.setattr(store, "CHECKPOINT_MS", 0)
    monkeypatch.setattr(compaction, "PAUSE_S", 0)


@pytest.fixture
def shop(tmp_path):
    return Shop(tmp_path / "j.sqlite3")


def test_old_events_go_and_balances_stay(shop):
    for _ in range(5):
        shop.session(3, "done")
    shop.snapshot()
    before, count = balances(shop.core.state), shop.journal.last
    assert compact(shop.journal, SellerState, shop.now + 1, 0) == count
    assert not shop.journal.history()
    assert balances(shop.folded()) == before
    shop.session(2, "done")
    again = Journal(shop.journal.url, "meter", NODE)
    _state, events = again.load()
    assert len(events) > 5 and again.last == shop.journal.last
    assert balances(shop.folded()) == balances(shop.core.state)


def test_a_year_of_one_session_is_let_go_of_while_it_runs(shop):
    shop.session(200, "open")
    shop.snapshot()
    gone = compact(shop.journal, SellerState, shop.now + 1, 0)
    shop.reading()
    (s,) = shop.core.state.sessions.values()
    assert gone > 300 and len(shop.journal.history(limit=1000)) < 5
    found = shop.folded().sessions[s.id]
    assert (found.head, found.received_msat, found.payments) == (s.head, s.received_msat, 200)


def test_what_is_done_does_not_stay_in_the_base(shop):
    for _ in range(30):
        shop.session(1, "done")
    shop.now += 10**7
    shop.do(cmd.Tick())  # and memory lets them go
    shop.snapshot()
    compact(shop.journal, SellerState, shop.now + 1, 0)
    base = shop.journal.base()
    assert len(json.dumps(base.state)) < 10 * 3000 and len(base.state["sessions"]) < 10


def test_books_that_would_come_out_otherwise_stop_it(shop):
    shop.session(20, "open")
    shop.snapshot()
    shop.reading(1)
    (s,) = shop.core.state.sessions.values()
    s.paid_msat += 1  # a snapshot that says other than the events
    shop.snapshot()
    count = len(shop.journal.history(limit=1000))
    with pytest.raises(JournalTrouble, match="nothing is deleted"):
        compact(shop.journal, SellerState, shop.now + 1, 0)
    assert len(shop.journal.history(limit=1000)) == count and shop.journal.base() is None


def test_receipts_have_a_time_of_their_own(shop):
    rows = [SessionRow(f"{n:032x}", n, "m", BUYER, closed_at=10 * n) for n in range(1, 10)]
    shop.journal.commit([], sessions=[*rows, SessionRow("f" * 32, 1, "m", BUYER)])
    compact(shop.journal, SellerState, 0, 50)
    left = {r["id"] for r in shop.journal.sessions()}
    assert left == {r.id for r in rows if r.closed_at >= 50} | {"f" * 32}


@settings(max_examples=40)
@given(
    sessions=st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["done", "closed"])), min_size=1, max_size=8),
    last=st.sampled_from(["open", "done"]),
    cuts=st.lists(st.tuples(st.integers(0, 100), st.booleans()), min_size=1, max_size=4),
)
def test_wherever_it_is_cut_and_however_often(tmp_path_factory, sessions, last, cuts):
    shop = Shop(tmp_path_factory.mktemp("c") / "j.sqlite3")
    for payments, end in sessions:
        shop.session(payments, end)
        shop.snapshot()
        for percent, more in cuts:
            if more:
                shop.reading(1)
            compact(shop.journal, SellerState, 10**12 + (shop.now - 10**12) * percent // 100, 0)
    shop.session(2, last)
    books = shop.folded()
    for stream, balance in balances(shop.core.state).items():
        assert balances(books)[stream] == balance


def test_checkpoints_are_a_day_apart_and_go_on_after_a_clock_that_went_back(shop, monkeypatch):
    monkeypatch.setattr(store, "CHECKPOINT_MS", 1000)

    def upto():
        with shop.journal._engine.connect() as db:
            return [at - 10**12 for _, at in shop.journal._checkpoints(db)]

    for _ in range(5):
        shop.snapshot()
        shop.now += 390
    shop.now += 10**6
    shop.snapshot()
    shop.now -= 10**6
    shop.snapshot()
    shop.snapshot()
    assert upto() == [30, 1230, 1002020 + 10, 2040]
    shop.session(1, "done")
    assert compact(shop.journal, SellerState, 10**12 + 100, 0) == 3  # up to the first of them
    assert balances(shop.folded()) == balances(shop.core.state)


def test_a_journal_that_is_kept_for_ever_keeps_one_checkpoint(shop):
    for _ in range(3):
        shop.session(1, "done")
        shop.snapshot()
    assert shop.journal.checkpoint_before(shop.now - 20) is not None
    assert compact(shop.journal, SellerState, 0, 0) == 0
    newest = shop.journal.checkpoint_before(shop.now + 1)
    assert newest.upto == shop.journal.last and shop.journal.checkpoint_before(shop.now - 20) is None
    assert balances(shop.folded()) == balances(shop.core.state)


def test_it_costs_what_it_deletes_and_not_what_is_kept(tmp_path):
    asked = []
    for kept in (3, 60):
        shop = Shop(tmp_path / f"{kept}.sqlite3")
        shop.session(20, "done")
        shop.snapshot()
        cut = shop.now + 1
        for _ in range(kept):
            shop.session(5, "done")
        shop.snapshot()
        gone, job = [], (shop.journal, SellerState, cut, 0)
        asked.append(steps(shop.journal, lambda gone=gone, job=job: gone.append(compact(*job))))
        assert gone == [shop.journal.base().upto]
    small, large = asked
    assert 0 < large <= small * 1.5, asked


def steps(journal, look):
    """Return how much SQLite had to do for a question, in units of a hundred instructions of its machine."""
    count = 0

    def tick():
        nonlocal count
        count += 1

    with journal._engine.connect() as db:
        raw = db.connection.dbapi_connection
    raw.set_progress_handler(tick, 100)
    look()
    raw.set_progress_handler(None, 0)
    return count


def test_questions_cost_what_they_return_and_not_what_is_stored(tmp_path):
    """The same questions to a small journal and to one twenty times as large."""
    asked = {}
    for size in (200, 4_000):
        shop = Shop(tmp_path / f"{size}.sqlite3")
        session = "ab" * 16
        shop.do(cmd.FromPeer(peer=BUYER, message=msg.Open(session, shop.now, "m")))
        kept = []
        for _ in range(size):
            shop.now += 10
            paid = shop.payment(session)
            shop.register += 90
            for what in (paid, cmd.Report(meter="m", reading=Reading("b1", shop.register, grant=0))):
                kept += shop.core.handle(what, shop.now).events
        rows = [SessionRow(f"{n:032x}", n, ("m", "other")[n % 50 == 0], BUYER, n + 1) for n in range(1, size)]
        shop.journal.commit(kept, sessions=rows)
        shop.snapshot()
        journal = Journal(shop.journal.url, "meter", NODE)
        asked[size] = [
            steps(journal, lambda j=journal: j.history(limit=100)),
            steps(journal, lambda j=journal, s=session: j.history(s, after=50, limit=100)),
            steps(journal, lambda j=journal: j.sessions("", 0, 50)),
            steps(journal, lambda j=journal: j.sessions("other", 0, 3)),
            steps(journal, lambda j=journal, s=session: j.latest(s, InvoiceRefused, 50)),
            steps(journal, lambda j=journal: j.session(f"{7:032x}")),
            steps(journal, lambda j=journal: j.load()),
        ]
    small, large = asked.values()
    assert sum(small) > 0
    for a, b in zip(small, large):
        assert b <= a + 3, (small, large)
