"""Self-service: a meter makes the invoices by which a person with any wallet buys, without its operator."""

from .. import commands as cmd
from .. import effects as do
from ..choices import Choice
from ..labels import wallet_label
from ..ratelimit import RateLimit
from ..reading import Reading
from ..states import MeterState
from ..tariff import ALWAYS, BUTTON, OFF, PLUG, POTENTIOMETER
from .context import Part, SellerContext
from .meter import Meter, OwnInvoice

RENEW_MS = 30_000
"""So long before an invoice expires the next one is made: a wallet takes a moment from the scan to the payment."""
SHOWN_MS = 600_000
"""How long after the plug or the last press a meter goes on to make invoices, unless it always does."""
RATE_MS, RATE_MOST_MS = 300_000, 3_600_000
"""How often the rate of a currency is asked for, and how old it may be to make an invoice by it."""
SETTLE_MS = 1_000
"""So long the potentiometer has to rest before an invoice is made of what it points at."""
AN_HOUR, AT_ONCE = 60, 20
"""Invoices that one meter makes in an hour, and in a row: whoever plays with a button fills no database."""


class SelfService(Part):
    """Keeps one unpaid invoice of the present choice on each meter that serves itself."""

    def __init__(self, context: SellerContext) -> None:
        super().__init__(context)
        self._limit = RateLimit(1, AT_ONCE)
        self._rates: dict[str, tuple[int, int]] = {}
        """By currency: msat for one of it, and when that was so (ms)."""
        self._asked: dict[str, int] = {}

    def reading(self, meter: Meter, reading: Reading, fresh_boot: bool) -> None:
        """Takes from a reading, before the meter does, what a person did: a plug, a press, a turn.

        Args:
            meter: The meter that the reading is of.
            reading: The reading.
            fresh_boot: Whether the reading is the first one of its boot.
        """
        memory, mode = meter.memory, meter.tariff.self_service
        pressed = 0 if fresh_boot or memory.presses is None else max(0, reading.presses - memory.presses)
        turned = not fresh_boot and memory.position not in (None, reading.position)
        memory.presses, memory.position = reading.presses, reading.position
        plugged_in = reading.plugged and not (memory.plugged and memory.seen_at)
        if mode == OFF:
            return
        if meter.tariff.choose_by == POTENTIOMETER:
            if meter.session or not (turned or pressed or (plugged_in and mode != BUTTON)):
                return  # while it delivers the potentiometer is the flow
            memory.turned_at = self.now if turned else memory.turned_at
        elif pressed:
            # The first press shows the first choice; each further one the next.
            memory.choice = memory.choice + pressed if self._recent(meter) or mode == ALWAYS else pressed - 1
        elif plugged_in and mode != BUTTON:
            memory.choice = 0
        else:
            return
        memory.chosen_at = self.now
        self.touch(meter.subject)

    def look_after(self, meter: Meter) -> None:
        """Makes the invoice of the present choice, or the next one in good time; nothing where nothing is wanted."""
        choice = self._wanted(meter)
        own, turning = meter.memory.own_invoice, ""
        if choice is not None and choice.text != own.text and self.now < meter.memory.turned_at + SETTLE_MS:
            turning = choice.text
        if turning != meter.memory.turning:
            meter.memory.turning = turning
            self.touch(meter.subject)
        if turning:
            return
        unpaid = own.number in meter.wallet_invoices
        if choice is None or (unpaid and own.text == choice.text and self._lasts(meter, own)):
            return
        others = len(meter.wallet_invoices) - unpaid
        if others > self.limits.wallet_invoices_per_meter:  # one beyond: strangers at a page can't take its own
            return
        if not self._limit.take(meter.name, self.now * AN_HOUR // 3600):  # a token each minute
            return
        if unpaid and own.text != choice.text:
            self.act(do.CancelInvoice(label=wallet_label(self.context.journal, meter.name, own.number)))
        number = self.context.wallet_invoices.begin(meter, choice.amount_msat)
        meter.memory.own_invoice = OwnInvoice(number, choice.text, choice.amount_msat)

    def _recent(self, meter: Meter) -> bool:
        return bool(meter.memory.chosen_at) and self.now - meter.memory.chosen_at < SHOWN_MS

    def _lasts(self, meter: Meter, own: OwnInvoice) -> bool:
        """Whether an invoice can be paid for a while, or is being made."""
        made = meter.memory.made.get(own.number)
        return made is None or self.now < made[1] - RENEW_MS

    def _wanted(self, meter: Meter) -> Choice | None:
        """Returns what a person could buy now, None where nothing is offered or could be delivered."""
        mode = meter.tariff.self_service
        if mode == OFF or meter.undeliverable(self.now, self.limits.silent_ms):
            return None
        if meter.state == MeterState.STANDBY:
            if mode != ALWAYS and not self._recent(meter):
                return None
        elif not self._may_top_up(meter):
            return None
        choices = self._choices(meter)
        if not choices:
            return None
        if meter.tariff.choose_by == POTENTIOMETER:
            if not meter.session:
                meter.memory.choice = min(len(choices) - 1, (meter.memory.position or 0) * len(choices) // 1000)
            return choices[meter.memory.choice % len(choices)]
        # Whoever tops up goes on with what was chosen, however long ago.
        chosen = meter.memory.choice if self._recent(meter) or mode == PLUG or meter.session else 0
        return choices[chosen % len(choices)]

    def _choices(self, meter: Meter) -> list[Choice]:
        """Returns the choices whose price is known; asks for the rates of the others."""
        known = {name: msat for name, (msat, at) in self._rates.items() if self.now - at < RATE_MOST_MS}
        choices = meter.tariff.choice_list(frozenset(known.items()))
        for each in choices:
            if each.currency and self.now - self._asked.get(each.currency, -RATE_MS) >= RATE_MS:
                self._asked[each.currency] = self.now
                self.act(do.FindRate(currency=each.currency))
        return [each for each in choices if each.amount_msat]

    def rate_found(self, command: cmd.RateFound) -> None:
        """Takes the present rate of a currency."""
        self._rates[command.currency] = (command.msat, self.now)

    def _may_top_up(self, meter: Meter) -> bool:
        """Whether a bearer uses the meter at its present price, and its credit is low."""
        session = self.state.sessions.get(meter.session)
        if session is None or session.buyer or not session.tariff.priced_as(meter.tariff):
            return False
        return session.open and session.low and not session.ending
