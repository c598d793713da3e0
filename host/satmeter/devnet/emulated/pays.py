"""What an emulated node has paid, as listpays and listsendpays tell it; of each hash the newest try."""

import threading
import time
from dataclasses import dataclass
from typing import Any

from .errors import PAY_ALREADY_PAID, PAY_IN_PROGRESS, PAY_NEVER_SENT, PAY_UNSPECIFIED, RpcFault


@dataclass
class Pay:
    hash: str
    payee: str
    amount: int
    sent: int
    bolt11: str | None
    created_at: int
    status: str = "pending"
    preimage: str = ""
    fault: RpcFault | None = None


class Pays:
    """By hash, the newest try last."""

    def __init__(self) -> None:
        self._by_hash: dict[str, Pay] = {}
        self._changed = threading.Condition()

    def may_start(self, payment_hash: str) -> None:
        with self._changed:
            found = self._by_hash.get(payment_hash)
            if found is not None and found.status == "pending":
                raise RpcFault(PAY_IN_PROGRESS, "Payment already in progress")
            if found is not None and found.status == "complete":
                raise RpcFault(PAY_ALREADY_PAID, "Already paid this invoice successfully")

    def begin(self, payment_hash: str, payee: str, amount: int, sent: int, bolt11: str | None) -> None:
        with self._changed:
            self._by_hash[payment_hash] = Pay(payment_hash, payee, amount, sent, bolt11, int(time.time()))

    def end(self, payment_hash: str, preimage: str | None, fault: RpcFault | None = None) -> None:
        with self._changed:
            found = self._by_hash[payment_hash]
            found.fault = fault
            found.status, found.preimage = ("complete", preimage) if preimage else ("failed", "")
            self._changed.notify_all()

    def wait(self, payment_hash: str, timeout_s: float | None) -> dict[str, Any]:
        with self._changed:
            found = self._by_hash.get(payment_hash)
            if found is None:
                raise RpcFault(PAY_NEVER_SENT, "Never attempted payment")
            if not self._changed.wait_for(lambda: found.status != "pending", timeout_s):
                raise RpcFault(200, "Timed out while waiting")
            if found.status == "failed":
                raise found.fault or RpcFault(PAY_UNSPECIFIED, "failed: the payment was given back")
            return self._sent(found)

    def sent(self, payment_hash: str) -> dict[str, Any]:
        """Return a try as sendpay and waitsendpay tell it."""
        with self._changed:
            return self._sent(self._by_hash[payment_hash])

    def tries(self, bolt11: str | None, payment_hash: str | None) -> list[dict[str, Any]]:
        with self._changed:
            found = (p for p in self._by_hash.values() if payment_hash in (None, p.hash) and bolt11 in (None, p.bolt11))
            return [self._sent(p) for p in found]

    def clean(self, before: int) -> int:
        """Forget the complete payments that were begun before a time (s), as autoclean does; return how many."""
        with self._changed:
            old = [h for h, p in self._by_hash.items() if p.status == "complete" and p.created_at <= before]
            for payment_hash in old:
                del self._by_hash[payment_hash]
            return len(old)

    def rows(self, bolt11: str | None, payment_hash: str | None) -> list[dict[str, Any]]:
        with self._changed:
            return [
                self._row(p)
                for p in self._by_hash.values()
                if payment_hash in (None, p.hash) and bolt11 in (None, p.bolt11)
            ]

    @staticmethod
    def _sent(p: Pay) -> dict[str, Any]:
        row: dict[str, Any] = {
            "id": 1,
            "groupid": 1,
            "payment_hash": p.hash,
            "destination": p.payee,
            "amount_msat": p.amount,
            "amount_sent_msat": p.sent,
            "created_at": p.created_at,
            "status": p.status,
        }
        if p.bolt11 is not None:
            row["bolt11"] = p.bolt11
        if p.status == "complete":
            row |= {"payment_preimage": p.preimage, "completed_at": p.created_at}
        return row

    def _row(self, p: Pay) -> dict[str, Any]:
        row: dict[str, Any] = {
            "payment_hash": p.hash,
            "destination": p.payee,
            "status": p.status,
            "amount_sent_msat": p.sent if p.status != "failed" else 0,
            "created_at": p.created_at,
        }
        if p.bolt11 is not None:
            row["bolt11"] = p.bolt11
        if p.status == "complete":
            row |= {"amount_msat": p.amount, "preimage": p.preimage, "completed_at": p.created_at}
        return row
