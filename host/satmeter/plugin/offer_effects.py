"""The standing offers (BOLT 12) of a seller's node: made, found, and switched on and off."""

import threading
from collections.abc import Callable

from pyln.client import RpcError

from ..core import commands as cmd
from ..core import effects as do
from ..core.errors import NodeTrouble, SatmeterError
from ..core.labels import PREFIX
from ..core.seller.seller import Seller
from ..node.rpc import Node, words_of
from .runtime import Answer, Runtime

Told = Callable[[str | SatmeterError], None]
"""Takes the id of an offer, or why there is none."""


class OfferEffects:
    """Any thread may call. `ids`: all offers that a seller's plugin ever made on this node, this journal's or not."""

    def __init__(self, node: Node, runtime: Runtime[Seller]):
        self._node, self._runtime, self._lock = node, runtime, threading.Lock()
        self._asked: dict[str, list[Told]] = {}
        self.ids = {each.offer_id for each in node.offers(f"{PREFIX}/")}

    def wait_for(self, label: str, told: Told) -> None:
        """Have `told` called once the offer of a label is made and recorded, or can't be."""
        self._asked.setdefault(label, []).append(told)

    def make(self, effect: do.MakeOffer) -> None:
        """Makes an offer, or finds the one of this label: each that the node makes is another."""
        asked: list[Callable[[str | SatmeterError], None]] = []
        try:
            with self._lock:  # who asks meanwhile finds what the first one made
                known = [each for each in self._node.offers(effect.label) if each.label == effect.label]
                found = (
                    known[0]
                    if known
                    else self._node.make_offer(effect.label, effect.amount_msat, f"satmeter {effect.meter}")
                )
        except (RpcError, NodeTrouble) as error:
            why = words_of(error)
            for told in self._asked.pop(effect.label, asked):
                told(NodeTrouble(f"the node makes no offer: {why}"))
            return
        self.ids |= {found.offer_id}

        def recorded(answer: Answer) -> None:
            for told in self._asked.pop(effect.label, asked):
                told(answer if isinstance(answer, SatmeterError) else found.offer_id)

        made = cmd.OfferMade(
            meter=effect.meter,
            amount_msat=effect.amount_msat,
            offer_id=found.offer_id,
            bolt12=found.bolt12,
            active=found.active,
        )
        self._runtime.post(made, recorded)

    def switch(self, effect: do.SwitchOffer) -> None:
        """Has the node give invoices for an offer, or not."""
        self._runtime.post(
            cmd.OfferSwitched(offer_id=effect.offer_id, active=self._node.switch_offer(effect.offer_id, effect.active))
        )
