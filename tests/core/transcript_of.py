"""Whole sessions, line by line: each command, and the events and effects that it led to.

`python tests/core/transcript_of.py` writes transcripts/ anew. Read what has changed before you commit it: each line
is a promise to a journal or to a node.
"""

import dataclasses
import sys
from enum import Enum
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent / "transcripts"
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT / "host"), str(ROOT / "tests"), str(Path(__file__).parent)]

from growing import STEP, Till, Wallet  # noqa: E402
from liar import ARREARS as LIMITED  # noqa: E402
from liar import Liar  # noqa: E402
from older import refunded_since  # noqa: E402
from world import ARREARS, BUYER_ID, SELLER_ID, SESSION, World  # noqa: E402

from satmeter.core import commands as cmd  # noqa: E402
from satmeter.core import effects as do  # noqa: E402
from satmeter.core import messages as msg  # noqa: E402
from satmeter.core.errors import SatmeterError  # noqa: E402
from satmeter.core.machine import StateMachine  # noqa: E402
from satmeter.core.reading import Reading  # noqa: E402
from satmeter.core.receipt import read  # noqa: E402
from satmeter.core.seller.context import Limits  # noqa: E402
from satmeter.core.seller.events import ReceiptSigned  # noqa: E402

SECOND = "77" * 16
NAMES = {SESSION: "SESSION", SECOND: "SECOND", SELLER_ID: "SELLER", BUYER_ID: "BUYER", "02" + "cc" * 32: "STRANGER"}
MOST = 160
"""Letters of a value that are shown; of a longer one the rest is counted."""


class Transcript:
    """What all cores do while it is open."""

    def __enter__(self):
        self.lines, self._began = [], None
        self._handle, self._resume = StateMachine.handle, StateMachine.resume
        transcript = self

        def handle(core, command, now):
            return transcript.tell(
                core, shown(command, transcript.since(now)), lambda: self._handle(core, command, now)
            )

        def resume(core, now):
            return transcript.tell(core, f"restart at {transcript.since(now)}", lambda: self._resume(core, now))

        StateMachine.handle, StateMachine.resume = handle, resume
        return self

    def __exit__(self, *_):
        StateMachine.handle, StateMachine.resume = self._handle, self._resume

    def since(self, now):
        self._began = now if self._began is None else self._began
        return now - self._began

    def tell(self, core, said, job):
        at = len(self.lines)
        self.lines.append("")
        try:
            return job()
        except SatmeterError as error:
            self.lines.append(f"    ! {error.name}: {error.message}")
            raise
        finally:
            step = core.step
            events = [f"    {shown(event, self.since(event.at))}" for event in step.events]
            effects = [f"    > {shown(effect)}" for effect in step.effects]
            if events or effects or len(self.lines) > at + 1 or not said.startswith("Tick"):
                self.lines[at] = f"{type(core).__name__.lower()}: {said}"
                self.lines[at + 1 : at + 1] = events + effects
            else:
                del self.lines[at]


def shown(thing, at=None):
    """A command, event or effect with those of its fields that are not as usual; times since the beginning, in ms."""
    usual = {f.name: f.default for f in dataclasses.fields(thing)}
    values = {f.name: getattr(thing, f.name) for f in dataclasses.fields(thing) if f.name != "at"}
    whole = isinstance(thing, ReceiptSigned)
    told = [f"{name}={text(value, whole)}" for name, value in values.items() if value != usual[name]]
    return f"{type(thing).__name__}({', '.join(told)})" + (f" +{at}" if at is not None else "")


def text(value, whole=False):
    if isinstance(value, str) and (stated := read(value.removeprefix("sig:"))):
        signed = "signature of " if value.startswith("sig:") else ""
        return f"{signed}receipt {stated['revision']}" if signed or not whole else value.replace(SELLER_ID, "SELLER")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return shown(value)
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(text, value)) + "]"
    said = repr(value) if isinstance(value, (dict, bytes)) else str(value)
    for known, name in NAMES.items():
        said = said.replace(known, name)
    return said if len(said) <= MOST else f"{said[:MOST]}…{len(said) - MOST}"


def prepaid():
    """A stream is opened, used, runs low, is suspended as payments fail, goes on, and is closed with a refund."""
    w = World({"low_water_msat": 3_000})
    w.open()
    w.report(40)
    w.fail = 2
    w.report(75)
    w.report(100)
    w.pass_ms(4_000)
    w.fee = 500
    w.report(130)
    w.buy(cmd.CloseStream(session=SESSION, reason="enough"))
    w.pump()
    w.pass_ms(70_000, step=5_000)


def credit_used_up():
    """Nobody pays any more: the meter is locked, and the next open is refused until that is over."""
    w = World({"grace_s": 5, "lockout_s": 10})
    w.open()
    w.fail = 10**6
    w.report(100)
    w.pass_ms(7_000, step=1_000)
    w.open("0e" * 16)
    w.pass_ms(12_000, step=1_000)


