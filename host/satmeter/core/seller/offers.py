"""Offers (BOLT 12): a meter's standing ones, which the node answers while the meter can deliver.

The node makes the invoices of an offer without asking us: the first that we hear of one is its payment. So an offer is
recorded before anybody is given it, what arrives for one is a wallet's payment like any other, and what can't be
delivered is refused by the invoice_payment hook, also where the offer was fetched while it could.
"""

from .. import commands as cmd
from .. import effects as do
from ..errors import BadParam
from ..labels import offer_label
from ..settlement.rules import rules_of
from . import events as ev
from .context import NODE_RETRY_MS, Part
from .meter import Meter
from .offer import Offer


class Offers(Part):
    """The offers of all meters, by the node's offer_id."""

    def ask(self, command: cmd.AskOffer) -> tuple[str, str]:
        """Asks the node for an offer, or changes whether one is wanted.

        Returns the label that the node's answer names, "" where nothing has to be asked, and the offer_id where it is
        known.

        Raises:
            BadParam: The meter sells nothing to a plain wallet, the amount is out of bounds, or none is there to end.
        """
        meter = self.state.meter(command.meter)
        known = self._known(meter, command.amount_msat)
        if not command.active and known is None:
            raise BadParam(f"amount_msat: meter {meter.name} has no offer of that amount", param="amount_msat")
        if known is None:
            self._check(meter, command.amount_msat)
            label = offer_label(self.context.journal, meter.name, command.amount_msat)
            self.act(do.MakeOffer(label=label, meter=meter.name, amount_msat=command.amount_msat))
            return label, ""
        for each in self._alike(meter, command.amount_msat):
            wanted = command.active and each == known  # an older copy of the journal may have led to another
            if self.state.offers[each].wanted != wanted:
                self.emit(ev.OfferWanted(at=self.now, subject=meter.subject, offer_id=each, wanted=wanted))
        self.look_after(meter)
        return "", known

    def _check(self, meter: Meter, amount_msat: int) -> None:
        tariff = meter.tariff
        if not tariff.prepaid or not rules_of(tariff).for_any_wallet:
            raise BadParam(f"name: meter {meter.name} sells nothing to a plain wallet", param="name")
        if amount_msat and not tariff.tick_msat <= amount_msat <= tariff.quantum_msat:
            bounds = f"from {tariff.tick_msat} (one tick) to {tariff.quantum_msat} (the quantum), or left out"
            raise BadParam(f"amount_msat: must be {bounds}, got {amount_msat}", param="amount_msat")

    def _alike(self, meter: Meter, amount_msat: int) -> list[str]:
        return [each for each in meter.offers if self.state.offers[each].amount_msat == amount_msat]

    def _known(self, meter: Meter, amount_msat: int) -> str | None:
        return next(iter(self._alike(meter, amount_msat)), None)

    def made(self, command: cmd.OfferMade) -> None:
        """Records an offer that the node has made, or had."""
        if command.meter not in self.state.meters:
            return
        meter = self.state.meter(command.meter)
        if command.offer_id not in self.state.offers:
            self.emit(
                ev.OfferAdded(
                    at=self.now,
                    subject=meter.subject,
                    offer_id=command.offer_id,
                    bolt12=command.bolt12,
                    amount_msat=command.amount_msat,
                )
            )
        self.state.offers[command.offer_id].memory.active = command.active
        self.look_after(meter)

    def switched(self, command: cmd.OfferSwitched) -> None:
        """The node says whether it gives invoices for an offer now."""
        offer = self.state.offers.get(command.offer_id)
        if offer is not None:
            offer.memory.active = command.active
            self.touch(f"meter/{offer.meter}")

    def look_after(self, meter: Meter) -> None:
        """Has the node answer a meter's offers while it can deliver, and not otherwise."""
        deliverable = not meter.undeliverable(self.now, self.limits.silent_ms)
        for offer_id in meter.offers:
            offer = self.state.offers[offer_id]
            self._switch(offer_id, offer, offer.wanted and deliverable)

    def end_all(self, meter: Meter) -> None:
        """The meter is removed: its offers are answered no more."""
        for offer_id in meter.offers:
            self.state.offers[offer_id].memory.asked = None
            self._switch(offer_id, self.state.offers[offer_id], False)

    def _switch(self, offer_id: str, offer: Offer, wanted: bool) -> None:
        memory = offer.memory
        again = memory.asked == wanted and self.now < memory.asked_at + NODE_RETRY_MS
        if memory.active != wanted and not again:
            memory.asked, memory.asked_at = wanted, self.now
            self.act(do.SwitchOffer(offer_id=offer_id, active=wanted))
