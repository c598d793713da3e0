"""Serial port <-> the plugins' RPC: a board's readings go up, grant, lamp and page come down.

The bridge owns no fact. Registers are cumulative, so the newest reading says all; a grant is absolute, so the newest
is the one that counts. Either side may go and come back. What it does add is a supervisor's eye: a plugin that has
died is started again where its path is known.
"""

import logging
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import serial
from pyln.client import RpcError

from .cln.node import PLUGIN_GONE, Node, code_of, words_of
from .core.errors import BadFrame, Implausible, NodeTrouble, UnknownMeter, UnknownSession
from .core.money import MAX_TICKS
from .wire.link import HOST, PROTOCOL, Link

log = logging.getLogger("satmeter.bridge")

ASK_MS = 1000
RETRY_S = 1.0
POLL_S = 30
UNKNOWN_COMMAND = -32601


class Side(Protocol):
    """What a board is connected to: a seller's meter, or a buyer's stream."""

    def report(self, node: Node, reading: dict[str, Any]) -> dict[str, Any]: ...
    def wait(self, node: Node, index: int) -> dict[str, Any]: ...
    def grant(self, view: dict[str, Any]) -> tuple[str, int]: ...


class MeterSide:
    """The seller's board: it counts what is sold, and delivers up to the grant."""

    def __init__(self, meter: str):
        self.meter = meter

    def report(self, node: Node, reading: dict[str, Any]) -> dict[str, Any]:
        return node.call("meter-report", name=self.meter, **reading)

    def wait(self, node: Node, index: int) -> dict[str, Any]:
        return node.call("meter-wait", name=self.meter, lastindex=index, timeout=POLL_S)

    def grant(self, view: dict[str, Any]) -> tuple[str, int]:
        return view["boot"], view["grant"]


class StreamSide:
    """The buyer's board: its sensor checks the seller's count, its relay is off until the stream is paid."""

    def __init__(self, stream: str):
        self.stream = stream
        self.boot = ""

    def report(self, node: Node, reading: dict[str, Any]) -> dict[str, Any]:
        self.boot = reading["boot"]
        own = {k: reading[k] for k in ("boot", "register", "base")}
        return node.call("stream-report", session=self.stream, **own)

    def wait(self, node: Node, index: int) -> dict[str, Any]:
        view = node.call("stream-wait", session=self.stream, lastindex=index, timeout=POLL_S)
        return {**view, "lamp": "on" if view.get("relay") else "off", "page": [self.stream, view.get("state", "")]}

    def grant(self, view: dict[str, Any]) -> tuple[str, int]:
        return self.boot, MAX_TICKS if view.get("relay") else 0