def arrears():
    """In arrears: delivered first, paid as it is used, a debt at the end, and its payment after the receipt."""
    w = World({**ARREARS, "window": 4, "grace_s": 5, "lockout_s": 5})
    w.open()
    w.report(24)
    w.report(60)
    w.hold = {do.Pay}
    w.report(150)
    w.buy(cmd.CloseStream(session=SESSION))
    w.pump()
    w.pass_ms(8_000, step=1_000)
    w.hold = set()
    w.pump()
    w.pass_ms(4_000, step=1_000)


def allowance():
    """A meter that gives 20 ticks an hour, before, during and after a session."""
    w = World({"allowance_ticks": 20, "allowance_period_s": 3_600})
    w.report(5)
    w.open()
    w.report(12)
    w.report(50)
    w.report(50, plugged=False)
    w.pass_ms(3_700_000, step=925_000)
    w.report(55)


def restarts():
    """Each side starts again in the middle, and the board, too."""
    w = World()
    w.open()
    w.report(30)
    w.restart_seller()
    w.pump()
    w.report(60)
    w.restart_buyer()
    w.pump()
    w.report(70, boot="b2", base=70)
    w.report(90, boot="b2", base=70)
    w.report(95, boot="b2", base=70, plugged=False)
    w.pass_ms(5_000)


def bearer():
    """A wallet pays, uses a part, and asks for the rest by an invoice; the first try finds no way."""
    w = World({"remainder_s": 3_600})
    label, session = w.sell(cmd.MakeWalletInvoice(meter="m", amount_msat=0))
    w.pump()
    w.pay(label)
    w.pump()
    w.report(40)
    w.report(40, plugged=False)
    w.report(40)
    w.channel_can_refund = False
    w.sell(cmd.AskRefund(session=session, bolt11="first", invoice_msat=5_000, number=0))
    w.pump()
    w.channel_can_refund, w.fee = True, 300
    w.sell(cmd.AskRefund(session=session, bolt11="second", invoice_msat=0, number=0))
    w.pump()


def remainder_lapses():
    """Nobody asks for what a wallet left: the next one to come has it, and then it lapses."""
    w = World({"remainder_s": 600})
    for n in range(2):
        label, _ = w.sell(cmd.MakeWalletInvoice(meter="m", amount_msat=5_000))
        w.pump()
        w.pay(label)
        w.pump()
        w.report(40 * (n + 1))
        w.report(40 * (n + 1), plugged=False)
        w.report(40 * (n + 1))
    w.pass_ms(700_000, step=50_000)


def gates():
    """A session's credit is reserved, settled and given back by gates, beside what the board delivers."""
    w = World()
    w.open()
    w.sell(cmd.Spend(session=SESSION, id="g1", step="reserve", amount_msat=4_000))
    w.report(20)
    w.sell(cmd.Spend(session=SESSION, id="g1", step="settle", amount_msat=3_000))
    w.sell(cmd.Spend(session=SESSION, id="g2", step="reserve", amount_msat=1_000))
    w.sell(cmd.Spend(session=SESSION, id="g2", step="release", amount_msat=0))
    w.report(20, plugged=False)


def standing_offer():
    """An offer (BOLT 12) is made, paid twice by one payer, switched off as nothing can be delivered, and ended."""
    w = World({"remainder_s": 3_600}, limits=Limits(silent_ms=10_000))
    w.hold |= {do.MakeOffer, do.SwitchOffer}
    w.sell(cmd.AskOffer(meter="m", amount_msat=0))
    offer = "0f" * 32
    w.sell(cmd.OfferMade(meter="m", amount_msat=0, offer_id=offer, bolt12="lno1text", active=True))
    for n in range(2):
        label = f"{offer}-{'02' + 'ab' * 32}-{n}"
        w.paid_index += 1
        w.sell(
            cmd.InvoiceSettled(
                label=label,
                amount_msat=2_000,
                pay_index=w.paid_index,
                payment_hash=label,
                after=w.paid_index - 1,
                payer_note="tea",
            )
        )
        w.pump()
    w.report(25)
    w.pass_ms(12_000, step=4_000)
    w.report(25, plugged=False)
    w.pass_ms(3_600_000, step=600_000)
    w.sell(cmd.RemoveMeter(meter="m"))
    w.pump()


def buttons():
    """A meter that shows an invoice of its own; a press goes on to the next amount, and one is paid."""
    w = World({"self_service": "always", "choices": "3sat, 5sat"})
    w.sell(cmd.Report(meter="m", reading=Reading("b1", 0, presses=1)))
    w.pump()
    (label,) = [label for label, row in w.invoices.items() if row[3] == w.meter.wallet_invoice(w.now)]
    w.pay(label)
    w.pump()
    w.report(30)
    w.report(30, plugged=False)


