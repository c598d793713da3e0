"""Asks the node every quarter of an hour what a bitcoin is worth in the operator's currency, and records it."""

import logging
import threading
import time
from collections.abc import Callable

from ..core.errors import BadParam, NodeTrouble, SatmeterError
from ..journal.rates import StoredRate
from ..journal.store import Journal
from ..node.currency import per_btc
from ..node.rpc import Node

log = logging.getLogger("satmeter.plugin")

EVERY_S, AGAIN_S = 900, 60


def currency(name: str, given: str) -> str:
    """Return a currency's three letters, "" for none; BadParam that names the option for anything else."""
    if given and not (len(given) == 3 and given.isascii() and given.isalpha()):
        raise BadParam(f"{name}: must be a currency's three letters, such as EUR, got {given!r}", param=name)
    return given.upper()


class Recorder:
    """Records the rate of one currency as long as the plugin runs."""

    def __init__(self, node: Node, currency: str, source: str, journal: Callable[[], Journal | None]):
        """`source`: who tells the rate, for the record. `journal`: the journal that is open now."""
        self._node, self._currency, self._source, self._journal = node, currency, source, journal
        self._trouble = ""

    def start(self) -> None:
        """Begin, in a thread of its own."""
        threading.Thread(target=self._run, name="satmeter-fiat", daemon=True).start()

    def _run(self) -> None:
        while True:
            time.sleep(EVERY_S if self.record() else AGAIN_S)

    def record(self) -> bool:
        """Record the present rate; returns whether it is on record."""
        try:
            found = per_btc(self._node, self._currency)
            journal = self._journal()
            if journal is None:
                return False
            journal.add_rate(StoredRate(int(time.time() * 1000), self._currency, found, self._source))
        except (NodeTrouble, SatmeterError) as error:
            if str(error) != self._trouble:  # once, not every minute for as long as a node is too old to know any rate
                log.warning("sums in money will lack a rate: %s", error)
            self._trouble = str(error)
            return False
        self._trouble = ""
        return True
