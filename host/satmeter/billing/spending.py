"""Payments that clients have the node make: recorded before they are sent, and known once, whatever falls over."""

import logging
import threading
import time
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from ..cln.node import Node
from ..cln.payments import Outcome, Payments
from ..core.errors import BadParam, JournalTrouble, OverCap
from .database import Database, only
from .tables import PAYMENT

log = logging.getLogger("satmeter.billing")

MAXDELAY = 500
WAIT_S = 60
Row = dict[str, Any]


class Spending:
    """Of one node. Every payment stands in the database under its hash: pending, complete or failed."""

    def __init__(self, database: Database, node: Node, cap_msat: int):
        self._database, self._node, self._cap = database, node, cap_msat
        self._payments = Payments(node)

    def pay(self, client: str, payreq: str) -> Row:
        """Pay an invoice and return the payment when its outcome is known. BadParam, OverCap where it must not be."""
        decoded = self._node.decode(payreq)
        if decoded.get("type") != "bolt11 invoice" or not decoded.get("valid"):
            raise BadParam("payreq: is no BOLT 11 invoice", param="payreq")
        amount = int(decoded.get("amount_msat", 0))
        if not amount:
            raise BadParam("payreq: has no amount; what is to be paid must stand in it", param="payreq")
        if amount > self._cap:
            raise OverCap(f"payreq: is of {amount} msat, over the cap of {self._cap} msat (payments.cap_msat)")
        rhash = str(decoded["payment_hash"])
        begun = self._begin(client, payreq, rhash, amount)
        if begun["status"] in ("new", "failed"):
            if int(decoded["created_at"]) + int(decoded.get("expiry", 3600)) < time.time():
                self._end(rhash, Outcome("failed"), "the invoice has expired")
            else:
                self._carry_out(payreq, rhash, str(decoded["payee"]), int(begun["maxfee"]))
        else:
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
            threading.Thread(target=self._carry_out, args=("", row["rhash"], "", 0), daemon=True).start()

    def _begin(self, client: str, payreq: str, rhash: str, amount: int) -> Row:
        """Record a payment as pending; "new" or "failed" in what is returned means that it is ours to send."""
        now = int(time.time())
        row = {
            "rhash": rhash,
            "client": client,
            "payreq": payreq,
            "msatoshi": amount,
            "maxfee": max(1000, amount // 100),
        }
        fresh = {**row, "status": "pending", "sent": 0, "why": "", "created_at": now, "done_at": 0}
        try:
            with self._database.writing() as db:
                db.execute(sa.insert(PAYMENT), fresh)
            return {**fresh, "status": "new"}
        except JournalTrouble as e:
            if not isinstance(e.__cause__, IntegrityError):
                raise
        again = sa.update(PAYMENT).where(PAYMENT.c.rhash == rhash, PAYMENT.c.status == "failed")
        with self._database.writing() as db:
            mine = only(db.execute(again.values(status="pending", client=client, created_at=now, why="")))
        found = self.find(rhash) or fresh
        return {**found, "status": "failed"} if mine else found

    def _carry_out(self, payreq: str, rhash: str, payee: str, maxfee: int) -> None:
        try:
            outcome, why = self._payments.pay(payee, payreq, rhash, maxfee, MAXDELAY)
        except Exception as e:  # it stays pending: whoever asks again, or the next start, learns what became of it
            log.warning("payment %s: %s", rhash[:16], e)
            raise
        self._end(rhash, outcome, why)

    def _wait(self, rhash: str) -> None:
        """Somebody else pays it: wait a while for how it ends."""
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end and (self.find(rhash) or {}).get("status") == "pending":
            time.sleep(0.2)

    def _end(self, rhash: str, outcome: Outcome, why: str) -> None:
        status = "complete" if outcome.status == "complete" else "failed"
        values = {"status": status, "sent": outcome.sent_msat, "why": why, "done_at": int(time.time())}
        # That it is complete stands whatever another worker, who only looked, has taken it for meanwhile.
        mine = sa.update(PAYMENT).where(PAYMENT.c.rhash == rhash, PAYMENT.c.status != "complete")
        with self._database.writing() as db:
            db.execute(mine.values(values))