def openings():
    """Opens that are not paid wait beside one another; the first payment takes the meter."""
    w = World()
    w.hold = {do.Pay}
    w.open()
    w.sell(cmd.FromPeer(peer="02" + "cc" * 32, message=msg.Open(SECOND, 1, "m")))
    w.pump()
    w.hold = set()
    w.pump()
    w.pass_ms(4_000, step=1_000)
    w.sell(cmd.FromPeer(peer="02" + "cc" * 32, message=msg.Open("66" * 16, 2, "m")))
    w.pump()
    w.sell(cmd.CloseSession(session=SESSION, reason="by hand"))
    w.pump()


def older_copy():
    """An older copy of the seller's journal: what was given back since waits for a person."""
    w = refunded_since()
    w.sell(
        cmd.FromPeer(peer=BUYER_ID, message=msg.Close(SESSION, w.now + 10**6, msg.BUYER, "again", 0, "refund:another"))
    )
    w.pump()
    w.sell(cmd.Attend(name=SESSION, how=cmd.OWED, note="", amount_msat=3_000))
    w.pump()
    w.pass_ms(20_000, step=5_000)


def on_chain():
    """A growing transaction: held, broadcast at the end, final after two blocks, the rest given back."""
    t = Till()
    t.open()
    t.pay()
    t.read(20)
    t.pay()
    t.read(15)
    t.tell(cmd.FromPeer(peer=BUYER_ID, message=msg.Close(SESSION, t.now, msg.BUYER, "bye", 2 * STEP * 1000, "refund")))
    t.read(plugged=False)
    t.seen(height=101)
    t.seen(height=110)
    t.seen(arrived_sat=2 * STEP, confirmations=2, height=112)


def carried_on_chain():
    """What is left of one session on-chain is carried into the next, which asks on-chain again once that is used up."""
    t = Till(hold_msat=STEP * 1000)
    t.open()
    t.pay()
    t.seen()
    t.read(5)
    t.read(plugged=False)
    t.seen(arrived_sat=STEP, confirmations=2, height=102)
    t.now += 30_000
    t.tell(cmd.Tick())
    t.read()
    t.open(SECOND)
    t.read(15)
    t.pay("c2:0", SECOND)
    t.tell(cmd.FromPeer(peer="02" + "cc" * 32, message=msg.Open("66" * 16, 2, "m")))
    t.read(20)
    t.tell(cmd.UpdateRefused(session=SECOND, number=2, tx_number=2, why="fee too low"))


def double_spend():
    """The buyer spends the inputs elsewhere: a loss, until the seller's own is the one that stands."""
    t = Till(hold_msat=STEP * 1000, unconfirmed_msat=2 * STEP * 1000)
    t.open()
    t.pay()
    t.seen(known=False, refused="conflict", conflict="spent elsewhere", conflict_height=100)
    t.seen(known=False, conflict="spent elsewhere", conflict_height=100, height=101)
    t.seen(height=102)
    t.seen(arrived_sat=STEP, confirmations=2, height=103)
    t.read(plugged=False)


def buyer_on_chain():
    """The buyer's side of growing transactions: funded, signed, sent again after a restart, one gone astray."""
    w = Wallet(hold_msat=2 * STEP * 1000)
    w.ask(STEP)
    w.ask(2 * STEP, taken=False)
    w.restart()
    w.tell(cmd.FromPeer(peer=SELLER_ID, message=msg.Taken(SESSION, w.now, 2, 1, 0)))
    w.now += 60_000
    w.ask(STEP, k=2, ticks=20)
    w.tell(cmd.CloseStream(session=SESSION))
    w.tell(cmd.RefundInvoiceMade(session=SESSION, bolt11="refund"))
    w.now += 3_000
    w.tell(cmd.Tick())


def a_liar():
    """A seller in arrears that claims on and on after the close, and signs what is not so."""
    w = Liar(sensor=0, **LIMITED)
    w.sense(100)
    w.ask(100)
    w.close()
    for more in range(1, 4):
        w.ask(100 + 100 * more)
    w.receipt(charged_msat=90_000, debt_msat=60_000)
    w.receipt(revision=2, refunded_msat=5_000, charged_msat=5_000)
    w.close(refuse_debt=True)


def caps():
    """A buyer's caps: a budget that is used up, a second limit of money, and a price over what was agreed."""
    w = Liar(policy={"budget_msat": 25_000})
    w.ask(0)
    w.ask(100)
    w.ask(200)
    w.ask(300)
    w = Liar(policy={"max_price_msat": 999})
    w = Liar(policy={"max_invoice_msat": 9_999})
    w.ask(0)


EVERY = (
    prepaid, credit_used_up, arrears, allowance, restarts, bearer, remainder_lapses, gates, standing_offer, buttons,
    openings, older_copy, on_chain, carried_on_chain, double_spend, buyer_on_chain, a_liar, caps,
)  # fmt: skip


def transcript(play):
    """Return what a play comes to, as the lines of its file."""
    with Transcript() as told:
        play()
    return [f"# {play.__doc__}", *told.lines]


def path(play):
    return FOLDER / f"{play.__name__}.txt"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for play in EVERY:
        path(play).write_text("\n".join(transcript(play)) + "\n")
