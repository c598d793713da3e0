"""Receipts: whether a seller's closing statement is signed, and agrees with what we know."""

from .. import commands as cmd
from .. import effects as do
from .. import messages as msg
from .. import receipt
from ..errors import PolicyBreach
from ..journal import canonical
from ..labels import refund_label
from ..plain import keep_newest
from ..ratelimit import RateLimit
from ..settlement.rules import DUST_MSAT
from . import events as ev
from . import policy
from .context import BuyerContext, Part
from .session import BuyerSession

REFUNDS_LOOKED_AT = 50
RECEIPTS = 1_000
"""Receipts of a stream that are recorded. Their revisions may be any: a seller leaves out what it may have lost."""
LOOKS = 20
"""Receipts of a seller's old streams that are looked up at once; then one a second. Each costs its stream's events."""
LOOKED_UP = 1_000
"""Old streams of which the newest receipt that was looked at is remembered."""


class Receipts(Part):
    """What a seller signed, against what we know."""

    def __init__(self, context: BuyerContext) -> None:
        super().__init__(context)
        self.looked_up: dict[tuple[str, str], int] = {}
        """The newest revisions of receipts that were looked at for streams that memory has no more."""
        self.looks = RateLimit(per_s=1, burst=LOOKS)
        """How often a seller may have its receipts looked up."""

    def told(self, stream: BuyerSession, message: msg.Receipt) -> None:
        """A seller's receipt has come; the same one again is no news."""
        if message.text != stream.closing.receipt:
            self.check(stream, message)

    def check(self, stream: BuyerSession, message: msg.Receipt) -> None:
        """Have a receipt's signature checked, and looked up what arrived by our refund invoices."""
        first = max(0, stream.refund_made + 1 - REFUNDS_LOOKED_AT)
        labels = tuple(refund_label(stream.id, number) for number in range(first, stream.refund_made + 1))
        self.act(
            do.CheckReceipt(
                session=stream.id, seller=stream.seller, text=message.text, signature=message.signature, labels=labels
            )
        )

    def checked(self, command: cmd.ReceiptChecked) -> None:
        """Judge a receipt, once its signature is checked."""
        stream, stated = self.state.streams.get(command.session), receipt.read(command.text)
        if stream is None and command.verified and stated is not None:
            stream = self._recall_for(command.session, stated)
        if stream is None or command.text == stream.closing.receipt:
            return
        if not command.verified or stated is None:
            why = "the signature is not the seller's" if not command.verified else "signed, but not a receipt"
            self.context.refuse(stream, 0, why, {"receipt": command.text[:4000]})
            return
        if stream.closing.revision and not self._is_newer(stream, stated):
            return
        self.carried_in(stream, stated["carried_in_msat"])  # where its terms never reached us
        self.context.settlement(stream).reconcile(stream, stated)
        arrivals = {label: msat for label, msat in command.arrivals.items() if msat}
        why = self._judge(stream, stated, command.text, command.signature, arrivals)
        self.context.settlement(stream).release(stream)
        self.context.notify(stream, why=why or stream.reason)
        if stream.closing.owed_msat and not self.context.closing.refundable(stream):
            self.context.closing.close_when_landed(stream)

    def _judge(
        self, stream: BuyerSession, stated: receipt.Statement, text: str, signature: str, arrivals: dict[str, int]
    ) -> str:
        """Record a signed receipt with what is wrong with it, and return that."""
        arrived = sum({**stream.closing.arrivals_msat, **arrivals}.values())
        carried_on = self._carried_on(stream, stated["refunded_msat"] - stated["refund_fee_msat"] - arrived)
        why = self._wrong_with(stream, stated, arrived + carried_on)
        if text == stream.closing.receipt and (why, carried_on) == (stream.closing.why, stream.closing.carried_on_msat):
            return why  # no news
        stream.memory.touched_at = self.now
        self.context.closing.bound(stream, "closed by the seller")
        self.emit(
            ev.StreamClosed(
                at=self.now,
                subject=stream.id,
                code=0,
                revision=stated["revision"],
                text=text,
                signature=signature,
                verified=True,
                why=why,
                arrivals_msat=arrivals,
                carried_on_msat=carried_on,
            )
        )
        return why

    def carried_in(self, stream: BuyerSession, amount: int) -> None:
        """The seller says that this stream began with credit of an earlier one."""
        if amount > stream.carried_msat:
            self.emit(ev.CreditCarried(at=self.now, subject=stream.id, amount_msat=amount))
            self._judge_again(stream.seller)

    def _judge_again(self, seller: str) -> None:
        """Credit was carried into a stream: it may be what the receipt of an earlier one says was given back."""
        for stream in self.state.streams.values():
            stated = receipt.read(stream.closing.receipt) if stream.seller == seller and stream.disputed else None
            if stated is not None:
                self._judge(stream, stated, stream.closing.receipt, stream.closing.signature, {})

    def _recall_for(self, session_id: str, stated: receipt.Statement) -> BuyerSession | None:
        """Take a stream into memory again for a newer receipt of its seller; anything else is no reason."""
        old = self.recalled(session_id, stated["seller"])
        if old is None or not self._is_newer(old, stated):
            return None
        self.emit(ev.StreamRecalled(at=self.now, subject=session_id, state=old))
        return self.state.streams[session_id]

    def _is_newer(self, stream: BuyerSession, stated: receipt.Statement) -> bool:
        return stated["revision"] > stream.closing.revision and stream.closing.recorded < RECEIPTS

    def recalled(self, session_id: str, seller: str) -> BuyerSession | None:
        """Return a seller's stream that memory has no more, from the journal."""
        stream = self.context.recall(session_id)
        return stream if stream is not None and stream.seller == seller else None

    def _carried_on(self, stream: BuyerSession, missing: int) -> int:
        """Return how much of the refunds that did not arrive is explained by credit in later streams."""
        return max(0, min(missing, stream.closing.carried_on_msat + self.state.carried.get(stream.seller, 0)))

    def _wrong_with(self, stream: BuyerSession, stated: receipt.Statement, came_back: int) -> str:
        """Returns how a signed receipt differs from the buyer's own record, "" where it does not.

        `came_back` is what arrived by refund invoices or was carried on, in msat."""
        if not receipt.balanced(canonical(stated)):
            return "the receipt's sums do not agree"
        if stated["session"] != stream.id or stated["seller"] != stream.seller or stated["meter"] != stream.meter:
            return "the receipt is of another session"
        # More than we paid is another's, who paid an invoice of ours.
        if stated["paid_msat"] < stream.credited_msat and not stream.in_flight:
            return f"the receipt says {stated['paid_msat']} msat paid, we paid {stream.credited_msat}"
        if stream.tariff is not None and stated["tariff"] != stream.tariff.terms():
            return "the receipt has another tariff"
        for_ticks = stated["charged_msat"] - stated["spent_msat"]
        if stream.tariff is not None and for_ticks > stream.tariff.charge(stated["ticks"]):
            return "the receipt charges more than its ticks cost"
        return self._wrong_with_the_rest(stream, stated, came_back)

    def _wrong_with_the_rest(self, stream: BuyerSession, stated: receipt.Statement, came_back: int) -> str:
        if stated["spent_msat"] > stream.policy.max_spend_msat:
            most = stream.policy.max_spend_msat
            return f"the receipt says {stated['spent_msat']} msat spent at gates; at most {most} is allowed"
        if stated["lapsed_msat"] >= DUST_MSAT:
            return f"the receipt says that {stated['lapsed_msat']} msat lapsed; only less than {DUST_MSAT} may"
        if stated["refunded_msat"] - stated["refund_fee_msat"] > came_back:
            return f"the receipt says {stated['refunded_msat']} msat refunded, a fee included; {came_back} came back"
        if 2 * stated["refund_fee_msat"] > stated["refunded_msat"]:
            fee = stated["refund_fee_msat"]
            return f"the receipt takes a fee of {fee} msat out of a refund of {stated['refunded_msat']}"
        try:
            if stream.tariff is not None:
                policy.check_progress(stream.tariff, stated["ticks"], 0, self.now - stream.agreed_at)
            if stream.own_ticks is not None:
                policy.check_sensor(stream.policy, stated["ticks"], stream.own_ticks)
        except PolicyBreach as error:
            return f"the receipt is not plausible: {error.message}"
        return ""

    def is_news(self, peer: str, message: msg.Receipt) -> bool:
        """Whether a receipt of a stream that memory has no more can be news, and may be looked up now.

        To look it up costs its whole journal: one of its seller's that can count, and so often of each."""
        stated = receipt.read(message.text)
        if stated is None or (stated["seller"], stated["session"]) != (peer, message.session):
            return False
        if stated["revision"] <= self.looked_up.get((peer, message.session), 0):
            return False
        if not self.looks.take(peer, self.now):
            return False
        self.looked_up[peer, message.session] = stated["revision"]
        keep_newest(self.looked_up, LOOKED_UP)
        return True
