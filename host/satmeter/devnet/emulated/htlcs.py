"""HTLCs that arrive at an emulated node, and the htlc_accepted and invoice_payment hooks.

An HTLC for an invoice of this node joins the set of its payment. The invoice_payment hooks are asked
once the set has all parts of the payment.

The node has lightningd's fault (lightning#7075): one more HTLC for a set whose hooks are being asked
aborts it. HTLCs come again after a start, so the node aborts again at each start until the invoice has
expired."""

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ...core.plain import Plain
from .errors import PAY_FAILED_ON_ROUTE, RpcFault, rejected
from .invoices import Invoice

if TYPE_CHECKING:
    from .node import Node

SET_S = 70
"""After so long without the rest the parts of a payment are given back."""
MARGIN = 18
"""Blocks until an HTLC for this node expires; nothing here depends on more than that it is enough."""
UNKNOWN_DETAILS = "400f"


@dataclass(frozen=True)
class Htlc:
    """One part of a payment, for the node that is paid: amounts in msat, `total` of all parts."""

    hash: str
    amount: int
    total: int
    secret: str | None
    number: int = 0


@dataclass
class Held:
    """A part that waits for emulate-part: to be let through, settled with a preimage, or failed."""

    htlc: Htlc
    answer: dict[str, str] = field(default_factory=dict)
    answered: threading.Event = field(default_factory=threading.Event)


class HtlcSet:
    """The HTLCs of one payment that have arrived; `total` and `so_far` are in msat.

    Once `ended` is set, they are settled if there is a `preimage`, and failed if there is a `fault`. If
    there is neither, the node went down, and they come again after its start."""

    def __init__(self, total: int):
        self.total, self.so_far = total, 0
        self.preimage = ""
        self.fault: RpcFault | None = None
        self.ended = threading.Event()

    @property
    def covered(self) -> bool:
        """Whether the HTLCs so far reach the total of the payment."""
        return self.so_far >= self.total


class Htlcs:
    """The HTLCs of one node. Every one waits on a thread of its own, over restarts of the node, too."""

    def __init__(self, node: "Node"):
        self._node = node
        self._sets: dict[str, HtlcSet] = {}
        self._lock = threading.Lock()
        self.hold = 0
        self.held: list[Held] = []

    def arrive(self, htlc: Htlc, scid: str, peer: str) -> str:
        """Return the preimage once the HTLC is settled; RpcFault where it is given back."""
        held = self._held(htlc)
        while True:
            self._node.up.wait()
            epoch = self._node.epoch
            answer = held.answer if held else self.ask(htlc, scid, peer)
            if self._node.epoch != epoch:
                continue
            if answer["result"] == "resolve":
                return answer["payment_key"]
            if answer["result"] == "fail":
                raise _failed(answer["failure_message"])
            preimage = self._join(htlc, epoch)
            if preimage:
                return preimage

    def join(self, htlc: Htlc) -> str:
        """Return the preimage of a payment of this node to itself, once it is settled."""
        while True:
            self._node.up.wait()
            preimage = self._join(htlc, self._node.epoch)
            if preimage:
                return preimage

    def _held(self, htlc: Htlc) -> Held | None:
        with self._lock:
            if not self.hold:
                return None
            self.hold -= 1
            held = Held(htlc)
            self.held.append(held)
        held.answered.wait()
        return held if held.answer["result"] != "continue" else None

    def ask(self, htlc: Htlc, scid: str, peer: str, onward: str = "") -> dict[str, str]:
        """Ask the htlc_accepted hooks about an HTLC; `onward`: the channel over which it is to be forwarded."""
        height = self._node.network.chain.height
        onion: Plain = {"type": "tlv", "forward_msat": htlc.amount, "outgoing_cltv_value": height + MARGIN}
        if onward:
            onion["short_channel_id"] = onward
        elif htlc.secret is not None:
            onion |= {"total_msat": htlc.total, "payment_secret": htlc.secret}
        carried = {
            "short_channel_id": scid,
            "id": htlc.number,
            "amount_msat": htlc.amount,
            "cltv_expiry": height + MARGIN,
            "cltv_expiry_relative": MARGIN,
            "payment_hash": htlc.hash,
        }
        onion |= {"payload": "", "next_onion": "", "shared_secret": ""}
        results = ("continue", "fail", "resolve")
        return self._node.hooks("htlc_accepted", {"peer_id": peer, "onion": onion, "htlc": carried}, results)

    def _join(self, htlc: Htlc, epoch: int) -> str:
        """Add an HTLC to its set and wait for the end of that; "" where the node went down meanwhile."""
        with self._lock:
            if self._node.epoch != epoch:
                return ""
            invoice = self._payable(htlc)
            found = self._sets.setdefault(htlc.hash, HtlcSet(htlc.total))
            last_straw = found.covered
            if not last_straw and found.total == htlc.total:
                found.so_far += htlc.amount
        if found.total != htlc.total:
            self._end(htlc.hash, found, fault=RpcFault(PAY_FAILED_ON_ROUTE, "WIRE_FINAL_INCORRECT_HTLC_AMOUNT"))
        elif last_straw:
            self._node.log("BROKEN lightningd: FATAL SIGNAL 6: one more HTLC of a set that invoice_payment is asked of")
            self._node.kill()
            return ""
        elif found.covered:
            self._decide(invoice, htlc.hash, found, epoch)
        elif not found.ended.wait(SET_S) and not found.covered:
            self._end(htlc.hash, found, fault=RpcFault(PAY_FAILED_ON_ROUTE, "WIRE_MPP_TIMEOUT"))
        found.ended.wait()
        if found.fault is not None:
            raise found.fault
        return found.preimage

    def _payable(self, htlc: Htlc) -> Invoice:
        found = self._node.invoices.find(payment_hash=htlc.hash)
        if not found or found[0].status != "unpaid" or htlc.secret != found[0].secret:
            raise rejected()
        (invoice,) = found
        if invoice.amount is not None and not invoice.amount <= htlc.total <= 2 * invoice.amount:
            raise rejected()
        return invoice

    def _decide(self, invoice: Invoice, payment_hash: str, found: HtlcSet, epoch: int) -> None:
        payment = {"label": invoice.label, "preimage": invoice.preimage, "msat": found.so_far}
        verdict = self._node.hooks("invoice_payment", {"payment": payment}, ("continue", "reject"))
        if self._node.epoch != epoch:
            return  # it comes anew
        if verdict["result"] != "continue":
            self._end(payment_hash, found, fault=rejected())
            return
        try:
            self._node.invoices.settle(invoice, found.so_far)
        except RpcFault as error:
            self._end(payment_hash, found, fault=error)
            return
        self._end(payment_hash, found, preimage=invoice.preimage)
        self._node.notify("invoice_payment", payment)

    def _end(self, payment_hash: str, found: HtlcSet, preimage: str = "", fault: RpcFault | None = None) -> None:
        with self._lock:
            if self._sets.get(payment_hash) is found:
                del self._sets[payment_hash]
            if not found.ended.is_set():
                found.preimage, found.fault = preimage, fault
                found.ended.set()

    def down(self) -> None:
        """The node goes down, and forgets its sets: their HTLCs come anew when it is up again."""
        with self._lock:
            sets, self._sets = list(self._sets.values()), {}
        for each in sets:
            each.ended.set()


def _failed(message: str) -> RpcFault:
    """Return what the payer hears of a failure message that a hook gave."""
    return rejected() if message.startswith(UNKNOWN_DETAILS) else RpcFault(PAY_FAILED_ON_ROUTE, f"failed: {message}")
