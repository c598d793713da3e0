"""What an emulated node has paid, as listpays and listsendpays tell it: of each hash every part of every try."""

import itertools
import secrets
import threading
import time
from dataclasses import dataclass

from ...core.plain import Plain
from .errors import PAY_HASH_USED, PAY_NEVER_SENT, PAY_SENT_ALREADY, PAY_UNSPECIFIED, RpcFault


@dataclass
class Part:
    """One part: `part` 0 is sendpay's only one, xpay counts its own from 1. Amounts in msat."""

    hash: str
    payee: str
    amount: int
    sent: int
    bolt11: str | None
    group: int
    part: int
    number: int
    created_at: int
    status: str = "pending"
    preimage: str = ""
    fault: RpcFault | None = None


class Pays:
    """By hash, the newest part last."""

    def __init__(self) -> None:
        self._by_hash: dict[str, list[Part]] = {}
        self._numbers = itertools.count(1)
        self._changed = threading.Condition()

    def group(self) -> int:
        """Return a number for the parts of one xpay."""
        return secrets.randbits(63)

    def begin(
        self, payment_hash: str, payee: str, amount: int, sent: int, bolt11: str | None, group: int = 0, part: int = 0
    ) -> Part:
        """Begins a part and returns it, or returns the one of the same number that is complete.

        Args:
            payment_hash: Of the invoice, in hex.
            payee: Id of the node that is paid.
            amount: What reaches the payee, in msat.
            sent: What leaves this node, fees included, in msat.
            bolt11: The invoice, if it is known.
            group: Number of the try that the part belongs to; 0: the next free one.
            part: Number of the part in its try; 0 is the only part of a sendpay.

        Raises:
            RpcFault: 200 if another try of the hash is pending; 201 if the hash has been paid by other
                parts, or this part with another amount.
        """
        with self._changed:
            parts = self._by_hash.setdefault(payment_hash, [])
            for known in parts:
                if known.status == "complete" and known.part == part:
                    if known.amount == amount:
                        return known
                    said = f"Already succeeded with amount {known.amount}msat (not {amount}msat)"
                    raise RpcFault(PAY_HASH_USED, said)
                if known.status == "pending" and known.group != group:
                    said = f"Payment with groupid={known.group} still in progress, cannot retry before that completes."
                    raise RpcFault(PAY_SENT_ALREADY, said)
            if any(known.status == "complete" for known in parts):
                raise RpcFault(PAY_HASH_USED, "Already succeeded other parts")
            group = group or len({known.group for known in parts}) + 1
            now = int(time.time())
            begun = Part(payment_hash, payee, amount, sent, bolt11, group, part, next(self._numbers), now)
            parts.append(begun)
            return begun

    def end(self, part: Part, preimage: str | None, fault: RpcFault | None = None) -> None:
        """Ends a part: complete if there is a preimage, else failed with `fault`."""
        with self._changed:
            part.fault = fault
            part.status, part.preimage = ("complete", preimage) if preimage else ("failed", "")
            self._changed.notify_all()

    def drop(self, part: Part) -> None:
        """Forget a part that was never sent."""
        with self._changed:
            self._by_hash[part.hash].remove(part)

    def wait(self, payment_hash: str, timeout_s: float | None) -> Plain:
        """Wait for the newest try of sendpay, and return it."""
        with self._changed:
            found = next((each for each in reversed(self._by_hash.get(payment_hash, ())) if not each.part), None)
            if found is None:
                raise RpcFault(PAY_NEVER_SENT, "Never attempted payment")
            if not self._changed.wait_for(lambda: found.status != "pending", timeout_s):
                raise RpcFault(PAY_SENT_ALREADY, "Timed out while waiting")
            if found.status == "failed":
                raise found.fault or RpcFault(PAY_UNSPECIFIED, "failed: the payment was given back")
            return self.told(found)

    def _found(self, bolt11: str | None, payment_hash: str | None) -> list[list[Part]]:
        found = [parts for known, parts in self._by_hash.items() if payment_hash in (None, known) and parts]
        return [parts for parts in found if bolt11 in (None, parts[-1].bolt11)]

    def tries(self, bolt11: str | None, payment_hash: str | None) -> list[Plain]:
        """Returns the rows of listsendpays, one for each part; a filter of None takes all."""
        with self._changed:
            return [self.told(part) for parts in self._found(bolt11, payment_hash) for part in parts]

    def rows(self, bolt11: str | None, payment_hash: str | None) -> list[Plain]:
        """Returns the rows of listpays, one for each payment hash; a filter of None takes all."""
        with self._changed:
            return [_row(parts) for parts in self._found(bolt11, payment_hash)]

    def clean(self, before: int) -> int:
        """Forget the complete payments that were begun before a time (s), as autoclean does; return how many."""
        with self._changed:
            old = [
                name
                for name, parts in self._by_hash.items()
                if parts and all(part.status == "complete" and part.created_at <= before for part in parts)
            ]
            for payment_hash in old:
                del self._by_hash[payment_hash]
            return len(old)

    @staticmethod
    def told(part: Part) -> Plain:
        """Return a part as sendpay, waitsendpay and listsendpays tell it."""
        row: Plain = {
            "id": part.number,
            "groupid": part.group,
            "payment_hash": part.hash,
            "destination": part.payee,
            "amount_msat": part.amount,
            "amount_sent_msat": part.sent,
            "created_at": part.created_at,
            "status": part.status,
        }
        if part.part:
            row["partid"] = part.part
        if part.bolt11 is not None:
            row[_named(part.bolt11)] = part.bolt11
        if part.status == "complete":
            row |= {"payment_preimage": part.preimage, "completed_at": part.created_at}
        return row


def _named(invoice: str) -> str:
    return "bolt12" if invoice.startswith("lni1") else "bolt11"


def _row(parts: list[Part]) -> Plain:
    """Return a payment as listpays tells it: complete with its first part, with the sums of those that still can be."""
    newest = parts[-1]
    live = [part for part in parts if part.status != "failed"]
    done = next((each for each in live if each.status == "complete"), None)
    row: Plain = {
        "payment_hash": newest.hash,
        "destination": newest.payee,
        "status": "complete" if done else "pending" if live else "failed",
        "amount_sent_msat": sum(one.sent for one in live),
        "created_at": parts[0].created_at,
    }
    if len(live) > 1:
        row["number_of_parts"] = len(live)
    if newest.bolt11 is not None:
        row[_named(newest.bolt11)] = newest.bolt11
    if done is not None:
        row |= {
            "amount_msat": sum(entry.amount for entry in live),
            "preimage": done.preimage,
            "completed_at": done.created_at,
        }
    return row
