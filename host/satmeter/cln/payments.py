"""Paying an invoice, once, and what became of it.

Over a channel with the payee itself a payment is one HTLC of which all is known: by sendpay a node makes more of them a
second than by xpay, which matters to whoever pays all day. Everything else is xpay's: routes, parts, and what a direct
HTLC could not do.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pyln.client import RpcError

from ..core.errors import NodeTrouble
from .node import Node, code_of, words_of
from .turns import Turns

log = logging.getLogger("satmeter")

PAY_REJECTED = 203
PAY_FAILED_ON_THE_WAY = 209
XPAY_LEARNED = "layer xpay says"
"""In the words of a payment that found no route only because of what xpay had learned from earlier failures."""
CHANNEL_FULL = ("already reserved", "Too many HTLCs")
"""In the words of one that found no room: payments under way hold it (205), or the channel is full (204, 209)."""
BEGUN_S = 1.0
"""After so long the node knows of a payment that was asked for just before we died."""
POLL_FIRST_S, POLL_MOST_S = 0.2, 5.0
TRIES = 8
"""Tries after failures on the way, or of a payment that finds no room though none of ours is under way: for about five
seconds, since a meter's grace may not be much longer."""
CHANNEL_S = 30.0
"""How long a channel that was found is used without another look, unless it fails."""
SPARE_BLOCKS = 1
"""The payee may have seen a block that we have not; xpay counts it neither against maxdelay."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the node says of a payment hash. status: complete, pending, failed or none."""

    status: str
    sent_msat: int = 0
    amount_msat: int = 0


@dataclass(frozen=True, slots=True)
class LastHop:
    """What an HTLC to the payee itself has to carry, as the invoice says: amount, payment secret, final CLTV delta."""

    amount_msat: int
    secret: str
    delay: int


