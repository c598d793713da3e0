"""Paying an invoice, once, and what became of it.

Over a channel with the payee itself a payment is one HTLC of which all is known: by sendpay a node makes more of them a
second than by xpay, which matters to whoever pays all day. Everything else is xpay's: routes, parts, and what a direct
HTLC could not do.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pyln.client import RpcError

from ..core.errors import NodeTrouble
from ..core.plain import JsonObject
from .one_each import OneEach
from .payment_queue import PaymentQueue
from .rpc import Node, code_of, words_of

log = logging.getLogger("satmeter")

PAY_REJECTED = 203
PAY_FAILED_ON_THE_WAY = 209
KNOWN = (200, 201, 218, 219)
"""In progress, the hash was used already, paid already (218 before 26.06): the node had begun to pay it before."""
XPAY_KNEW = tuple(f"injectpaymentonion error {code}" for code in KNOWN)
"""xpay says those of lightningd in its words, under a number of its own (-3)."""
XPAY_LEARNED = "layer xpay says"
"""In the words of a payment that found no route only because of what xpay had learned from earlier failures."""
CHANNEL_FULL = ("already reserved", "Too many HTLCs")
"""In the words of one that found no room: payments under way hold it (205), or the channel is full (204, 209)."""
RETRY_FOR_S = 10
"""For so long xpay looks for a way, and for another one after a failure: also after we died, or lost the node."""
BEGUN_S = RETRY_FOR_S + 5.0
"""After so long nothing more is begun of a payment that was asked for just before: until then, that the node knows of
none, or only of failed parts, is no outcome."""
POLL_FIRST_S, POLL_MOST_S, POLL_BEGUN_S = 0.2, 5.0, 0.5
TRIES = 8
"""Tries after failures on the way, or of a payment that finds no room though none of ours is under way: for about five
seconds, since a meter's grace may not be much longer."""
CHANNEL_S = 30.0
"""How long a channel that was found is used without another look, unless it fails."""
SPARE_BLOCKS = 1
"""The payee may have seen a block that we have not."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the node states of a payment hash: a status, and the sums of its parts in msat.

    `status` is complete, pending, failed or none. From pay() alone it may be known: the node had paid
    this hash, or was paying it, before we first asked, so that nothing of it is ours.

    A payment has parts. While one can still settle it is pending, and its sums are of all parts that
    did or still can: `sent_msat` with fees, `amount_msat` without."""

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
    """The payments of one node. Any thread may call; each payment blocks its own."""

    def __init__(self, node: Node, node_was_there: bool = True):
        """`node_was_there`: the node ran before us, and may yet begin what was asked for then."""
        self._node = node
        self._turns = PaymentQueue()
        self._channels: dict[str, tuple[str, float]] = {}
        self._begins_until = time.monotonic() + (BEGUN_S if node_was_there else 0.0)
        self._one_each = OneEach()
        self._tried_again: set[str] = set()
        """Hashes whose payment met a node that was away: who asked for it asks again, with the invoice."""

    def outcome(self, payment_hash: str) -> Outcome:
        """Return what became of a payment. One hash can have failed tries beside the complete one.

        By listsendpays: listpays can show the failed try of sendpay as pending once xpay has paid the same hash.
        """
        return _outcome(self._parts(payment_hash))

    def _parts(self, payment_hash: str) -> list[JsonObject]:
        try:
            found: list[JsonObject] = self._node.call("listsendpays", payment_hash=payment_hash)["payments"]
        except RpcError as error:
            # Not knowing is no outcome: it is asked again.
            raise NodeTrouble(f"listsendpays: {words_of(error)}") from error
        return found

    def stuck(self, payment_hash: str) -> str:
        """Return "" where the node calls a payment pending and has no HTLC of it; else why it is not stuck."""
        status = self.outcome(payment_hash).status
        if status != "pending":
            return f"the node says that it is {status}"
        for channel in self._node.call("listpeerchannels")["channels"]:
            for htlc in channel["htlcs"]:
                if htlc["direction"] == "out" and htlc["payment_hash"] == payment_hash:
                    scid = channel.get("short_channel_id", channel.get("channel_id", "?"))
                    return f"an HTLC of it is out in channel {scid}: it settles or comes back by block {htlc['expiry']}"
        return ""

    def pay(
        self,
        payee: str,
        bolt11: str,
        payment_hash: str,
        maxfee_msat: int,
        maxdelay: int,
        amount_msat: int | None = None,
        fresh: bool = False,
        again: bool = True,
        last: LastHop | None = None,
        may: Callable[[], bool] = lambda: True,
    ) -> tuple[Outcome, str]:
        """Pay and return the outcome, with the error's words where it failed.

        Never pays twice: what the node knows as complete or pending stands, and the node takes no second payment of a
        hash while one is under way. A `fresh` hash was never asked for by us: where the node knows it all the same, the
        outcome is known. One that is not asked for `again` has no earlier call that may begin late, and waits for none.
        An error of a call decides nothing; the outcome does. Blocks while an HTLC is held, however
        long: giving up on a payment that may still settle would free money that is not free. `amount_msat` only for an
        invoice without one; `last` allows a direct HTLC. `may` is asked before each try: when it is False, there is
        none. A second call for a hash waits for the first one, and then learns what became of it.
        """
        with self._alone(payment_hash, bolt11):
            if not fresh and self.begun(payment_hash, again):
                return landed(self.outcome, payment_hash), ""
            if not bolt11:
                return self.outcome(payment_hash), "the payment was not begun"
            params: JsonObject = {
                "invstring": bolt11,
                "maxfee": maxfee_msat,
                "maxdelay": maxdelay,
                "retry_for": RETRY_FOR_S,
            }
            if amount_msat is not None:
                params["amount_msat"] = amount_msat
            if last is not None and last.delay + SPARE_BLOCKS > maxdelay:
                last = None
            since, begun = time.time(), time.monotonic()
            try:
                paid, why = self._tried(payee, params, payment_hash, last, may)
            except NodeTrouble:
                self._begins_until = time.monotonic() + BEGUN_S
                raise
            since = min(since, time.time() - (time.monotonic() - begun))  # the clock may have been set back meanwhile
            if fresh and (_is_known(paid) or (why and self._older(payment_hash, paid, int(since)))):
                return Outcome("known"), why or "the node paid this payment hash before"
            return (landed(self.outcome, payment_hash) if paid is None or _is_known(paid) else paid), why

    @contextmanager
    def _alone(self, payment_hash: str, bolt11: str) -> Iterator[None]:
        """Lets one thread at a time pay or find the payment of a hash.

        NodeTrouble for a call without an invoice whose payment another thread of ours tries again."""
        with self._one_each.of(payment_hash):
            if not bolt11 and payment_hash in self._tried_again:
                raise NodeTrouble("the payment of this hash is tried again by another thread of ours")
            try:
                yield
            except NodeTrouble:
                if bolt11:
                    self._tried_again.add(payment_hash)
                raise
            self._tried_again.discard(payment_hash)

    def begun(self, payment_hash: str, again: bool) -> bool:
        """Returns whether a payment is under way or complete, after a wait for one that may just begin.

        The node may begin late what was asked for just before we started, or before the node was lost for
        a moment: up to BEGUN_S are waited, for what may have been asked for before. A node that has
        started with us begins nothing more: what it had begun stands in its database."""
        while self.outcome(payment_hash).status not in ("complete", "pending"):
            wait = self._begins_until - time.monotonic()
            if wait <= 0 or not again:
                return False
            time.sleep(min(wait, POLL_BEGUN_S))
        return True

    def _older(self, payment_hash: str, paid: Outcome | None, since: int) -> bool:
        """Returns whether the payment of a hash was begun before `since` (s since 1970).

        It matters only where no answer shows which payment it is: xpay may find no route, or the
        invoice expired, before it looks whether the hash was paid."""
        if paid is not None:
            return False
        return any(part["status"] != "failed" and int(part["created_at"]) < since for part in self._parts(payment_hash))

    def _tried(
        self,
        payee: str,
        params: JsonObject,
        payment_hash: str,
        last: LastHop | None,
        may: Callable[[], bool],
    ) -> tuple[Outcome | None, str]:
        """Return the outcome, or None where only the node can tell it, with the error that ended it."""
        tries, aged, first = TRIES, False, True
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
                except RpcError as error:
                    code, why = code_of(error), words_of(error)
                if first and (code in KNOWN or any(words in why for words in XPAY_KNEW)):
                    return Outcome("known"), why
                first = False
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
        sent: JsonObject = {"payment_hash": payment_hash, "amount_msat": last.amount_msat}
        begun = self._node.call("sendpay", route=[hop], payment_secret=last.secret, bolt11=bolt11, **sent)
        if begun["status"] == "complete":
            return Outcome("known")  # of an earlier sendpay, since ours begins as pending
        done = self._node.call("waitsendpay", payment_hash=payment_hash)
        return Outcome("complete", int(done["amount_sent_msat"]), int(done["amount_msat"]))

    def _xpay(self, params: JsonObject) -> Outcome | None:
        """Pays by xpay; returns None where the node has to be asked for the outcome.

        That is so for several parts: xpay answers as soon as one of them has settled, as if all had."""
        done = self._node.call("xpay", **params)
        if done.get("successful_parts") != 1:
            return None
        return Outcome("complete", int(done["amount_sent_msat"]), int(done["amount_msat"]))

    def _channel(self, payee: str, amount_msat: int) -> str:
        """Returns the short id of a channel to the payee that can carry the amount, "" for none.

        The answer is kept for CHANNEL_S, since a look at channels costs more than it is worth for each
        payment."""
        now = time.monotonic()
        found, until = self._channels.get(payee, ("", 0.0))
        if now < until:
            return found
        fit = [
            channel
            for channel in self._node.call("listpeerchannels", id=payee)["channels"]
            if channel["state"] == "CHANNELD_NORMAL" and channel["peer_connected"] and channel.get("short_channel_id")
        ]
        fit = [each for each in fit if each["minimum_htlc_out_msat"] <= amount_msat <= each["maximum_htlc_out_msat"]]
        best = max(fit, key=lambda c: int(c["spendable_msat"]), default=None)
        found = best["short_channel_id"] if best is not None and best["spendable_msat"] >= amount_msat else ""
        self._channels[payee] = found, now + CHANNEL_S
        return found

    def _unlearn(self) -> None:
        """Has xpay forget what it learned from failures (askrene-age of layer xpay).

        It takes the restart of a peer for a lack of capacity, and would not use that channel for an
        hour."""
        try:
            self._node.call("askrene-age", layer="xpay", cutoff=int(time.time()) + 1)
        except RpcError as error:
            log.warning("xpay's layer can't be aged: %s", words_of(error))


def landed(outcome_of: Callable[[str], Outcome], payment_hash: str) -> Outcome:
    """Returns the outcome of a payment once no part of it is pending; waits as long as that takes.

    The node answers with the preimage while parts of the payment are still pending. Only its list of
    payments (listsendpays) shows how much left the node."""
    wait = POLL_FIRST_S
    while (outcome := outcome_of(payment_hash)).status == "pending":
        time.sleep(wait)
        wait = min(POLL_MOST_S, wait * 2)
    return outcome


def fee_cap(amount_msat: int) -> int:
    """Returns the default cap of a payment's routing fee, in msat: 1 % of it, at least 1 sat."""
    return max(1000, amount_msat // 100)


def _outcome(parts: list[JsonObject]) -> Outcome:
    live = [part for part in parts if part["status"] != "failed"]
    if not live:
        return Outcome("failed" if parts else "none")
    sent, amount = (sum(int(each.get(key, 0)) for each in live) for key in ("amount_sent_msat", "amount_msat"))
    return Outcome("pending" if any(one["status"] == "pending" for one in live) else "complete", sent, amount)


def _is_known(paid: Outcome | None) -> bool:
    return paid is not None and paid.status == "known"
