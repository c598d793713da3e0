"""Payments that the node makes for clients: recorded before they are sent, and each made once, also after a crash.

A payment may have several parts. It ends when none of them can still settle: then what left is the sum over its parts.
One that was made over another amount than was asked ends as an alarm: a person has to look at it.
"""

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import sqlalchemy as sa
from fastapi.concurrency import run_in_threadpool

from ..core.errors import BadParam, JournalTrouble, OverCap, WrongState
from ..core.plain import JsonObject
from ..node.payments import Outcome, Payments, fee_cap, landed
from ..node.rpc import Node
from .database import Database, already_there, only
from .ids import new_id
from .rows import PaymentRow, every, first
from .tables import PAYMENT

log = logging.getLogger("satmeter.billing")

MAXDELAY = 500
WAIT_S, LOOK_AGAIN_S, WAITING = 5, 1.0, 100
LEASE_S, BEAT_S = 120, 15
"""A payment that is being sent is its worker's as long as that says so; then another may take what the node says of it
for its end. Much longer than the node's xpay goes on trying after its caller has died (RETRY_FOR_S): between two tries
nothing is pending, and all the same one more may come."""
LEASE_MOST_S = 2 * LEASE_S
"""One that lasts longer was written by a clock that was ahead: it holds up nobody."""
LOOK_S = 30
"""How long we wait before we look again at a payment that has parts under way: at first, and at most."""
COMPLETE, FAILED, ALARM = "complete", "failed", "alarm"
AT_ONCE, OF_ACCOUNTS, OF_ONE = 100, 60, 10
"""Payments under way in a worker: in all, of all accounts, and of one of these."""