class Payments:
    """Of one node. Any thread may call; each payment blocks its own."""

    def __init__(self, node: Node):
        self._node = node
        self._turns = Turns()
        self._channels: dict[str, tuple[str, float]] = {}

    def outcome(self, payment_hash: str) -> Outcome:
        """Return what became of a payment. One hash can have failed tries beside the complete one.

        By listsendpays: listpays can show the failed try of sendpay as pending once xpay has paid the same hash.
        """
        try:
            tries = self._node.call("listsendpays", payment_hash=payment_hash)["payments"]
        except RpcError as e:
            raise NodeTrouble(f"listsendpays: {words_of(e)}") from e  # not knowing is no outcome: it is asked again
        for status in ("complete", "pending", "failed"):
            parts = [t for t in tries if t["status"] == status]
            if parts:
                sent, amount = (sum(int(t.get(key, 0)) for t in parts) for key in ("amount_sent_msat", "amount_msat"))
                return Outcome(status, sent, amount)
        return Outcome("none")

    def pay(
        self,
        payee: str,
        bolt11: str,
        payment_hash: str,
        maxfee_msat: int,
        maxdelay: int,
        amount_msat: int | None = None,
        fresh: bool = False,
        last: LastHop | None = None,
        may: Callable[[], bool] = lambda: True,
    ) -> tuple[Outcome, str]:
        """Pay and return the outcome, with the error's words where it failed.

        Never pays twice: what the node knows as complete or pending stands (a `fresh` hash it can't know), and the node
        takes no second payment of a hash while one is under way. An error of a call decides nothing; the outcome does.
        Blocks while an HTLC is held, however long: giving up on a payment that may still settle would free money that
        is not free. `amount_msat` only for an invoice without one; `last` allows a direct HTLC. `may` is asked before
        each try: when it is False, there is none.
        """
        if not fresh and self.outcome(payment_hash).status in ("complete", "pending"):
            return self._landed(payment_hash), ""
        if not bolt11:
            time.sleep(BEGUN_S)
            return self._landed(payment_hash), "the payment was not begun"
        params: dict[str, Any] = {"invstring": bolt11, "maxfee": maxfee_msat, "maxdelay": maxdelay}
        if amount_msat is not None:
            params["amount_msat"] = amount_msat
        paid, why = self._tried(payee, params, payment_hash, last, may)
        return paid or self._landed(payment_hash), why

    def _tried(
        self,
        payee: str,
        params: dict[str, Any],
        payment_hash: str,
        last: LastHop | None,
        may: Callable[[], bool],
    ) -> tuple[Outcome | None, str]:
        """Return the outcome, or None with the error that ended it."""
        tries, aged = TRIES, False
        with self._turns.turn(payee) as turn:
            while True:
                channel = ""
                if not may():
                    return None, "it is no longer ours to send"
                try:
                    if last is not None:
                        channel = self._channel(payee, last.amount_msat)
                    if channel and last is not None:
                        return self._direct(payee, channel, params["invstring"], payment_hash, last), ""
                    return self._xpay(params), ""
                except RpcError as e:
                    code, why = code_of(e), words_of(e)
                full = any(words in why for words in CHANNEL_FULL)
                if channel and not full:
                    self._channels.pop(payee, None)
                    last = None  # xpay may find another way
                    if code == PAY_REJECTED:
                        return None, why
                elif XPAY_LEARNED in why and not aged:
                    self._unlearn()
                    aged = True
                elif not tries or not (full or code == PAY_FAILED_ON_THE_WAY):
                    return None, why
                elif not (turn.again() and full):
                    tries -= 1

    def _direct(self, payee: str, channel: str, bolt11: str, payment_hash: str, last: LastHop) -> Outcome:
        hop = {"id": payee, "channel": channel, "amount_msat": last.amount_msat, "delay": last.delay + SPARE_BLOCKS}
        sent: dict[str, Any] = {"payment_hash": payment_hash, "amount_msat": last.amount_msat}
        self._node.call("sendpay", route=[hop], payment_secret=last.secret, bolt11=bolt11, **sent)
        done = self._node.call("waitsendpay", payment_hash=payment_hash)
        return Outcome("complete", int(done["amount_sent_msat"]), int(done["amount_msat"]))

    def _xpay(self, params: dict[str, Any]) -> Outcome:
        done = self._node.call("xpay", **params)
        return Outcome("complete", int(done["amount_sent_msat"]), int(done["amount_msat"]))

    def _channel(self, payee: str, amount_msat: int) -> str:
        """Return a channel with the payee that can carry the amount, or nothing; a look at it costs more than it tells
        from one payment to the next."""
        now = time.monotonic()
        found, until = self._channels.get(payee, ("", 0.0))
        if now < until:
            return found
        fit = [
            c
            for c in self._node.call("listpeerchannels", id=payee)["channels"]
            if c["state"] == "CHANNELD_NORMAL" and c["peer_connected"] and c.get("short_channel_id")
        ]
        fit = [c for c in fit if c["minimum_htlc_out_msat"] <= amount_msat <= c["maximum_htlc_out_msat"]]
        best = max(fit, key=lambda c: int(c["spendable_msat"]), default=None)
        found = best["short_channel_id"] if best is not None and best["spendable_msat"] >= amount_msat else ""
        self._channels[payee] = found, now + CHANNEL_S
        return found

    def _unlearn(self) -> None:
        """Have xpay forget what it took from failures: a peer's restart, taken for a lack of capacity, would keep a
        channel that is fine from being used for an hour."""
        try:
            self._node.call("askrene-age", layer="xpay", cutoff=int(time.time()) + 1)
        except RpcError as e:
            log.warning("xpay's layer can't be aged: %s", words_of(e))

    def _landed(self, payment_hash: str) -> Outcome:
        wait = POLL_FIRST_S
        while (outcome := self.outcome(payment_hash)).status == "pending":
            time.sleep(wait)
            wait = min(POLL_MOST_S, wait * 2)
        return outcome
