"""Follows the node's payments: each is counted once, whoever of several workers sees it first."""

import logging
import threading
from collections.abc import Callable

from ..core.plain import JsonObject
from ..node.rpc import Made, Node
from .invoices import LABEL, OPERATOR, Invoices

log = logging.getLogger("satmeter.billing")

WAIT_S = 30
RETRY_S = 1.0


class Follower:
    """Two threads, from start() until the process ends: one follows payments as they come, the other looks once at what
    was open when nobody looked, so that a start does not wait for it. `seen` is called for each payment that this
    worker saw, whoever counted it."""

    def __init__(self, node: Node, invoices: Invoices, seen: Callable[[JsonObject], None]):
        self._node, self._invoices, self._seen = node, invoices, seen
        self._stopping = threading.Event()
        self.caught_up = threading.Event()
        """Set once there was no payment left that was made while nobody looked."""
        self._index = 0
        self._id = ""
        self._thread = threading.Thread(target=self._run, name="billing-paid", daemon=True)

    def begin(self) -> None:
        """Begin at the newest payment in a fresh database."""
        self._id = str(self._node.info()["id"])
        known = self._invoices.index()
        if known is None:
            known = self._node.newest_index()
            self._invoices.begin_at(known)
        self._index = known

    def start(self) -> None:
        """begin(), and follow from there."""
        self.begin()
        self._thread.start()
        threading.Thread(target=self._look_back, name="billing-open", daemon=True).start()

    def _look_back(self) -> None:
        """Look up by label what was open when nobody looked."""
        try:
            for row in self._invoices.open():
                if self._stopping.is_set():
                    return
                if self.catch_up(row):
                    self._tell(row["id"])
        except Exception as e:
            log.warning("looking at open invoices: %s", e)

    def _tell(self, id: str) -> None:
        row = self._invoices.find(id)
        if row is not None:
            self._seen(row)

    def catch_up(self, row: JsonObject) -> bool:
        """Look at an invoice that somebody says is paid, before its turn comes; whether it is. Who has paid knows it a
        moment before waitanyinvoice tells us, and under load that moment is long."""
        if row["pay_index"] is not None:
            return True
        label = LABEL + row["id"]
        found = self._node.find_invoice(label)
        if found is None or found.status != "paid":
            return False
        self._count(label, found, in_turn=False)
        return True

    def stop(self) -> None:
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                found = self._node.next_paid(self._index, WAIT_S)
                if found is None:
                    self.caught_up.set()
                    continue
                label, made = found
                self._count(label, made)
                self._index = made.index
                if label.startswith(LABEL):
                    self._tell(label.removeprefix(LABEL))
            except Exception as e:
                log.warning("following payments: %s", e)
                self._stopping.wait(RETRY_S)

    def _count(self, label: str, made: Made, in_turn: bool = True) -> None:
        payer = OPERATOR if label.startswith(LABEL) and self._paid_by_node(made.hash) else None
        self._invoices.paid(label, made, in_turn, payer)

    def _paid_by_node(self, payment_hash: str) -> bool:
        """Whether the node paid its own invoice: then nothing came in, whatever the invoice says was received. One that
        it paid to another node is no such payment, even where that node went on to pay us under the same hash."""
        paid = self._node.call("listsendpays", payment_hash=payment_hash)["payments"]
        return any(p["status"] != "failed" and p.get("destination") == self._id for p in paid)
