"""Refunds that a seller pays: each try once, and what became of it told to the core."""

from ..core import commands as cmd
from ..core import effects as do
from ..core.errors import BadParam
from ..core.seller.seller import Seller
from ..node.one_each import OneEach
from ..node.payments import Payments
from ..node.rpc import Node
from .clock import wall_ms
from .refund_invoice import read
from .runtime import Runtime
from .timings import Timings

REFUND_MAXDELAY = 144
"""Blocks for which the payee of a refund can hold it at most."""


class RefundPayments:
    """Pays the refunds of one seller's node. Any thread may call; each payment blocks its own."""

    def __init__(self, node: Node, payments: Payments, runtime: Runtime[Seller], timings: Timings):
        self._node, self._payments, self._runtime, self._paying = node, payments, runtime, timings
        self._one_each = OneEach()

    def pay(self, effect: do.PayRefund) -> None:
        """Pays a refund within the fee that it bears itself, and posts the outcome to the core.

        One try of a session at a time: the one behind it learns from the core that it is over. The
        outcome of an earlier try counts first: an invoice is given up only when nothing of it can
        settle any more."""
        with self._one_each.of(effect.session):
            outcome = self._outcome(effect)
            if outcome is not None:
                self._runtime.post(outcome)

    def _outcome(self, effect: do.PayRefund) -> cmd.RefundSettled | cmd.RefundLost | None:
        """Returns what became of a try; None where it is not the refund's any more."""

        def lost(why: str, final: bool) -> cmd.RefundLost:
            return cmd.RefundLost(
                session=effect.session, bolt11=effect.bolt11, attempt=effect.attempt, why=why, final=final
            )

        def claimed(known: bool) -> cmd.Claimed:
            claim = cmd.ClaimRefund(
                session=effect.session,
                bolt11=effect.bolt11,
                attempt=effect.attempt,
                payment_hash=invoice.payment_hash,
                known=known,
            )
            return cmd.Claimed(self._runtime.ask(claim))

        try:
            invoice = read(self._node, effect.bolt11)
        except BadParam as error:
            return lost(error.message, final=True)
        if invoice.amount_msat not in (0, effect.amount_msat):
            why = f"the refund invoice asks for {invoice.amount_msat} msat, not {effect.amount_msat}"
            return lost(why, final=True)
        known = self._payments.outcome(invoice.payment_hash).status in ("pending", "complete")
        claim = claimed(known)
        if not claim:
            return None
        again = claim == cmd.Claimed.BEFORE
        known = known or self._payments.begun(invoice.payment_hash, again)
        if not known and invoice.expires_at <= wall_ms() // 1000:
            return lost("the refund invoice has expired", final=True)
        with self._paying.measured():
            outcome, why = self._payments.pay(
                invoice.payee,
                effect.bolt11,
                invoice.payment_hash,
                effect.maxfee_msat,
                REFUND_MAXDELAY,
                None if invoice.amount_msat else effect.amount_msat,
                again=again,
                may=lambda: bool(claimed(known=True)),
            )
        if outcome.status != "complete":
            return lost(why or "the payment failed", final=False)
        return cmd.RefundSettled(
            session=effect.session,
            bolt11=effect.bolt11,
            amount_msat=outcome.amount_msat,
            fee_msat=max(0, outcome.sent_msat - outcome.amount_msat),
            payment_hash=invoice.payment_hash,
        )