class OutgoingPayments:
    """Payments of one node to others. Each stands in the database by its hash: pending, complete, failed or alarm."""

    def __init__(self, database: Database, node: Node, cap_msat: int):
        self._database, self._node, self._cap = database, node, cap_msat
        self._payments = Payments(node)
        self.watchers: list[Callable[[sa.Connection, PaymentRow, str, int], None]] = []
        """Called in the transaction in which a payment ends otherwise than it stood: with its row as it was, its status
        from now on, and what was sent."""
        self.chores: list[Callable[[], None]] = []
        """What else is looked after every LOOK_S, and at the start."""
        self._me, self._id = new_id(), ""
        self._sending: dict[str, str] = {}
        self._hearers: dict[str, list[Callable[[], object]]] = {}
        """By hash: told when a payment has ended."""
        self._waiting: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="billing-payments", daemon=True)

    def start(self) -> None:
        """Take up what was left, from now on and whenever a worker falls."""
        self._keeper.start()

    def stop(self) -> None:
        """Makes the thread that looks after payments end. Payments that are being sent go on."""
        self._stopping.set()

    def decoded(self, payreq: str) -> JsonObject:
        """Return what an invoice says; BadParam for none, or one without an amount."""
        try:
            decoded = self._node.decode(payreq)
        except BadParam:
            raise BadParam("payreq: is no BOLT 11 invoice", param="payreq") from None
        if decoded.get("type") != "bolt11 invoice" or not decoded.get("valid"):
            raise BadParam("payreq: is no BOLT 11 invoice", param="payreq")
        if not int(decoded.get("amount_msat", 0)):
            raise BadParam("payreq: has no amount; what is to be paid must stand in it", param="payreq")
        return decoded

    def is_own(self, decoded: JsonObject) -> bool:
        """Returns whether a decoded invoice is of this node itself.

        Such a payment settles without a channel, so the amount that it credits came from nowhere."""
        if not self._id:
            self._id = str(self._node.info()["id"])
        return str(decoded["payee"]) == self._id

    def pay(self, client: str, payreq: str) -> PaymentRow:
        """Begin to pay an invoice, and return the payment as it stands. BadParam, OverCap where it must not be paid."""
        decoded = self.decoded(payreq)
        amount = int(decoded["amount_msat"])
        if amount > self._cap:
            raise OverCap(f"payreq: is of {amount} msat, over the cap of {self._cap} msat (payment_cap_msat)")
        return self.send(client, payreq, decoded)

    def send(
        self,
        client: str,
        payreq: str,
        decoded: JsonObject,
        fee: int = 0,
        held: Callable[[sa.Connection, PaymentRow], None] | None = None,
    ) -> PaymentRow:
        """Begins to pay a decoded invoice, and returns the payment as it stands; ended() waits for its outcome.

        Where the payment is recorded already and has not failed, its present state is returned. The watchers
        are called when it ends, which may be later.

        Args:
            client: The client, or the account, that pays.
            payreq: The BOLT 11 invoice.
            decoded: The same invoice, from decoded().
            fee: The hub's fee in msat, which is recorded with the payment.
            held: Called in the transaction that records the payment as this worker's to send. An exception
                from it refuses the payment.

        Raises:
            BadParam: The invoice is of this node itself.
            WrongState: The node pays or has paid this invoice without a client of this service.
        """
        if self.is_own(decoded):
            raise BadParam("payreq: is an invoice of this node itself, to which nothing can be paid", param="payreq")
        amount, rhash = int(decoded["amount_msat"]), str(decoded["payment_hash"])
        self._not_paid_otherwise(rhash)
        begun = self._begin(client, payreq, rhash, amount, fee, held)
        if begun["status"] in ("new", FAILED):
            if int(decoded["created_at"]) + int(decoded.get("expiry", 3600)) < time.time():
                self._unsent(rhash, "the invoice has expired")
            else:
                self._send(client, payreq, rhash, str(decoded["payee"]), int(begun["maxfee"]))
        elif begun["status"] == "pending" and rhash not in self._sending:
            self._learn(begun)
        return self.find(rhash) or begun

    def find(self, rhash: str) -> PaymentRow | None:
        """Returns a payment by its hash, or None. Its status: pending, complete, failed or alarm."""
        with self._database.reading() as db:
            return first(db, sa.select(PAYMENT).where(PAYMENT.c.rhash == rhash), PaymentRow)

    def _not_paid_otherwise(self, rhash: str) -> None:
        """Raises WrongState for an invoice that the node pays or has paid for no client.

        Else a client of this service would be charged for it. A payment that is recorded as failed, and is
        complete on the node, is recorded as ended: complete or alarm."""
        row = self.find(rhash)
        if row is not None and row["status"] != FAILED:
            return
        outcome = self._payments.outcome(rhash)
        if row is not None and outcome.status == "complete":
            self._end(rhash, outcome, "")
        elif row is None and outcome.status in ("complete", "pending"):
            raise WrongState("payreq: the node has paid this invoice already, or is paying it", param="payreq")

    def _keep(self) -> None:
        looked = 0.0
        while True:
            try:
                self._beat()
                if time.monotonic() > looked + LOOK_S:
                    looked = time.monotonic()
                    self._look()
            except Exception as error:  # the node or the database is away: the next round tries again
                log.warning("could not look after payments; trying again: %s", error)
            if self._stopping.wait(BEAT_S):
                return

    def _beat(self) -> None:
        """Say that what this worker sends is still its own."""
        with self._lock:
            mine = list(self._sending)
        if mine:
            own = sa.update(PAYMENT).where(PAYMENT.c.rhash.in_(mine), PAYMENT.c.worker == self._me)
            with self._database.writing() as db:
                db.execute(own.values(lease_until=int(time.time()) + LEASE_S))

    def _look(self) -> None:
        """Learn what became of payments whose worker fell, or lost its node."""
        now = int(time.time())
        over = sa.not_(PAYMENT.c.lease_until.between(now, now + LEASE_MOST_S))
        left = sa.select(PAYMENT).where(PAYMENT.c.status == "pending", over)
        with self._database.reading() as db:
            rows = every(db, left, PaymentRow)
        for row in rows:
            self._learn(row)
        for chore in self.chores:
            chore()

    def _learn(self, row: PaymentRow) -> None:
        """Records the node's outcome of a payment that this worker does not send.

        A failure, or that the payment was never sent, is recorded only once its lease is over: another
        worker may be sending it."""
        outcome = self._payments.outcome(row["rhash"])
        if outcome.status == "complete":
            self._end(row["rhash"], outcome, "")
        elif outcome.status != "pending":
            self._end(row["rhash"], outcome, "it failed, or was never sent, and its worker has stopped", left=True)

    def _unsent(self, rhash: str, why: str) -> None:
        """Record that a payment which is ours is not sent now: unless an earlier try of its hash can still settle."""
        outcome = self._payments.outcome(rhash)
        if outcome.status != "pending":
            self._end(rhash, outcome, why)

    def _send(self, client: str, payreq: str, rhash: str, payee: str, maxfee: int) -> None:
        """Have a payment carried out on a thread of its own: a payee may hold it for hours."""
        with self._lock:
            accounts = [each for each in self._sending.values() if each.startswith("user/")]
            full = len(self._sending) >= AT_ONCE
            if client.startswith("user/"):
                full = full or len(accounts) >= OF_ACCOUNTS or accounts.count(client) >= OF_ONE
            if not full:
                self._sending[rhash] = client
        if full:
            self._unsent(rhash, "too many payments are under way; it was not sent")
            return
        threading.Thread(target=self._carry_out, args=(payreq, rhash, payee, maxfee), daemon=True).start()

    def _mine(self, rhash: str) -> bool:
        """Whether a payment is still this worker's to send; asked before each try."""
        own = sa.update(PAYMENT).where(PAYMENT.c.rhash == rhash, PAYMENT.c.worker == self._me)
        with self._database.writing() as db:
            lease = int(time.time()) + LEASE_S
            return only(db.execute(own.where(PAYMENT.c.status == "pending").values(lease_until=lease)))

    def _begin(
        self,
        client: str,
        payreq: str,
        rhash: str,
        amount: int,
        fee: int,
        held: Callable[[sa.Connection, PaymentRow], None] | None,
    ) -> PaymentRow:
        """Record a payment as pending; "new" or "failed" in what is returned means that it is ours to send."""
        now = int(time.time())
        fresh: PaymentRow = {
            "rhash": rhash,
            "client": client,
            "payreq": payreq,
            "msatoshi": amount,
            "maxfee": fee_cap(amount),
            "fee": fee,
            "worker": self._me,
            "lease_until": now + LEASE_S,
            "status": "pending",
            "sent": 0,
            "why": "",
            "created_at": now,
            "done_at": 0,
        }
        try:
            with self._database.writing() as db:
                db.execute(sa.insert(PAYMENT), fresh)
                if held is not None:
                    held(db, fresh)
            return {**fresh, "status": "new"}
        except JournalTrouble as error:
            if not already_there(error):
                raise
        again = sa.update(PAYMENT).where(PAYMENT.c.rhash == rhash, PAYMENT.c.status == "failed")
        with self._database.writing() as db:
            mine = only(db.execute(again.values(fresh)))
            if mine and held is not None:
                held(db, fresh)
        found = self.find(rhash) or fresh
        if found["payreq"].lower() != payreq.lower():
            raise WrongState("payreq: another invoice of the same payment hash is being paid, or was paid")
        return {**found, "status": "failed"} if mine else found

    def _carry_out(self, payreq: str, rhash: str, payee: str, maxfee: int) -> None:
        try:
            _, why = self._payments.pay(
                payee, payreq, rhash, maxfee, MAXDELAY, again=False, may=lambda: self._mine(rhash)
            )
            self._end(rhash, landed(self._payments.outcome, rhash), why)
        except Exception as error:  # it stays pending: once its lease is over, one of us learns what became of it
            log.warning("payment %s: %s", rhash[:16], error)
        finally:
            with self._lock:
                self._sending.pop(rhash, None)

    async def ended(self, row: PaymentRow) -> PaymentRow:
        """Waits up to WAIT_S (5 s) for the end of a payment, and returns it as it stands then.

        Only WAITING of a client wait at once, and no thread does: whoever asks again and again holds up nobody."""
        rhash, client, end = row["rhash"], row["client"], time.monotonic() + WAIT_S
        if row["status"] != "pending" or self._waiting[client] >= WAITING:
            return row
        told, loop = asyncio.Event(), asyncio.get_running_loop()
        hear = partial(loop.call_soon_threadsafe, told.set)
        self._waiting[client] += 1
        self._hearers.setdefault(rhash, []).append(hear)
        try:
            while True:
                told.clear()
                found = await run_in_threadpool(self.find, rhash)
                row = found if found is not None else row
                left_s = end - time.monotonic()
                if row["status"] != "pending" or left_s <= 0:
                    return row
                with suppress(TimeoutError):  # another worker may be the one that learns of it
                    async with asyncio.timeout(min(left_s, LOOK_AGAIN_S)):
                        await told.wait()
        finally:
            self._waiting[client] -= 1
            self._hearers[rhash].remove(hear)
            if not self._hearers[rhash]:
                del self._hearers[rhash]
            self._waiting += Counter()  # without those that are 0

    def _end(self, rhash: str, outcome: Outcome, why: str, left: bool = False) -> None:
        """Records how a payment ended, and calls the watchers in the same transaction.

        A failure is recorded only by the worker that sends the payment, or by others once its lease is over.
        With `left`, the worker itself must wait for the end of the lease, too. A payment that is recorded as
        complete or alarm never changes again; one that is recorded as failed can still become either."""
        with self._database.writing() as db:
            was = first(db, sa.select(PAYMENT).where(PAYMENT.c.rhash == rhash).with_for_update(), PaymentRow)
            if was is None or was["status"] in (COMPLETE, ALARM):
                return
            status, odd = _judged(was, outcome)
            held = 0 <= was["lease_until"] - time.time() <= LEASE_MOST_S and (left or was["worker"] != self._me)
            if status == was["status"] or (status == FAILED and held):
                return
            values = {"status": status, "sent": outcome.sent_msat, "why": odd or why, "done_at": int(time.time())}
            db.execute(sa.update(PAYMENT).where(PAYMENT.c.rhash == rhash).values(values))
            for watch in self.watchers:
                watch(db, was, status, outcome.sent_msat)
        if status == ALARM:
            log.error("payment %s needs a person: %s", rhash, odd)
        for hear in tuple(self._hearers.get(rhash, ())):
            with suppress(RuntimeError):  # its loop has ended
                hear()


def _judged(row: PaymentRow, outcome: Outcome) -> tuple[str, str]:
    """Return the status that an outcome gives a payment, and for an alarm what is wrong, in words."""
    if outcome.status != "complete":
        return FAILED, ""
    asked, sent, arrived = int(row["msatoshi"]), outcome.sent_msat, outcome.amount_msat
    if arrived == asked and asked <= sent <= asked + int(row["maxfee"]):
        return COMPLETE, ""
    bound = f"asked for were {asked} msat, with at most {row['maxfee']} msat of routing fees"
    return ALARM, f"{sent} msat left the node and {arrived} msat arrived; {bound}"
