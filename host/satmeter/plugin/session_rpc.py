"""RPC methods of sessions and what pays for them: invoices, offers, spending of credit, close and refund."""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from ..core import commands as cmd
from ..core.errors import BadParam, UnknownSession
from ..core.money import flag, msat, whole
from ..core.plain import Plain
from ..core.seller import views
from ..core.seller.seller import Seller
from ..core.seller.session import SellerSession
from ..core.status import SessionStatus, answer
from .rpc_methods import Call

if TYPE_CHECKING:
    from .meter import MeterPlugin

NOTE = 500
METADATA = 2_000
COMMENT = 200
REASON = 100


class SessionRpc:
    """Bound to its plugin; every method answers its Call from the core's thread or at once."""

    METHODS = ("invoice", "offer", "spend", "close", "refund", "attend")

    def __init__(self, plugin: "MeterPlugin"):
        self.p = plugin

    def invoice(
        self,
        call: Call,
        name: str,
        amount_msat: int | None = None,
        metadata: str = "",
        deliverable: bool | int | str = False,
        note: str = "",
    ) -> None:
        """Make an invoice that any wallet can pay for {amount_msat} of the meter (default: one quantum).

        With {deliverable} true it is refused where the meter can't deliver now. {note} is the payer's, for the
        receipt."""
        amount = msat("amount_msat", amount_msat, 1) if amount_msat is not None else 0

        def asked(found: tuple[str, str]) -> None:
            label, session = found
            shown = {"label": label, "session": session}
            self.p.invoices_asked[label] = call.showing(lambda bolt11: {"bolt11": bolt11, **shown})

        for param, text, most in (("metadata", metadata, METADATA), ("note", note, COMMENT)):
            if len(text) > most:
                raise BadParam(f"{param}: must be at most {most} characters", param=param)
        what = cmd.MakeWalletInvoice(
            meter=name, amount_msat=amount, metadata=metadata, deliverable=flag("deliverable", deliverable), note=note
        )
        self.p.runtime.post(what, call.then(asked))

    def offer(self, call: Call, name: str, amount_msat: int | None = None, active: bool | int | str = True) -> None:
        """Make a standing offer (BOLT 12) of a meter, for {amount_msat} or any amount, or end it by {active} false.

        The node answers it while the meter can deliver."""
        amount = msat("amount_msat", amount_msat, 1) if amount_msat is not None else 0

        def show(offer_id: str, core: Seller) -> Plain:
            return {"meter": name, **answer(views.offer_status(offer_id, core.state.offers[offer_id]))}

        def made(offer_id: str) -> None:
            self.p.runtime.run(partial(show, offer_id), call.reply)

        def asked(found: tuple[str, str]) -> None:
            label, known = found
            if known:
                call.reply(show(known, self.p.runtime.present))
            else:
                self.p.offers.wait_for(label, call.then(made))

        self.p.runtime.post(
            cmd.AskOffer(meter=name, amount_msat=amount, active=flag("active", active)), call.then(asked)
        )

    def spend(self, call: Call, session: str, id: str, step: str, amount_msat: int | None = None) -> None:
        """Spend credit at a gate: {step} reserve holds {amount_msat} under {id}, settle takes, release frees.

        Serve only once `confirmed`: until the board has learned of a reservation, it may still use the credit."""
        if not isinstance(id, (str, int)) or not 0 < len(str(id)) <= 64:
            raise BadParam(f"id: must be 1 to 64 characters, got {id!r}", param="id")
        amount = msat("amount_msat", amount_msat) if amount_msat is not None else None

        def show(spent: SellerSession) -> SessionStatus:
            return replace(views.session_status(spent), confirmed=self.p.runtime.present.confirmed(spent))

        self.p.runtime.post(cmd.Spend(session=session, id=str(id), step=step, amount_msat=amount), call.showing(show))

    def close(self, call: Call, name: str, reason: str = "") -> None:
        """End the session of a meter (by the meter's name or the session's id); unused credit is refunded.

        {reason} stands on the receipt; without one, "closed by the seller".
        """
        if not isinstance(reason, str) or not reason.isprintable() or len(reason) > REASON:
            raise BadParam(f"reason: must be a text of at most {REASON} letters", param="reason")

        def look(core: Seller) -> str:
            if name in core.state.sessions:
                return name
            meter = core.state.meters.get(name)
            if meter is None:
                raise UnknownSession(f"name: {name!r} is no meter, and no session that is live")
            if not meter.session:
                raise UnknownSession(f"name: meter {name} has no session; it is in {meter.state}")
            return meter.session

        def end(session: str) -> None:
            self.p.runtime.post(
                cmd.CloseSession(session=session, reason=reason or cmd.BY_SELLER), call.showing(views.session_status)
            )

        self.p.runtime.run(look, call.then(end))

    def refund(self, call: Call, session: str, invoice: str, number: int | None = None) -> None:
        """Give a bearer back what is left of a {session} that is over, by an {invoice} with or without an amount.

        With {number}, a wallet invoice of its fed_by, no more is given back than what is left of that payment.
        """
        of = whole("number", number, 1, 10**15) if number is not None else 0

        def offer() -> None:
            try:
                found = self.p.refund_invoice(invoice)
            except Exception as error:
                call.reply(error)
                return
            what = cmd.AskRefund(session=session, bolt11=invoice, invoice_msat=found.amount_msat, number=of)
            self.p.runtime.post(what, call.showing(views.session_status))

        self.p.executor.quick(offer)

    def attend(
        self, call: Call, name: str, how: str = cmd.SEEN, note: str = "", amount_msat: int | None = None
    ) -> None:
        """Ends the alarm of a session, or of a payment without an owner (by its label).

        {how} is seen, or owed or paid for a refund that waits since an older copy of the journal
        replaced a newer one. {amount_msat} is how much of that refund was owed or paid (default: all
        that the journal has as owed). {note} is kept in the journal."""
        if how not in (cmd.SEEN, cmd.OWED, cmd.PAID):
            raise BadParam(f"how: must be {cmd.SEEN}, {cmd.OWED} or {cmd.PAID}, got {how!r}", param="how")
        if len(note) > NOTE or not note.isprintable():
            raise BadParam(f"note: must be at most {NOTE} printable characters", param="note")
        amount = msat("amount_msat", amount_msat) if amount_msat is not None else None
        self.p.runtime.post(cmd.Attend(name=name, how=how, note=note, amount_msat=amount), call.reply)
