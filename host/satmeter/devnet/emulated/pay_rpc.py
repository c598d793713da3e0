"""The RPC methods of an emulated node by which it pays, as in methods.py, and those by which payments go wrong."""

import json
import queue
import threading
import time
from collections.abc import Callable

from ...core.plain import JsonObject, Plain
from . import errors as err
from . import invoices, offers
from .chain_rpc import ChainNode
from .channels import Faults, Hop
from .errors import RpcFault, expired
from .htlcs import UNKNOWN_DETAILS, Htlc
from .pays import Part


class PayingNode(ChainNode):
    """A node that pays over its network's channels."""

    def rpc_xpay(
        self,
        invstring: str,
        amount_msat: object = None,
        maxfee: object = None,
        layers: object = None,
        retry_for: int = 60,
        partial_msat: object = None,
        maxdelay: int = 2016,
        label: str | None = None,
    ) -> Plain:
        """Answers CLN's `xpay`: pays a BOLT 11 invoice, in parts where no route carries all of it.

        It answers when the first part is settled, and raises when the first part has failed; other
        parts may be pending then. `amount_msat` is for invoices without an amount only. `maxfee` is in
        msat; None means 1 %, but at least 5,000 msat. `maxdelay` is in blocks. `layers`, `retry_for`,
        `partial_msat` and `label` have no effect.

        Raises:
            RpcFault: -32602 for a bad invoice or amount, -3 if the hash is being paid or was paid with
                another amount, 203 if the payee refuses, 204 if a hop fails, 205 without a route, 206
                if it costs too much or takes too many blocks, 207 if the invoice has expired, 209 for a
                fault on demand, 219 if it is paid already.
        """
        if invstring.lower().startswith(f"{offers.OFFER}1"):
            invstring, amount_msat = self._fetched_to_pay(invstring, amount_msat), None
        fetched = invstring.lower().startswith(f"{offers.INVOICE}1")
        found = offers.payable(invstring) if fetched else invoices.decode(invstring)
        given = found.get("amount_msat")
        if (given is None) == (amount_msat is None):
            raise RpcFault(err.INVALID_PARAMS, "amount_msat: needed exactly where the invoice has none")
        amount = given if given is not None else msat_of("amount_msat", amount_msat)
        limit = max(5000, amount // 100) if maxfee is None else msat_of("maxfee", maxfee)
        if time.time() > found["created_at"] + found["expiry"]:
            raise expired()
        if maxdelay < found["min_final_cltv_expiry"]:
            raise RpcFault(err.PAY_TOO_COSTLY, f"Could not find route without excessive delays (maxdelay {maxdelay})")
        routes = self._routes(found["payee"], amount, limit, found["payment_hash"])
        ended: queue.SimpleQueue[str | RpcFault] = queue.SimpleQueue()
        for hops, part in zip(routes, self._begun(found, routes, amount, invstring)):
            htlc = Htlc(part.hash, part.amount, amount, found["payment_secret"])
            threading.Thread(target=self._send, args=(hops, part, htlc, ended.put), daemon=True).start()
        # As soon as one part has settled it is paid, and as soon as one can't be it is lost, whatever the others do.
        came = ended.get()
        if isinstance(came, RpcFault):
            raise came
        return {
            "payment_preimage": came,
            "amount_msat": amount,
            "amount_sent_msat": sum(hops[0].amount for hops in routes if hops) or amount,
            "failed_parts": 0,
            "successful_parts": len(routes),
        }

    def _fetched_to_pay(self, offer: str, amount_msat: object) -> str:
        """Fetches the invoice of an offer, as xpay does."""
        fixed = offers.read(offer)[1]["amount"]
        if fixed is None and amount_msat is None:
            raise RpcFault(err.INVALID_PARAMS, "Must specify amount for this offer")
        asked = msat_of("amount_msat", amount_msat) if amount_msat is not None else fixed
        if fixed is not None and asked != fixed:
            said = f"Offer amount is {fixed}msat, you tried to pay {asked}msat"
            raise RpcFault(err.INVALID_PARAMS, said)
        return str(self.rpc_fetchinvoice(offer, asked)["invoice"])

    def rpc_fetchinvoice(self, offer: str, amount_msat: object = None, payer_note: str = "") -> Plain:
        """Answers CLN's `fetchinvoice`: asks the offer's node, which has to be up.

        Raises RpcFault -32602 for no offer, or without the amount that it lacks; 1005 if the node is
        away; 1004 with its reason if it gives none."""
        kind, said = offers.read(offer)
        if kind != offers.OFFER:
            raise RpcFault(err.INVALID_PARAMS, "offer: Unparsable offer")
        if said["amount"] is None and amount_msat is None:
            raise RpcFault(err.INVALID_PARAMS, "amount_msat parameter required")
        amount = msat_of("amount_msat", amount_msat) if amount_msat is not None else int(said["amount"])
        node = self.network.nodes.get(said["node"])
        if node is None or not node.up.is_set():
            raise RpcFault(err.OFFER_TIMEOUT, "Timeout waiting for response")
        return {"invoice": node.give_invoice(said["id"], amount, payer_note).bolt11, "changes": {}}

    def _begun(self, found: invoices.Decoded, routes: list[list[Hop]], amount: int, bolt11: str) -> list[Part]:
        """Begin the parts of a payment by xpay, whose routes are locked; they are unlocked where it is refused."""
        group, begun = self.pays.group(), []
        payee, payment_hash = found["payee"], found["payment_hash"]
        try:
            for n, hops in enumerate(routes, 1):
                arrives, leaves = (hops[-1].amount, hops[0].amount) if hops else (amount, amount)
                part = self.pays.begin(payment_hash, payee, arrives, leaves, bolt11, group, n)
                if part.status == "complete":
                    raise RpcFault(err.PAY_ALREADY_PAID, "Already paid this invoice successfully")
                begun.append(part)
        except RpcFault as error:
            for part in begun:
                self.pays.drop(part)
            for hops in routes:
                self.network.channels.close(hops, settle=False)
            raise _by_xpay(error) from None
        return begun

    def _routes(self, payee: str, amount: int, maxfee: int, payment_hash: str) -> list[list[Hop]]:
        """Return routes for all of an amount that is locked in them: one if it can be."""
        channels = self.network.channels
        try:
            hops = channels.route(self.id, payee, amount, maxfee)
        except RpcFault as error:
            if self.id == payee or error.code == err.PAY_TOO_COSTLY:
                raise
            return channels.split(self.id, payee, amount, maxfee, payment_hash)
        try:
            channels.offer(hops, payment_hash)
        except RpcFault:
            # Askrene counts what it has reserved for payments under way, before the channel itself says a word.
            scid = hops[0].channel.scid
            said = f"We could not find a usable set of paths. {scid}/0 already reserved {amount}msat by command"
            raise RpcFault(err.PAY_NO_ROUTE, said) from None
        return [hops]

    def _send(self, hops: list[Hop], part: Part, htlc: Htlc, told: Callable[[str | RpcFault], object]) -> None:
        """Carry an offered part of a payment to its end."""
        try:
            preimage = self.network.channels.carry(hops, self.network.nodes, htlc, self.id)
        except RpcFault as error:
            self.pays.end(part, None, _by_sendpay(error))
            told(error)
        else:
            self.pays.end(part, preimage)
            told(preimage)

    def rpc_sendpay(
        self,
        route: list[JsonObject],
        payment_hash: str,
        payment_secret: str | None = None,
        bolt11: str | None = None,
        amount_msat: object = None,
    ) -> Plain:
        """Answers CLN's `sendpay`: begins a payment over a given route, and answers before it ends.

        If the payment is complete already, with the same amount, the answer is its row.

        Args:
            route: The hops, each with channel, id of its end, and amount_msat; the last amount reaches
                the payee.
            payment_hash: Of the invoice, in hex.
            payment_secret: Of the invoice, in hex; without it the payee refuses.
            bolt11: The invoice, kept for the rows of listpays and listsendpays.
            amount_msat: No effect; the amounts of the route count.

        Raises:
            RpcFault: 200 if the hash is being paid; 201 if it has been paid with another amount or by
                other parts; 204 if a channel is unknown or the first peer is not connected. Later
                failures are for waitsendpay.
        """
        by_scid = {each.scid: each for each in self.network.channels.all}
        hops, at = [], self.id
        for part in route:
            if part["channel"] not in by_scid:
                raise RpcFault(err.PAY_FAILED_ON_ROUTE, "No connection to first peer found")
            hops.append(Hop(by_scid[part["channel"]], at, msat_of("amount_msat", part["amount_msat"])))
            at = part["id"]
        begun = self.pays.begin(payment_hash, at, hops[-1].amount, hops[0].amount, bolt11)
        told = self.pays.told(begun)
        if begun.status == "complete":
            return told
        if hops[0].channel.other(self.id) not in self.peers:
            self.pays.drop(begun)
            raise RpcFault(err.PAY_FAILED_ON_ROUTE, "failed: WIRE_TEMPORARY_CHANNEL_FAILURE (First peer not ready)")
        try:
            self.network.channels.offer(hops, payment_hash)
        except RpcFault as error:
            self.pays.end(begun, None, _by_sendpay(error))  # heard by who waits for it
            return told
        htlc = Htlc(payment_hash, hops[-1].amount, hops[-1].amount, payment_secret)
        threading.Thread(target=self._send, args=(hops, begun, htlc, lambda came: None), daemon=True).start()
        return told

    def rpc_waitsendpay(self, payment_hash: str, timeout: float | None = None) -> Plain:
        """Answers CLN's `waitsendpay`; `timeout` is in seconds, None waits without end.

        It waits for the newest sendpay of the hash. Raises RpcFault 200 after the timeout, 208 if there
        was none, else the error of the payment."""
        return self.pays.wait(payment_hash, timeout)

    def rpc_listpays(self, bolt11: str | None = None, payment_hash: str | None = None) -> Plain:
        """Answers CLN's `listpays`: a row for each payment hash, with sums of its parts in msat."""
        return {"pays": self.pays.rows(bolt11, payment_hash)}

    def rpc_listsendpays(self, bolt11: str | None = None, payment_hash: str | None = None) -> Plain:
        """Answers CLN's `listsendpays`: a row for each part of each try, in msat."""
        return {"payments": self.pays.tries(bolt11, payment_hash)}

    # only here: faults on demand

    def rpc_emulate_fault(
        self, latency_ms: int = 0, fail: int = 0, hang: int = 0, settle: bool = True, hold: int = 0
    ) -> Plain:
        """Sets what goes wrong with payments to this node, in place of what was set before.

        Payments that hang from before are released. A payment to itself has no fault.

        Args:
            latency_ms: Delay of every part of a payment, in ms.
            fail: How many of the next parts fail.
            hang: How many of the next parts wait for emulate-release.
            settle: True: parts that hang are settled on release; False: they fail then.
            hold: How many of the next HTLCs wait for emulate-part.
        """
        self.faults.released.set()
        self.faults = Faults(latency_ms / 1000, fail, hang, settle)
        self.htlcs.hold = hold
        return {"latency_ms": latency_ms, "fail": fail, "hang": hang, "settle": settle, "hold": hold}

    def rpc_emulate_held(self) -> Plain:
        """Return the amounts of the parts that are held, the one that came first in front."""
        return {"held": [each.htlc.amount for each in self.htlcs.held]}

    def rpc_emulate_part(self, n: int, answer: str, preimage: str = "") -> Plain:
        """Let go of held part `n`: "continue", "fail", or "resolve" with a preimage, whatever the invoice says."""
        held = self.htlcs.held.pop(int(n))
        held.answer = {"result": answer, "payment_key": preimage, "failure_message": UNKNOWN_DETAILS}
        held.answered.set()
        return {}

    def rpc_emulate_lose_htlcs(self) -> Plain:
        """Lose the HTLCs of this node's channels, as a kill of lightningd can: its payments stay pending."""
        lost = 0
        for channel in self.network.channels.of(self.id):
            lost += len(channel.on_way)
            channel.on_way = []
        return {"lost": lost}

    def rpc_emulate_release(self) -> Plain:
        """Let go of the payments that hang."""
        self.faults.released.set()
        return {}


def _by_xpay(error: RpcFault) -> RpcFault:
    """Return what xpay makes of lightningd's refusal to begin a part."""
    if error.code == err.PAY_ALREADY_PAID:
        return error
    said = json.dumps({"code": error.code, "message": error.message}, separators=(",", ":"))
    return RpcFault(err.PAY_IN_PROGRESS, f"Unexpected injectpaymentonion error {error.code}: {said}")


def _by_sendpay(error: RpcFault) -> RpcFault:
    """Return what who waits for a sendpay hears: the channel's or the payee's words."""
    if error.code == err.PAY_REJECTED:
        return RpcFault(error.code, f"failed: WIRE_INCORRECT_OR_UNKNOWN_PAYMENT_DETAILS ({error.message})")
    return RpcFault(err.PAY_FAILED_ON_ROUTE, f"failed: WIRE_TEMPORARY_CHANNEL_FAILURE ({error.message})")


def msat_of(name: str, value: object) -> int:
    """Returns an amount in msat, given as a number or as text such as 1000msat.

    Raises RpcFault -32602 with the parameter's name for anything else."""
    text = str(value).removesuffix("msat")
    if not text.isdecimal():
        raise RpcFault(err.INVALID_PARAMS, f"{name}: should be a millisatoshi amount: invalid token '{value}'")
    return int(text)
