"""A seller's meters with boards made of a number: reports go on until the shop closes, as a board's would."""

import itertools
import json
import threading

from pyln.client import RpcError

from satmeter.core.errors import TooMany
from waiting import DEADLINE_S, until

_names = itertools.count(1)

TARIFF = {"price_msat": 1000, "ticks_per_unit": 10, "quantum_msat": 10_000, "grace_s": 3, "lockout_s": 3}


def error_of(rpc, method, params):
    """Return the error that a call answers."""
    try:
        answer = rpc.call(method, params)
    except RpcError as e:
        assert "Traceback" not in json.dumps(e.error)
        return e.error
    raise AssertionError(f"{method} {params} answered {answer}")


class Board:
    """A meter's board: a register that a test moves, reported every half second and at every change."""

    def __init__(self, shop, name):
        self.shop, self.name = shop, name
        self.boot, self.register, self.plugged = "b1", 0, True
        self.view = {}

    def report(self):
        params = {"name": self.name, "boot": self.boot, "register": self.register, "plugged": self.plugged}
        self.view = self.shop.rpc.call("meter-report", params)
        return self.view

    def use(self, ticks):
        """Deliver up to `ticks` more, as far as the grant goes."""
        self.register = min(self.register + ticks, max(self.register, self.report()["grant"]))
        return self.report()

    def tried(self):
        """Report, or None where the plugin can't take it now."""
        try:
            return self.report()
        except Exception:
            return None

    def use_all(self, ticks, timeout_s=DEADLINE_S):
        """Deliver `ticks`, waiting for payments as they are needed."""
        goal = self.register + ticks

        def step():
            self.use(min(20, goal - self.register))
            return self.register == goal

        until(step, timeout_s)

    def unplug(self):
        self.plugged = False
        self.report()

    @property
    def state(self):
        return self.report()["state"]


class Shop:
    def __init__(self, node):
        self.node, self.rpc = node, node.rpc
        self.boards = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
        for board in self.boards:
            try:
                board.unplug()
            except RpcError:
                pass

    def _beat(self):
        while not self._stop.wait(0.5):
            for board in list(self.boards):
                try:
                    board.report()
                except (RpcError, OSError, ValueError):
                    pass

    def add(self, **tariff):
        name = f"m{next(_names)}"
        self.rpc.call("meter-add", {"name": name, **TARIFF, **tariff})
        board = Board(self, name)
        board.report()
        self.boards.append(board)
        return board

    def forget(self, board):
        """The board falls silent."""
        self.boards.remove(board)

    def address(self, board):
        return f"SATMETER://{self.node.address}/{self.node.id}/{board.name}".upper()

    def receipt(self, session):
        """Return the newest receipt of a session, once there is one."""

        def find():
            rows = self.rpc.call("meter-sessions", {"limit": 1000})["sessions"]
            return next((json.loads(r["receipt"]) for r in rows if r["id"] == session and r["receipt"]), None)

        return until(find)


def open_stream(buyer, shop, board, **caps):
    params = {"seller": shop.address(board), "max_price_msat": 1000, "unit": "unit", "budget_msat": 1_000_000, **caps}

    def opened():
        try:
            return buyer.rpc.call("stream-open", params)["session"]
        except RpcError as e:
            if e.error.get("data", {}).get("code") != TooMany.code:
                raise
            return None  # earlier opens at the same nodes were not paid: the next one may come a little later

    return until(opened)


def status(buyer, session):
    return buyer.rpc.call("stream-status", [session])


def close(buyer, session):
    """Close a stream and return its status once it is closed."""
    buyer.rpc.call("stream-close", [session])
    return until(lambda: (s := status(buyer, session))["state"] == "closed" and s)


def balance(node):
    return sum(int(c["to_us_msat"]) for c in node.rpc.call("listpeerchannels")["channels"])


def settled(node):
    """The node's balance once no HTLC is on the way."""
    until(lambda: not any(c.get("htlcs") for c in node.rpc.call("listpeerchannels")["channels"]))
    return balance(node)


def identity(r):
    right = r["charged_msat"] + r["refunded_msat"] + r["lapsed_msat"] + r["owed_msat"]
    return r["paid_msat"] + r["debt_msat"] == right
