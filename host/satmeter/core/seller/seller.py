"""The seller: what a node that sells does with a reading, a payment, a message or the passing of time.

Theory of operation. handle() takes one command and returns a Step: events, which are folded into the state as they are
decided and must be committed before anything else; then effects; then a result for whoever asked. Readings are
cumulative and enter the journal only with an event that moves money or state. After every command the meter's state is
looked at (metering.py), and what has become due is done: delivery starts when there is credit, is suspended when it is
used up, the next invoice is asked for while there is room under the quantum. Nothing is remembered about effects: what
is unanswered follows from the state, and is repeated by Tick and resume().

Here is the dispatch only. Each part has one subject, shares the context with the others and calls them by name. The
states and what moves them stand in transitions.py.
"""

from .. import commands as cmd
from ..machine import Handlers, StateMachine
from ..plain import Plain
from ..settlement.lightning_seller import LightningSeller
from ..settlement.onchain_broadcasts import OnchainBroadcasts
from ..settlement.onchain_seller import OnchainSeller
from ..settlement.rules import LIGHTNING, ONCHAIN
from .acceptance import Acceptance
from .attention import Attention
from .closing import Closing
from .context import Limits, Recall, SellerContext
from .invoices import Invoices
from .metering import Metering
from .meters import Meters
from .offers import Offers
from .openings import Openings
from .payments import Payments
from .peers import Peers
from .refunds import Refunds
from .reservations import Reservations
from .self_service import SelfService
from .session import SellerSession
from .state import SellerState
from .wallet_invoices import WalletInvoices


class Seller(StateMachine):
    """One seller node; see SellerContext for what it is given."""

    def __init__(
        self,
        node_id: str,
        limits: Limits | None = None,
        state: SellerState | None = None,
        journal: str = "0",
        recall: Recall = lambda session_id: None,
        older: int = -1,
    ) -> None:
        context = SellerContext(node_id, limits or Limits(), state or SellerState(), journal, recall, older)
        self.context = context
        context.state.claims_kept = True  # from now on this version writes
        context.attention = Attention(context)
        context.closing = Closing(context)
        context.invoices = Invoices(context)
        context.metering = Metering(context)
        context.meters = Meters(context)
        context.offers = Offers(context)
        context.openings = Openings(context)
        context.payments = Payments(context)
        context.peers = Peers(context)
        context.refunds = Refunds(context)
        context.reservations = Reservations(context)
        context.self_service = SelfService(context)
        context.wallet_invoices = WalletInvoices(context)
        context.onchain = OnchainSeller(context)
        context.broadcasts = OnchainBroadcasts(context)
        context.settlements = {LIGHTNING: LightningSeller(context), ONCHAIN: context.onchain}
        self.acceptance = Acceptance(context)
        super().__init__(context, _handlers(context), self._repeat, self.acceptance.publish)

    @property
    def state(self) -> SellerState:
        """The fold of the journal."""
        return self.context.state

    @property
    def limits(self) -> Limits:
        """The limits that the plugin's options set; they do not change while it runs."""
        return self.context.limits

    @property
    def waiting(self) -> dict[str, SellerSession]:
        """Openings by id: sessions that wait for their first payment."""
        return self.context.waiting

    def confirmed(self, session: SellerSession) -> bool:
        """Whether the board has learned of a session's reservations, and can't use their credit any more."""
        return self.context.reservations.confirmed(session)

    def rejects(self, label: str, now: int, amount_msat: int | None = None) -> str:
        """Return why a payment of `label` can't be delivered now, or "" (the invoice_payment hook). From any thread."""
        return self.acceptance.rejects(label, now, amount_msat)

    def reload(self, dumped: Plain) -> None:
        """Take a dumped state in place of the present one."""
        self.state.load(dumped)
        self.acceptance.publish_all()

    def _repeat(self) -> None:
        context = self.context
        context.resumed_at = context.now
        if context.older >= 0:
            context.attention.go_on_from_older()
        for meter in self.state.meters.values():
            for number in meter.wallet_invoices:
                context.wallet_invoices.make(meter, number)
        for session in list(self.state.sessions.values()):
            for number in {**session.out, **session.dropped}:
                context.settlement(session).make(session, number)
            context.settlement(session).resumed(session)
            if session.refund.under_way and not session.refund.held:
                context.refunds.pay(session)
            context.closing.wind_up(session)


def _handlers(context: SellerContext) -> Handlers:
    return {
        cmd.Tick: context.metering.tick,
        cmd.Report: context.metering.report,
        cmd.AddMeter: context.meters.add,
        cmd.SetMeter: context.meters.change,
        cmd.RemoveMeter: context.meters.remove,
        cmd.BindBoard: context.meters.bind,
        cmd.Unlock: context.meters.unlock,
        cmd.FromPeer: context.peers.message,
        cmd.PeerConnected: context.peers.connected,
        cmd.PeerLost: context.peers.lost,
        cmd.MakeWalletInvoice: context.wallet_invoices.ask,
        cmd.AskOffer: context.offers.ask,
        cmd.OfferMade: context.offers.made,
        cmd.OfferSwitched: context.offers.switched,
        cmd.RateFound: context.self_service.rate_found,
        cmd.InvoiceMade: context.invoices.made,
        cmd.InvoiceArriving: context.invoices.arriving,
        cmd.InvoiceGone: context.invoices.gone,
        cmd.InvoiceSettled: context.payments.arrived,
        cmd.Spend: context.reservations.spend,
        cmd.CloseSession: context.closing.close_session,
        cmd.SignatureMade: context.closing.signed,
        cmd.ClaimRefund: context.refunds.claim,
        cmd.RefundSettled: context.refunds.settled,
        cmd.AskRefund: context.refunds.ask,
        cmd.RefundLost: context.refunds.lost,
        cmd.Attend: context.attention.attend,
        cmd.AddressMade: context.onchain.address_made,
        cmd.BlockAdded: context.broadcasts.block_added,
        cmd.UpdateChecked: context.onchain.update_checked,
        cmd.UpdateRefused: context.onchain.update_refused,
        cmd.TxSeen: context.broadcasts.seen,
        cmd.BumpMade: context.broadcasts.bumped,
    }
