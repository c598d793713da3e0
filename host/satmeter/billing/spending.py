"""Payments that clients have the node make: recorded before they are sent, and known once, whatever falls over."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from ..cln.node import Node
from ..cln.payments import Outcome, Payments
from ..core.errors import BadParam, JournalTrouble, NodeTrouble, OverCap
from .database import Database, only
from .tables import PAYMENT

log = logging.getLogger("satmeter.billing")

MAXDELAY = 500
WAIT_S = 5
ABOUT_S = 120
AT_ONCE = 100
Row = dict[str, Any]


def maxfee_of(amount: int) -> int:
    """Return the most that routing a payment may cost: 1 %, at least 1 sat."""
    return max(1000, amount // 100)


class Spending:
    """Of one node. Every payment stands in the database under its hash: pending, complete or failed."""

    def __init__(self, database: Database, node: Node, cap_msat: int):
        self._database, self._node, self._cap = database, node, cap_msat
        self._payments = Payments(node)
        self.watchers: list[Callable[[sa.Connection, Row, str, int], None]] = []
        """Called in the transaction in which a payment ends otherwise than it stood: with its row as it was, its status
        from now on, and what was sent."""
        self._sending: set[str] = set()
        self._lock = threading.Lock()

    def decoded(self, payreq: str) -> dict[str, Any]:
        """Return what an invoice says; BadParam for none, or one without an amount."""
        decoded = self._node.decode(payreq)
        if decoded.get("type") != "bolt11 invoice" or not decoded.get("valid"):
            raise BadParam("payreq: is no BOLT 11 invoice", param="payreq")
        if not int(decoded.get("amount_msat", 0)):
            raise BadParam("payreq: has no amount; what is to be paid must stand in it", param="payreq")
        return decoded

    def pay(self, client: str, payreq: str) -> Row:
        """Pay an invoice and return the payment when its outcome is known. BadParam, OverCap where it must not be."""
        decoded = self.decoded(payreq)
        amount = int(decoded["amount_msat"])
        if amount > self._cap:
            raise OverCap(f"payreq: is of {amount} msat, over the cap of {self._cap} msat (payment_cap_msat)")
        return self.send(client, payreq, decoded)

    def send(
        self,
        client: str,
        payreq: str,
        decoded: dict[str, Any],
        fee: int = 0,
        held: Callable[[sa.Connection, Row], None] | None = None,
    ) -> Row:
        """Pay a decoded invoice. `held` is called in the transaction that records the payment as ours to send, and can
        refuse by raising; the watchers hear of its end."""
        amount, rhash = int(decoded["amount_msat"]), str(decoded["payment_hash"])
        begun = self._begin(client, payreq, rhash, amount, fee, held)
        if begun["status"] in ("new", "failed"):
            if int(decoded["created_at"]) + int(decoded.get("expiry", 3600)) < time.time():
                self._end(rhash, Outcome("failed"), "the invoice has expired")
            else:
                self._send(payreq, rhash, str(decoded["payee"]), int(begun["maxfee"]))
        elif begun["status"] == "pending" and rhash not in self._sending:
            self._learn(rhash, int(begun["created_at"]))
        self._wait(rhash)
        return self.find(rhash) or begun

    def find(self, rhash: str) -> Row | None:
        with self._database.reading() as db:
            row = db.execute(sa.select(PAYMENT).where(PAYMENT.c.rhash == rhash)).first()
        return dict(row._mapping) if row is not None else None

    def recover(self) -> None:
        """At the start: learn what became of payments that were under way when we died."""
        with self._database.reading() as db:
            rows = [dict(r._mapping) for r in db.execute(sa.select(PAYMENT).where(PAYMENT.c.status == "pending"))]
        for row in rows:
            try:
                self._learn(row["rhash"], int(row["created_at"]))
            except NodeTrouble as e:  # it stays pending; whoever asks for it has it looked up again
                log.warning("payment %s: %s", row["rhash"][:16], e)

    def _learn(self, rhash: str, created_at: int) -> None:
        """Record what the node says of a payment that this worker does not send itself. One that the node does not know
        was not sent, unless another worker is only about to: so it gets time for that."""
        outcome = self._payments.outcome(rhash)
        if outcome.status == "complete":
            self._end(rhash, outcome, "")
        elif outcome.status != "pending" and time.time() > created_at + ABOUT_S:
            self._end(rhash, outcome, "it was not sent, or failed, and who sent it is gone")

    def _send(self, payreq: str, rhash: str, payee: str, maxfee: int) -> None:
        """Have a payment carried out on a thread of its own: a payee may hold it for hours."""
        with self._lock:
            if len(self._sending) >= AT_ONCE:
                self._end(rhash, Outcome("failed"), "too many payments are under way; it was not sent")
                return
            self._sending.add(rhash)
        threading.Thread(target=self._carry_out, args=(payreq, rhash, payee, maxfee), daemon=True).start()

    def _begin(
        self,
        client: str,
        payreq: str,
        rhash: str,
        amount: int,
        fee: int,
        held: Callable[[sa.Connection, Row], None] | None,
    ) -> Row:
        """Record a payment as pending; "new" or "failed" in what is returned means that it is ours to send."""
        now = int(time.time())
        row = {
            "rhash": rhash,
            "client": client,
            "payreq": payreq,
            "msatoshi": amount,
            "maxfee": maxfee_of(amount),
            "fee": fee,
        }
        fresh = {**row, "status": "pending", "sent": 0, "why": "", "created_at": now, "done_at": 0}
        try:
            with self._database.writing() as db:
                db.execute(sa.insert(PAYMENT), fresh)
                if held is not None:
                    held(db, fresh)
            return {**fresh, "status": "new"}
        except JournalTrouble as e:
            if not isinstance(e.__cause__, IntegrityError):
                raise
        again = sa.update(PAYMENT).where(PAYMENT.c.rhash == rhash, PAYMENT.c.status == "failed")
        with self._database.writing() as db:
            mine = only(db.execute(again.values(fresh)))
            if mine and held is not None:
                held(db, fresh)
        found = self.find(rhash) or fresh
        return {**found, "status": "failed"} if mine else found

    def _carry_out(self, payreq: str, rhash: str, payee: str, maxfee: int) -> None:
        try:
            outcome, why = self._payments.pay(payee, payreq, rhash, maxfee, MAXDELAY)
            self._end(rhash, outcome, why)
        except Exception as e:  # it stays pending: whoever asks again, or the next start, learns what became of it
            log.warning("payment %s: %s", rhash[:16], e)
        finally:
            with self._lock:
                self._sending.discard(rhash)

    def _wait(self, rhash: str) -> None:
        """Wait a little for how it ends; 202 says that it is not known yet."""
        end, pause = time.monotonic() + WAIT_S, 0.01
        while time.monotonic() < end and (self.find(rhash) or {}).get("status") == "pending":
            time.sleep(pause)
            pause = min(0.2, pause * 2)

    def _end(self, rhash: str, outcome: Outcome, why: str) -> None:
        status = "complete" if outcome.status == "complete" else "failed"
        values = {"status": status, "sent": outcome.sent_msat, "why": why, "done_at": int(time.time())}
        # That it is complete stands whatever another worker, who only looked, has taken it for meanwhile.
        with self._database.writing() as db:
            was = db.execute(sa.select(PAYMENT).where(PAYMENT.c.rhash == rhash).with_for_update()).first()
            if was is None or was.status in ("complete", status):
                return
            db.execute(sa.update(PAYMENT).where(PAYMENT.c.rhash == rhash).values(values))
            for watch in self.watchers:
                watch(db, dict(was._mapping), status, outcome.sent_msat)
