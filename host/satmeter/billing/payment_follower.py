"""Follows the node's payments: each is counted once, whoever of several workers sees it first."""

import logging
import threading
from collections.abc import Callable

from ..node.rpc import Made, Node
from .invoices import LABEL, OPERATOR, Invoices
from .rows import InvoiceRow

log = logging.getLogger("satmeter.billing")

WAIT_S = 30
RETRY_S = 1.0


class Follower:
    """Two threads, from start() to stop(), that count the payments of the service's invoices.

    One follows payments as they come. The other looks once at the invoices that were open at the start,
    so that the start does not wait for it. `seen` is called with the invoice of each payment that this
    worker saw, also where another worker counted it."""

    def __init__(self, node: Node, invoices: Invoices, seen: Callable[[InvoiceRow], None]):
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
        """Look up by label what was open when nobody looked; again where the node or the database failed."""
        while not self._stopping.is_set():
            try:
                for row in self._invoices.open():
                    if self._stopping.is_set():
                        return
                    if self.catch_up(row):
                        self._tell(row["id"])
                return
            except Exception as error:
                log.warning("could not look at open invoices; trying again: %s", error)
                self._stopping.wait(RETRY_S)

    def _tell(self, id: str) -> None:
        row = self._invoices.find(id)
        if row is not None:
            self._seen(row)

    def catch_up(self, row: InvoiceRow) -> bool:
        """Looks up an invoice at the node and counts its payment; returns whether the invoice is paid.

        For an invoice that somebody claims to have paid: a payer can know of the payment a moment before
        waitanyinvoice reports it, and under load that moment is long."""
        if row["pay_index"] is not None:
            return True
        label = LABEL + row["id"]
        found = self._node.find_invoice(label)
        if found is None or found.status != "paid":
            return False
        self._count(label, found, in_turn=False)
        return True

    def stop(self) -> None:
        """Makes both threads end, without a wait for them: the node may take up to WAIT_S (30 s)."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                # At first without a wait: a service that is busy has no pause of WAIT_S, and would never be caught up.
                found = self._node.next_paid(self._index, WAIT_S if self.caught_up.is_set() else 0)
                if found is None:
                    self.caught_up.set()
                    continue
                label, made = found
                self._count(label, made)
                self._index = made.index
                if label.startswith(LABEL):
                    self._tell(label.removeprefix(LABEL))
            except Exception as error:
                log.warning("could not follow payments; trying again: %s", error)
                self._stopping.wait(RETRY_S)

    def _count(self, label: str, made: Made, in_turn: bool = True) -> None:
        payer = OPERATOR if label.startswith(LABEL) and self._paid_by_node(made.hash) else None
        self._invoices.paid(label, made, in_turn, payer)

    def _paid_by_node(self, payment_hash: str) -> bool:
        """Returns whether the node paid its own invoice (by listsendpays); then no money came in.

        A payment of the node to another node does not count as such, even where that node then paid this
        one under the same payment hash."""
        paid = self._node.call("listsendpays", payment_hash=payment_hash)["payments"]
        return any(each["status"] != "failed" and each.get("destination") == self._id for each in paid)
