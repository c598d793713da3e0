"""Channels, routes and payments between emulated nodes: balances, reserve, fees, HTLC limits, and faults on demand.

A payment is: find a route, lock the amount in every channel of it (an HTLC each), ask the hooks of those on the way
and whatever the payee asks (htlcs.py), and settle or give back. All of it is in whole msat.
"""

import itertools
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from .errors import PAY_FAILED_ON_ROUTE, PAY_NO_ROUTE, PAY_TOO_COSTLY, PAY_UNSPECIFIED, RpcFault
from .htlcs import Htlc

if TYPE_CHECKING:
    from .node import Node

RESERVE_PERCENT = 1
BASE_FEE_MSAT, FEE_PPM = 1, 10


@dataclass(eq=False)
class Channel:
    """Balances by node id, in msat; `on_way` has the HTLCs that are locked, of either direction."""

    scid: str
    ids: tuple[str, str]
    total: int
    balance: dict[str, int]
    fee_base: int = BASE_FEE_MSAT
    fee_ppm: int = FEE_PPM
    htlc_minimum: int = 0
    max_htlcs: int = 483
    on_way: list["OnWay"] = field(default_factory=list)

    def other(self, node_id: str) -> str:
        """Returns the id of the node at the other end."""
        return self.ids[1] if self.ids[0] == node_id else self.ids[0]

    @property
    def reserve(self) -> int:
        """What each side has to keep in the channel, in msat: 1 % of its total."""
        return self.total * RESERVE_PERCENT // 100

    def spendable(self, node_id: str) -> int:
        """Returns what a node can send over the channel, in msat: its balance above the reserve."""
        return max(0, self.balance[node_id] - self.reserve)

    def fee(self, amount: int) -> int:
        """Returns the fee for forwarding `amount`, both in msat, rounded down (BOLT 7)."""
        return self.fee_base + amount * self.fee_ppm // 1_000_000


@dataclass
class Faults:
    """What goes wrong with payments to a node: latency of each, the next ones to fail, or to hang until released.

    `settle_on_release`: a hanging payment settles on release; else it fails then.
    """

    latency_s: float = 0.0
    fail: int = 0
    hang: int = 0
    settle_on_release: bool = True
    released: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class Hop:
    """One hop of a route: the node `source` sends `amount` msat over `channel`."""

    channel: Channel
    source: str
    amount: int


@dataclass(frozen=True, eq=False)
class OnWay:
    """An HTLC that is locked in a channel."""

    hop: Hop
    hash: str


