"""The RPC methods of the buyer's plugin: parameters in, commands to the core, views out.

Amounts are msat (a number, or text such as 5sat), counts ticks, times seconds or (in results, *_at) milliseconds.
"""

import inspect
import secrets
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from pyln.client import RpcError

from .. import __version__
from ..core import commands as cmd
from ..core import receipt
from ..core.buyer import history, views
from ..core.buyer.buyer import Buyer
from ..core.errors import BadParam, NodeTrouble, OverCap, Refused, SatmeterError, Unreachable, WrongState, by_code
from ..core.money import MAX_TICKS, flag, whole
from ..core.plain import Plain
from ..core.states import StreamState
from ..core.status import BuyerStatus, StreamStatus
from ..journal.store import Journal
from ..node.rpc import words_of
from ..wire.address import parse
from .params import Method, boot_id, extended, page, period, waiting
from .rpc_methods import Call
from .runtime import Answer

if TYPE_CHECKING:
    from .stream import StreamPlugin

RISK = (
    "must be true: the node has no HTLC of this payment, yet calls it pending. If it settles later all the same, the "
    "money is spent, and is not counted in the caps of later days"
)


def _with_caps(*names: str) -> Callable[[Method], Method]:
    """Gives a method caps of the buyer's policy as its parameters, none of which has to be given."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    caps = [
        inspect.Parameter(name, kind, default=None, annotation=str | None if name == "unit" else None) for name in names
    ]
    return lambda method: extended(method, caps)


class StreamRpc:
    """Bound to its plugin; every method answers its Call from the core's thread or at once."""

    METHODS = ("open", "list", "status", "pause", "resume", "budget", "report", "wait", "close", "giveup", "receipts")

    def __init__(self, plugin: "StreamPlugin"):
        self.p = plugin

    def _change(self, call: Call, what: cmd.Command) -> None:
        """Has the core change a stream, and answers with how it stands then."""
        self.p.runtime.post(what, call.showing(views.stream_status))

    @_with_caps(
        "max_fee_msat",
        "max_invoice_msat",
        "day_msat",
        "unit",
        "max_spend_msat",
        "maxdelay",
        "max_final_cltv",
        "tolerance_pct",
        "tolerance_ticks",
        "max_feerate",
        "max_msat_per_s",
    )
    def open(
        self,
        call: Call,
        seller: str,
        max_price_msat: object,
        budget_msat: object,
        meter: str | None = None,
        **caps: object,
    ) -> None:
        """Buy from {seller} (SATMETER:// address, or node id and {meter}) within the caps given.

        {max_price_msat} is for one {unit}: without {unit} the answer is the seller's terms, and nothing is agreed
        to."""
        caps |= {"max_price_msat": max_price_msat, "budget_msat": budget_msat}
        if self.p.options.day_msat:
            caps.setdefault("day_msat", self.p.options.day_msat)
        address = parse(seller, meter)
        if address.node_id == self.p.node_id:
            raise BadParam("seller: is this node itself; nobody can buy from itself", param="seller")
        session = secrets.token_hex(16)
        what = cmd.OpenStream(
            session=session, seller=address.node_id, meter=address.meter, address=address.reach, policy=caps
        )

        def agreed(shown: StreamStatus | None) -> None:
            if shown is None or shown.state == StreamState.CLOSED:
                call.reply(_not_opened(shown, session))
            else:
                call.reply(shown)

        def asked(_: object) -> None:
            self.p.opening[session] = agreed

        self.p.runtime.post(what, call.then(asked))

    def list(self, call: Call) -> None:
        """List the live streams."""
        self.p.runtime.run(
            lambda core: BuyerStatus(
                streams=[views.stream_status(each) for each in core.state.streams.values()], version=__version__
            ),
            call.reply,
        )

    def status(self, call: Call, session: str) -> None:
        """Show a stream: state, payments, fees, exposure, what was refused and why, and its receipt."""

        def reply(answer: Answer) -> None:
            if isinstance(answer, Exception):
                self.p.read(call, lambda journal: _old(journal, session, answer))
            else:
                call.reply(answer)

        self.p.runtime.run(lambda core: views.stream_status(core.stream(session)), reply)

    def pause(self, call: Call, session: str) -> None:
        """Pause a stream: nothing is paid. The seller stops delivery when the credit is used up."""
        self._change(call, cmd.PauseStream(session=session))

    def resume(self, call: Call, session: str) -> None:
        """Resume a paused stream: the seller's invoices are paid again."""
        self._change(call, cmd.ResumeStream(session=session))

    @_with_caps(
        "budget_msat",
        "max_price_msat",
        "max_fee_msat",
        "max_invoice_msat",
        "day_msat",
        "max_spend_msat",
        "max_feerate",
        "max_msat_per_s",
    )
    def budget(self, call: Call, session: str, **caps: object) -> None:
        """Change the caps of a running stream."""
        self._change(call, cmd.SetBudget(session=session, policy=caps))

    def report(self, call: Call, session: str, boot: str, register: int, base: int = 0, age: int = 0) -> None:
        """Report the buyer's own sensor: {register} in the seller's ticks within {boot}, which began at {base}.

        {age} is how long ago it said so, in ms."""
        count, start = whole("register", register, 0, MAX_TICKS), whole("base", base, 0, MAX_TICKS)
        age_ms = whole("age", age, 0, MAX_TICKS)
        self._change(
            call, cmd.SensorReading(session=session, boot=boot_id(boot), register=count, base=start, age_ms=age_ms)
        )

    def wait(self, call: Call, session: str, lastindex: int = 0, timeout: int = 60) -> None:
        """Wait until state or relay of a stream has changed since {lastindex}; for its bridge."""
        after, seconds = waiting(lastindex, timeout)

        def look(core: Buyer) -> tuple[Buyer, str]:
            return core, core.stream_of_board(session).id

        def wait(found: tuple[Buyer, str]) -> None:
            core, key = found
            self.p.long_polls.wait(key, partial(self.p.relay_view, core), after, seconds, call)

        self.p.runtime.run(look, call.then(wait))

    def close(self, call: Call, session: str, refuse_debt: bool | int | str = False) -> None:
        """End a stream; what is paid and not used comes back, or stays owed until it can.

        In arrears what was used by now is still paid for, up to may_still_pay_msat; with {refuse_debt} nothing is."""
        self._change(call, cmd.CloseStream(session=session, refuse_debt=flag("refuse_debt", refuse_debt)))

    def giveup(self, call: Call, session: str, n: int, accept_risk: bool | int | str = False) -> None:
        """Stops waiting for payment {n} of a stream that the node calls pending without an HTLC of it.

        It counts as spent in the stream's budget and today, and in no later day's cap. {accept_risk}
        must be true: the payment may settle all the same."""
        number, accepted = whole("n", n, 0, 2**62), flag("accept_risk", accept_risk)

        def look(core: Buyer) -> tuple[str, str]:
            stream = core.stream(session)
            payment = stream.in_flight.get(number)
            if payment is None or not payment.payment_hash:
                raise WrongState(f"n: stream {stream.id} has no payment {number} in flight; stream-status shows them")
            return stream.id, payment.payment_hash

        def ask(stream: str, payment_hash: str) -> None:
            try:
                why = self.p.payments.stuck(payment_hash)
                if why:
                    raise WrongState(f"payment {number} is not stuck: {why}")
                if not accepted:
                    raise BadParam(f"accept_risk: {RISK}", param="accept_risk")
                self._change(call, cmd.GiveUpPayment(session=stream, number=number))
            except RpcError as error:
                call.reply(NodeTrouble(words_of(error)))
            except Exception as error:
                call.reply(error)

        self.p.runtime.run(look, call.then(lambda found: self.p.executor.quick(ask, *found)))

    def receipts(self, call: Call, before: int = 0, limit: int = 100) -> None:
        """List ended streams with their signed receipts, newest first; page by the last one's opened_at."""
        (_, before), limit = period(0, before), page(limit)
        self.p.read(call, lambda journal: {"receipts": journal.sessions("", before, limit, ended=True)})


