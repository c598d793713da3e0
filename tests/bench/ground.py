"""The ground that figures are measured on: two nodes and a channel, boards that use what is granted, and the rounds."""

import itertools
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pyln.client import RpcError

_names = itertools.count(1)
PATIENCE_S = 60
QUANTUM_MSAT = 40_000
STRIDE = 4
"""Payments after which a stream is measured."""


@dataclass(frozen=True)
class Figure:
    """A ratio to something measured in the same run. `least`: the bar is a lower bound, not an upper one."""

    what: str
    ratio: float
    bar: float
    least: bool = False
    note: str = ""

    @property
    def good(self):
        return self.ratio >= self.bar if self.least else self.ratio <= self.bar


def interleaved(ours, theirs, rounds):
    """Run both in turn, `rounds` times; return the medians of what they return, and of the rounds' ratios."""
    pairs = [(ours(), theirs()) for _ in range(rounds)]
    ratios = [a / b for a, b in pairs]
    return tuple(statistics.median(x) for x in ([a for a, _ in pairs], [b for _, b in pairs], ratios))


def until(what, timeout_s=PATIENCE_S, every_s=0.02):
    end = time.monotonic() + timeout_s
    while not (found := what()):
        if time.monotonic() > end:
            raise TimeoutError(f"not within {timeout_s} s")
        time.sleep(every_s)
    return found


class Board:
    """A board whose resource flows as fast as `flow` (quanta a second) and its grant allow.

    It reports as the firmware does: at fixed times, and at once when it reaches its grant. The tariff keeps the credit
    topped up (low_water_msat = quantum_msat), so that the payments are what takes time.
    """

    def __init__(self, seller, flow, report_s=0.05, **tariff):
        self.rpc = seller.rpc
        self.name = f"bench{next(_names)}"
        self.register = 0
        self.report_s = report_s
        self.per_s = flow * QUANTUM_MSAT
        terms = {"price_msat": 1000, "ticks_per_unit": 1000, "quantum_msat": QUANTUM_MSAT, "grace_s": 60}
        self.rpc.call("meter-add", {"name": self.name, **terms, "low_water_msat": QUANTUM_MSAT, **tariff})
        self.grant = self.report()["grant"]
        self._granted = threading.Condition()
        self._running = True
        self._threads = [threading.Thread(target=job, daemon=True) for job in (self._flow, self._follow)]

    def report(self, plugged=True):
        reading = {"name": self.name, "boot": "b1", "register": self.register, "plugged": plugged}
        return self.rpc.call("meter-report", reading)

    def start(self):
        for t in self._threads:
            t.start()

    def _follow(self):
        index = 0
        while self._running:
            view = self.rpc.call("meter-wait", {"name": self.name, "lastindex": index, "timeout": 1})
            index = view["index"]
            with self._granted:
                self.grant = view["grant"]
                self._granted.notify()

    def _flow(self):
        while self._running:
            with self._granted:
                self._granted.wait_for(lambda: self.grant > self.register, 1)
                left = max(0, self.grant - self.register)
            began = time.monotonic()
            time.sleep(min(self.report_s, left / self.per_s))  # it flows
            self.register += min(left, int((time.monotonic() - began) * self.per_s))
            self.report()

    def stop(self):
        self._running = False
        for t in self._threads:
            t.join(10)
        self.report(plugged=False)


def opened(net, board, stride=STRIDE, **caps):
    """Open a stream to a board's meter, and return its id once it is in its stride."""
    address = f"SATMETER://{net['seller'].address}/{net['seller'].id}/{board.name}".upper()
    params = {"seller": address, "max_price_msat": "1000000/unit", "budget_msat": 10**11, "max_fee_msat": 0, **caps}
    session = net["buyer"].rpc.call("stream-open", params)["session"]
    until(lambda: paid_of(net, [session]) >= stride)
    return session


def paid_of(net, sessions):
    return sum(s["payments"] for s in net["buyer"].rpc.call("stream-list")["streams"] if s["session"] in sessions)


def invoice_and_pay(net):
    """One plain payment over the same channel, as a script would make it."""
    label = f"plain-{time.time_ns()}-{next(_names)}"
    made = net["seller"].rpc.call("invoice", {"amount_msat": 1000, "label": label, "description": "plain"})
    for _ in range(200):
        try:
            net["buyer"].rpc.call("xpay", {"invstring": made["bolt11"], "maxfee": 0})
            return
        except RpcError:
            time.sleep(0.05)
    raise TimeoutError("a plain payment never went through")


def plain_rate(net, seconds, threads=1):
    """Payments a second of `threads` loops of invoice + xpay."""
    end = time.monotonic() + seconds
    began = time.monotonic()

    def loop(_):
        done = 0
        while time.monotonic() < end:
            invoice_and_pay(net)
            done += 1
        return done

    with ThreadPoolExecutor(threads) as pool:
        done = sum(pool.map(loop, range(threads)))
    return done / (time.monotonic() - began)


def stream_rate(net, seconds, streams=1, **board):
    """Payments a second of so many streams, each with a board of its own."""
    boards = [Board(net["seller"], **board) for _ in range(streams)]
    with ThreadPoolExecutor(streams) as pool:
        for b in boards:
            b.start()
        sessions = list(pool.map(lambda b: opened(net, b), boards))
        before, began = paid_of(net, sessions), time.monotonic()
        time.sleep(seconds)  # the measured interval itself
        rate = (paid_of(net, sessions) - before) / (time.monotonic() - began)
        for session in sessions:
            net["buyer"].rpc.call("stream-close", [session])
        list(pool.map(Board.stop, boards))
        until(lambda: not any(b["session"] for b in net["seller"].rpc.call("meter-status")["meters"]))
        # Else what is still owed is credit of the next streams, which pay nothing before it is used up.
        until(lambda: not any(s["owed_msat"] for s in net["buyer"].rpc.call("stream-list")["streams"]), 120)
    return rate
