"""Payments from an account to an invoice or to an address NAME@HUB, and the hub's own addresses.

Addresses are Lightning Addresses (LUD-16), by which users of two hubs pay one another over the hubs'
channels. The most that a payment may cost is held before it is sent. The transaction that records the
end of the payment moves that money on."""

import json

import sqlalchemy as sa
from fastapi.concurrency import run_in_threadpool

from ..billing.idempotency import Attempt, IdempotencyKeys
from ..billing.invoices import Invoices
from ..billing.lightning_address import Addresses
from ..billing.outgoing_payments import ALARM, COMPLETE, FAILED, OutgoingPayments
from ..billing.rows import InvoiceRow, PaymentRow
from ..core.errors import BadParam, NoCredit, WrongState
from ..core.money import msat
from ..core.plain import JsonObject
from ..node.payments import fee_cap
from .ledger import HUB, NODE, PAYING, Ledger, of_user
from .orders import Orders
from .users import User

LEAST_MSAT, MOST_MSAT = 1000, 10_000_000_000
"""What an address of ours takes at once: 1 sat to 0.1 BTC."""


class Withdrawals:
    """Payments from users' accounts, and the answers of the users' Lightning Addresses."""

    def __init__(
        self,
        invoices: Invoices,
        spending: OutgoingPayments,
        once: IdempotencyKeys,
        orders: Orders,
        ledger: Ledger,
        addresses: Addresses,
        host: str,
    ):
        """host: what our own addresses end in; "" where the hub has no public name."""
        self._invoices, self._spending, self._once = invoices, spending, once
        self._orders, self._ledger, self._addresses = orders, ledger, addresses
        self.host = host

    def quote(self, amount_msat: int) -> JsonObject:
        """Returns what a payment of an amount may cost, all in msat.

        `fee` is the hub's fee, `maxfee` the most that routing may cost, and `held` both together with the
        amount. That sum is held until the payment ends."""
        fee, maxfee = self._ledger.fee(amount_msat), fee_cap(amount_msat)
        return {"msatoshi": amount_msat, "fee": fee, "maxfee": maxfee, "held": amount_msat + fee + maxfee}

    async def invoice_of(self, user: str, to: str, amount_msat: int) -> str:
        """Return an invoice of an address for an amount, for a user. BadParam with what is wrong there."""
        return await self._addresses.invoice_of(to, amount_msat, user)

    def begin(self, user: str, key: str, what: str) -> Attempt:
        """Return the attempt that a form's key stands for: its `body` is the invoice, once there is one."""
        return self._once.begin(of_user(user), key, what.encode())

    def fix(self, attempt: Attempt, payreq: str) -> str:
        """Keep which invoice an attempt pays, and return it: the first one that was kept, which is never paid twice."""
        return self._once.end(attempt, 200, payreq)

    async def send(self, user: str, payreq: str) -> JsonObject:
        """Pays an invoice from a user's account, waits a little, and returns the status with the costs in msat.

        The status is paid, pending, failed or alarm. An invoice of this hub is paid from account to account,
        without fees.

        Raises:
            BadParam: The invoice has no amount, or is of this node but not of this service.
            NoCredit: The account has less than the payment may cost at most.
            WrongState: Somebody else pays or has paid this invoice, or it can't be paid any more.
        """
        begun = await run_in_threadpool(self._begin, user, payreq)
        if not isinstance(begun, tuple):
            return begun
        amount, row = begun[0], await self._spending.ended(begun[1])
        status = {COMPLETE: "paid", "new": "pending"}.get(str(row["status"]), str(row["status"]))
        cost = {"msatoshi": amount, "fee": row["fee"], "routing": max(0, row["sent"] - amount), "why": row["why"]}
        return {"status": status, "payment_hash": row["rhash"], **cost}

    def _begin(self, user: str, payreq: str) -> JsonObject | tuple[int, PaymentRow]:
        """Has a payment begin; returns its amount (msat) and its row, or the answer where it stays in this hub."""
        decoded = self._spending.decoded(payreq)
        amount = int(decoded["amount_msat"])
        if self._spending.is_own(decoded):
            return self._inside(user, payreq, amount)
        quote = self.quote(amount)

        def held(db: sa.Connection, row: PaymentRow) -> None:
            moved = {of_user(user): -quote["held"], PAYING: quote["held"]}
            self._ledger.move(db, "sending", f"payment/{row['rhash']}", moved)

        row = self._spending.send(of_user(user), payreq, decoded, quote["fee"], held)
        if row["client"] != of_user(user):
            raise WrongState("to: this invoice is being paid, or was paid, by somebody else")
        return amount, row

    def _inside(self, user: str, payreq: str, amount: int) -> JsonObject:
        """Pay an invoice of this very node: from account to account."""
        row = self._invoices.by_payreq(payreq)
        if row is None:
            raise BadParam("to: is an invoice of this node, but not one of this service", param="to")
        self._orders.pay(user, row)
        return {"status": "paid", "payment_hash": row["rhash"], "msatoshi": amount, "fee": 0, "routing": 0, "why": ""}

    def ended(self, db: sa.Connection, was: PaymentRow, status: str, sent: int) -> None:
        """Moves the money that was held for a payment, once it has ended (a watcher of OutgoingPayments).

        A payment that was recorded as failed and is complete after all is charged again; where the account has
        too little by then, the hub bears the loss. An alarm returns nothing: what left the node is recorded,
        and the rest stays held until a person decides.

        Args:
            db: The connection of the transaction that records the end.
            was: The payment as it was recorded before.
            status: complete, failed or alarm.
            sent: The msat that left the node, with fees.
        """
        user = str(was["client"])
        if not user.startswith("user/"):
            return
        about, fee = f"payment/{was['rhash']}", int(was["fee"])
        held = int(was["msatoshi"]) + int(was["maxfee"]) + fee
        if status == ALARM:
            source = PAYING if was["status"] == "pending" else HUB
            self._ledger.move(db, ALARM, about, {source: -sent, NODE: sent})
        elif was["status"] == "pending":
            if status == FAILED:
                self._ledger.move(db, "returned", about, {PAYING: -held, user: held})
                return
            moved = {PAYING: -held, NODE: sent, HUB: fee, user: held - sent - fee}
            self._ledger.move(db, "sent", about, moved)
        elif status == COMPLETE:
            try:
                with db.begin_nested():
                    self._ledger.move(db, "sent", about, {user: -sent - fee, NODE: sent, HUB: fee})
            except NoCredit:
                self._ledger.move(db, "loss", about, {NODE: sent, HUB: -sent})

    # --- our users' addresses (LUD-06, LUD-16)

    def address(self, user: User) -> str:
        """Returns a user's Lightning Address (LUD-16), or "" where the hub has no public name."""
        return f"{user.name}@{self.host}" if self.host else ""

    def terms(self, user: User, callback: str) -> JsonObject:
        """Return what an address answers."""
        bounds = {"minSendable": LEAST_MSAT, "maxSendable": MOST_MSAT}
        return {"tag": "payRequest", "callback": callback, **bounds, "metadata": self._metadata(user)}

    def asked(self, user: User, amount: object) -> InvoiceRow:
        """Return a new invoice of an address. BadParam for an amount out of bounds."""
        asked = msat("amount", amount, LEAST_MSAT)
        if asked > MOST_MSAT:
            raise BadParam(f"amount: may be at most {MOST_MSAT}, got {asked}", param="amount")
        return self._orders.deposit(user.id, asked, self._metadata(user), hash_only=True)

    def _metadata(self, user: User) -> str:
        address = self.address(user)
        return json.dumps([["text/plain", f"to {address}"], ["text/identifier", address]])