def _not_opened(shown: StreamStatus | None, session: str) -> SatmeterError:
    """Returns the error of a stream that did not open.

    It is OverCap for a cap of the buyer's own, and Refused with the seller's reason. Without an answer
    of the seller it is Unreachable, or WrongState where the buyer closed the stream."""
    code, why = (shown.code, shown.why) if shown is not None else (0, "ended")
    name, _, text = why.partition(": ")
    if by_code(code) is OverCap and name == OverCap.__name__:
        return OverCap(text, session=session)
    if code in (0, Unreachable.code):
        return (Unreachable if code else WrongState)(f"the stream was not opened: {why}", session=session)
    return Refused(why, session=session, code=code)


def _old(journal: Journal, session: str, otherwise: Exception) -> Plain:
    """Return an ended stream as the journal has it; raise `otherwise` where it has none."""
    row = journal.session(session)
    if row is None:
        raise otherwise
    stated = receipt.read(row["receipt"])
    refused = journal.latest(session, history.REFUSED)
    return {
        "session": row["id"],
        "seller": row["peer"],
        "meter": row["meter"],
        "state": StreamState.CLOSED.value,
        "relay": False,
        "opened_at": row["opened_at"],
        "payments": stated["payments"] if stated else 0,
        "paid_msat": stated["paid_msat"] - stated["carried_in_msat"] if stated else 0,
        "reason": row["reason"],
        "receipt": row["receipt"],
        "signature": row["signature"],
        "verified": bool(row["signature"]),
        "refusals": [views.refusal_status(each) for each in refused],
    }