class Channels:
    """All channels of a network, under one lock."""

    def __init__(self) -> None:
        self.all: list[Channel] = []
        self.lock = threading.RLock()
        self._next = 100
        self._htlcs = itertools.count()

    def open(self, one: str, other: str, total: int, to_b: int) -> Channel:
        """Opens a channel of `total` msat, of which `to_b` msat are b's, and returns it.

        Nothing of it is on the chain; its short channel id is made up."""
        self._next += 1
        channel = Channel(f"{self._next}x1x0", (one, other), total, {one: total - to_b, other: to_b})
        self.all.append(channel)
        return channel

    def of(self, node_id: str) -> list[Channel]:
        """Returns the channels of the node with this id, in the order in which they were opened."""
        return [each for each in self.all if node_id in each.ids]

    def route(
        self, source: str, target: str, amount: int, maxfee: int, over: Collection[Channel] | None = None
    ) -> list[Hop]:
        """Returns the hops of the cheapest route that can carry an amount.

        Args:
            source: Id of the payer.
            target: Id of the payee; no hop is needed if it is the payer.
            amount: What reaches the payee, in msat.
            maxfee: The most that the fees of all hops may be, in msat.
            over: Channels of which the first hop has to be one; None: any channel.

        Raises:
            RpcFault: 205 if there is no route, 206 if the cheapest one costs more than `maxfee`.
        """
        if source == target:
            return []
        best: list[Hop] | None = None
        # Searched from the payee backwards, because each hop's fee is on what the next one carries.
        todo: list[tuple[str, int, list[Hop]]] = [(target, amount, [])]
        while todo:
            at, carried, hops = todo.pop()
            for channel in self.of(at):
                previous = channel.other(at)
                if previous in {hop.source for hop in hops} or previous == target:
                    continue
                if carried < channel.htlc_minimum or channel.spendable(previous) < carried:
                    continue
                longer = [Hop(channel, previous, carried), *hops]
                if previous == source:
                    if over is not None and channel not in over:
                        continue
                    if best is None or longer[0].amount < best[0].amount:
                        best = longer
                elif len(longer) < 8:
                    todo.append((previous, carried + channel.fee(carried), longer))
        if best is None:
            raise RpcFault(PAY_NO_ROUTE, "We could not find a usable set of paths: not enough capacity or no channel.")
        if best[0].amount - amount > maxfee:
            raise RpcFault(PAY_TOO_COSTLY, f"Could not find route without excessive cost (maxfee {maxfee} msat)")
        return best

    def split(self, source: str, target: str, amount: int, maxfee: int, payment_hash: str) -> list[list[Hop]]:
        """Lock an amount that no route carries alone over several, and return them; RpcFault 205 where they can't.

        Of each channel of the payer, those with the payee first, as much as it takes.
        """
        routes: list[list[Hop]] = []
        with self.lock:
            for channel in sorted(self.of(source), key=lambda c: c.other(source) != target):
                left = amount - sum(hops[-1].amount for hops in routes)
                direct = channel.other(source) == target
                spare = 0 if direct else channel.fee(channel.spendable(source)) + 1
                part = min(left, channel.spendable(source) - spare)
                if part <= 0:
                    continue
                try:
                    hops = self.route(source, target, part, maxfee, [channel])
                    self.offer(hops, payment_hash)
                except RpcFault:
                    continue
                routes.append(hops)
                maxfee -= hops[0].amount - part
            if sum(hops[-1].amount for hops in routes) == amount:
                return routes
            for hops in routes:
                self.close(hops, settle=False)
        raise RpcFault(PAY_NO_ROUTE, "We could not find a usable set of paths: not enough capacity or no channel.")

    def offer(self, hops: list[Hop], payment_hash: str) -> None:
        """Lock the amount in every channel of a route; RpcFault 204 where one can't carry it, or no more."""
        with self.lock:
            for hop in hops:
                if len(hop.channel.on_way) >= hop.channel.max_htlcs:
                    raise RpcFault(PAY_FAILED_ON_ROUTE, "WIRE_TEMPORARY_CHANNEL_FAILURE: Too many HTLCs")
                if hop.channel.spendable(hop.source) < hop.amount:
                    raise RpcFault(PAY_FAILED_ON_ROUTE, "WIRE_TEMPORARY_CHANNEL_FAILURE: Capacity exceeded")
            for hop in hops:
                hop.channel.on_way.append(OnWay(hop, payment_hash))
                hop.channel.balance[hop.source] -= hop.amount

    def close(self, hops: list[Hop], settle: bool) -> None:
        """Take the HTLCs of a route off: paid on, or given back."""
        with self.lock:
            for hop in hops:
                hop.channel.on_way = [each for each in hop.channel.on_way if each.hop is not hop]
                to = hop.channel.other(hop.source) if settle else hop.source
                hop.channel.balance[to] += hop.amount

    def carry(self, hops: list[Hop], nodes: dict[str, "Node"], htlc: Htlc, payer: str) -> str:
        """Carry an offered part to the payee and back; return the preimage, or raise RpcFault as the payer sees it.

        Blocks while the part hangs or is held, the payee is down, or hooks think. Without hops the payer pays itself
        (`payer`), which asks no hook about an HTLC.
        """
        if not hops:
            return nodes[payer].htlcs.join(htlc)
        payee = nodes[hops[-1].channel.other(hops[-1].source)]
        try:
            self._pass_on(hops, nodes, htlc)
            self._suffer(payee.faults)
            last = hops[-1]
            preimage = payee.htlcs.arrive(replace(htlc, number=next(self._htlcs)), last.channel.scid, last.source)
        except RpcFault:
            self.close(hops, settle=False)
            raise
        self.close(hops, settle=True)
        return preimage

    def _pass_on(self, hops: list[Hop], nodes: dict[str, "Node"], htlc: Htlc) -> None:
        """Have those on the way forward a part, whose hooks are asked as the payee's are."""
        for come, go in itertools.pairwise(hops):
            here = replace(htlc, amount=come.amount, number=next(self._htlcs))
            answer = nodes[go.source].htlcs.ask(here, come.channel.scid, come.source, onward=go.channel.scid)
            if answer["result"] != "continue":
                raise RpcFault(PAY_FAILED_ON_ROUTE, "WIRE_TEMPORARY_NODE_FAILURE")

    def _suffer(self, faults: Faults) -> None:
        if faults.latency_s:
            time.sleep(faults.latency_s)
        with self.lock:
            fail, hang = faults.fail > 0, faults.hang > 0
            faults.fail -= fail
            faults.hang -= hang
        if fail:
            raise RpcFault(PAY_UNSPECIFIED, "Failed after 1 attempts: temporary channel failure (made to fail)")
        if hang:
            faults.released.wait()
            if not faults.settle_on_release:
                raise RpcFault(PAY_UNSPECIFIED, "Timed out: the HTLC was given back")