class Bridge:
    """Runs three threads until stop(): the serial line, the readings going up, the changes coming down."""

    def __init__(self, port: str, key: bytes, node: Node, side: Side, plugin: Path | None = None):
        self.port, self.node, self.side, self.plugin = port, node, side, plugin
        self.link = Link(HOST, key)
        self.board: dict[str, Any] = {}
        self.reading: dict[str, Any] = {}
        self.view: dict[str, Any] = {}
        self.trouble = ""
        self._fresh = threading.Condition()
        self._link_lock = threading.Lock()
        self._unreported = False
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._forever, args=(job,), name=f"bridge-{job.__name__}", daemon=True)
            for job in (self._line, self._report, self._follow)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def run(self) -> None:
        """start(), and wait until stop()."""
        self.start()
        self._stopping.wait()

    def stop(self) -> None:
        self._stopping.set()
        with self._fresh:
            self._fresh.notify_all()
        self._threads[0].join(2)

    def _forever(self, job: Callable[[], None]) -> None:
        while not self._stopping.is_set():
            try:
                job()
                self._say("")
            except RpcError as e:
                self._say(words_of(e))
                self._mend(code_of(e))
            except (NodeTrouble, OSError, serial.SerialException) as e:
                self._say(str(e))
            if self.trouble:
                self._stopping.wait(RETRY_S)

    def _say(self, trouble: str) -> None:
        if trouble and trouble != self.trouble and not self._stopping.is_set():
            log.warning("%s", trouble)
        self.trouble = trouble

    def _mend(self, code: int) -> None:
        if code in (PLUGIN_GONE, UNKNOWN_COMMAND) and self.plugin is not None:
            log.warning("starting %s again", self.plugin)
            try:
                self.node.call("plugin", subcommand="start", plugin=str(self.plugin))
            except (RpcError, NodeTrouble) as e:
                log.warning("it does not start: %s", e)
        elif code == Implausible.code:
            log.error("the seller's plugin does not believe this board; see its error above")

    # --- the line

    def _line(self) -> None:
        """Talk to the board while its port is there; whoever else wants the port is refused (exclusive)."""
        with serial.Serial(self.port, 115200, timeout=0.02, write_timeout=1, exclusive=True) as line:
            asked = 0
            while not self._stopping.is_set():
                now = time.monotonic_ns() // 1_000_000
                if not self.link.trusted and now - asked >= ASK_MS:
                    asked = now
                    with self._link_lock:
                        self.link.ask(secrets.token_hex(8))
                data = line.read(line.in_waiting or 1)
                with self._link_lock:
                    frames = self.link.feed(data)
                for frame in frames:
                    self._take(frame)
                with self._link_lock:
                    out = self.link.pull(now)
                if out:
                    line.write(out)

    def _take(self, frame: dict[str, Any]) -> None:
        if frame["k"] == "hello":
            if not self.link.trusted:
                return  # the board restarted by itself; the next round asks it
            if frame["proto"] != PROTOCOL:
                raise BadFrame(f"the board speaks protocol {frame['proto']}, this bridge {PROTOCOL}: flash it again")
            self.board = frame
            log.info("board %s, firmware %s, boot %s", frame["board"], frame["fw"], frame["boot"])
            self._newest(frame, flow=0, plugged=1)
            self._send(self.view)
        elif frame["k"] == "reading" and frame["boot"] == self.board.get("boot"):
            self._newest(frame, flow=frame["flow"], plugged=frame["plugged"])

    def _newest(self, frame: dict[str, Any], flow: int, plugged: int) -> None:
        with self._fresh:
            self.reading = {
                "boot": frame["boot"],
                "register": frame["register"],
                "base": self.board["base"],
                "flow": flow,
                "plugged": bool(plugged),
            }
            self._unreported = frame["k"] == "reading"
            self._fresh.notify()

    # --- up and down

    def _report(self) -> None:
        """Report the newest reading; one that could not be reported is tried again, unless a newer one came."""
        with self._fresh:
            self._fresh.wait_for(lambda: self._unreported or self._stopping.is_set(), 1)
            if not self._unreported:
                return
            reading, self._unreported = self.reading, False
        try:
            self.side.report(self.node, reading)
        except (RpcError, NodeTrouble):
            with self._fresh:
                self._unreported = True
            raise

    def _follow(self) -> None:
        """Follow grant, lamp and page, and hand every change to the board."""
        index = 0
        while not self._stopping.is_set():
            try:
                view = self.side.wait(self.node, index)
            except RpcError as e:
                if code_of(e) in (UnknownSession.code, UnknownMeter.code):
                    self._send({"relay": False, "boot": self.reading.get("boot", ""), "grant": 0, "lamp": "off"})
                raise
            if view.get("gone"):
                index = 0
                self._stopping.wait(RETRY_S)
            else:
                index, self.view = view["index"], view
            self._send(view)

    def _send(self, view: dict[str, Any]) -> None:
        if not view or not self.board or not self.link.trusted:
            return
        boot, register = self.side.grant(view)
        here = self.board["boot"]
        with self._link_lock:
            if boot == here:
                self.link.send("grant", boot=boot, register=register)
            self.link.send("lamp", boot=here, lamp=view.get("lamp", "off"))
            for n, text in enumerate(view.get("page", [])):
                self.link.send("page", key=str(n), boot=here, n=n, text=str(text)[:32])
