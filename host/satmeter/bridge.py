"""Serial port <-> the plugins' RPC: a board's readings go up, grant, lamp and page come down.

This file has the port, the RPC and the threads; wire/dialogue.py has the messages to and from the board. The bridge
owns no fact. Either side may disappear and come back. The bridge also supervises: if a plugin has stopped and its path
is known, the bridge starts it again.
"""

import logging
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import serial
from pyln.client import RpcError

from .board import lease
from .board.ports import OTHER_KEY, find, troubles
from .core.errors import BadParam, BoardTrouble, Implausible, NodeTrouble, SatmeterError, UnknownMeter, UnknownSession
from .core.money import MAX_TICKS
from .core.reading import Reading
from .core.status import BoardView, RelayView, read_as
from .node.rpc import PLUGIN_GONE, UNKNOWN_COMMAND, Node, code_of, words_of
from .parts import how_to_install
from .wire.dialogue import Dialogue, Encode, View

log = logging.getLogger("satmeter.bridge")

RETRY_S = 1.0
POLL_S = 30
REFUSED_MS = 60_000
NOTHING = View(0)
"""The view for a board whose meter or stream does not exist any more."""


def now_ms() -> int:
    """Returns the monotonic time in milliseconds, to measure durations; it has no fixed beginning."""
    return time.monotonic_ns() // 1_000_000


class Side(Protocol):
    """What a board is connected to: a seller's meter, or a buyer's stream."""

    def report(self, node: Node, reading: Reading) -> View | None:
        """Report a reading, and return the view that answers it, if one does."""
        ...

    def wait(self, node: Node, index: int) -> tuple[int, View | None]:
        """Returns the newest view and its index once that is beyond `index`, or after 30 s.

        The view of a meter or stream that is no more is None, and its index 0. Raises RpcError or
        NodeTrouble as Node.call() does."""
        ...


def view_of(meter: BoardView) -> View:
    """Return what a board is told of its meter."""
    return View(meter.grant, meter.boot, meter.lamp, meter.page, meter.codes, meter.link)


class MeterSide:
    """The seller's board: it counts what is sold, and delivers up to the grant."""

    def __init__(self, meter: str):
        self.meter = meter

    def report(self, node: Node, reading: Reading) -> View | None:
        """Reports a reading by meter-report; returns the view of the meter that answers it."""
        answer = node.call("meter-report", name=self.meter, **reading.params())
        return view_of(read_as(BoardView, answer)) if answer else None

    def wait(self, node: Node, index: int) -> tuple[int, View | None]:
        """Returns the view of meter-wait, once its index is beyond `index` or after 30 s, and that index."""
        answer = node.call("meter-wait", name=self.meter, lastindex=index, timeout=POLL_S)
        return (0, None) if answer.get("gone") else (int(answer["index"]), view_of(read_as(BoardView, answer)))


class StreamSide:
    """The buyer's board: its sensor checks the seller's count, its relay is off until the stream is paid."""

    def __init__(self, stream: str):
        self.stream = stream

    def report(self, node: Node, reading: Reading) -> None:
        """Reports a reading's boot id, register, base and age by stream-report; no view answers it."""
        own = {"boot": reading.boot, "register": reading.register, "base": reading.base, "age": reading.age_ms}
        node.call("stream-report", session=self.stream, **own)

    def wait(self, node: Node, index: int) -> tuple[int, View | None]:
        """Returns what the board is told of stream-wait's answer, and its index.

        While the stream's relay is on, that is a grant without end (MAX_TICKS)."""
        answer = node.call("stream-wait", session=self.stream, lastindex=index, timeout=POLL_S)
        if answer.get("gone"):
            return 0, None
        told = read_as(RelayView, answer)
        grant, lamp = (MAX_TICKS, "on") if told.relay else (0, "off")
        return int(answer["index"]), View(grant, lamp=lamp, page=[self.stream, told.state])


def _encoder() -> Encode | None:
    """Return what makes QR codes, where it is installed."""
    try:
        from .qr.make import fitted
    except ImportError as error:
        log.warning("no QR codes on the board's display: %s", how_to_install(error.name, "qr"))
        return None

    def encode(text: str, width: int, height: int) -> tuple[int, bytes]:
        code = fitted(text, width, height)
        return code.n, code.bits

    return encode


class Bridge:
    """Runs three threads until stop(): the serial line, the readings going up, the changes coming down."""

    def __init__(self, port: str, key: bytes, node: Node, side: Side, plugin: Path | None = None):
        """port: "" for the only board that is connected, wherever it comes back."""
        self.port, self.node, self.side, self.plugin = port, node, side, plugin
        self.talk = Dialogue(key, _encoder())
        self.trouble: dict[str, str] = {}
        self._refused_at = -REFUSED_MS
        self._lock = threading.RLock()
        self._fresh = threading.Condition(self._lock)
        self._mending = threading.Lock()
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._forever, args=(job,), name=f"bridge-{job.__name__}", daemon=True)
            for job in (self._line, self._report, self._follow)
        ]

    def troubles(self) -> dict[str, str]:
        """Return the present error of each part of the bridge, by the part's name; "" for a part that works."""
        return {thread.name.removeprefix("bridge-_"): self.trouble.get(thread.name[7:], "") for thread in self._threads}

    def start(self) -> None:
        """Starts the three threads, and returns at once."""
        for thread in self._threads:
            thread.start()

    def run(self) -> None:
        """start(), and wait until stop()."""
        self.start()
        self._stopping.wait()

    def stop(self) -> None:
        """Stops the threads, and waits up to 2 s until the serial port is closed.

        The other two threads may go on until their call to the node is answered (30 s in a long poll)."""
        self._stopping.set()
        with self._fresh:
            self._fresh.notify_all()
        if self._threads[0].is_alive():
            self._threads[0].join(2)

    def _forever(self, job: Callable[[], None]) -> None:
        """Run a job again and again; what goes wrong is said once, and never ends the bridge."""
        name = job.__name__
        while not self._stopping.is_set():
            trouble = ""
            try:
                job()
            except RpcError as error:
                trouble = words_of(error)
                self._mend(code_of(error))
            except (SatmeterError, OSError, serial.SerialException) as error:
                trouble = str(error)
            except Exception as error:
                log.exception("bug in the bridge")
                trouble = repr(error)
            if trouble and trouble != self.trouble.get(name) and not self._stopping.is_set():
                log.warning("%s", trouble)
            self.trouble[name] = trouble
            if trouble:
                self._stopping.wait(RETRY_S)

    def _mend(self, code: int) -> None:
        if code not in (PLUGIN_GONE, UNKNOWN_COMMAND) or self.plugin is None or self._stopping.is_set():
            return
        if not self._mending.acquire(False):
            return
        try:
            log.warning("starting %s again", self.plugin)
            self.node.call("plugin", subcommand="start", plugin=str(self.plugin))
        except (RpcError, NodeTrouble) as error:
            log.warning("the plugin does not start: %s", error)
        finally:
            self._mending.release()

    # --- the line

    def _line(self) -> None:
        """Talks to the board until the bridge stops, the port fails, or its lease is taken.

        The port is opened exclusively, so other programs are refused. Only a program that holds the
        lease of the port gets it: the bridge closes it within about half a second. Raises BoardTrouble
        where the port can't be opened, or where the board has another key."""
        port = self.port or find()
        if lease.wanted(port):
            self._stopping.wait(RETRY_S / 2)
            return
        look_at = time.monotonic() + RETRY_S / 2
        with troubles(port), serial.Serial(port, 115200, timeout=0.02, write_timeout=1, exclusive=True) as line:
            self._ask()
            while not self._stopping.is_set():
                if time.monotonic() > look_at:
                    look_at += RETRY_S / 2
                    if lease.wanted(port):
                        log.info("%s was released: satmeter flash needs it", port)
                        return
                data = line.read(line.in_waiting or 1)
                with self._lock:
                    hello = self.talk.board
                    if self.talk.feed(data, now_ms()):
                        self._fresh.notify()
                    if self.talk.board is not hello:
                        log.info("board %(board)s, firmware %(fw)s, boot %(boot)s", self.talk.board)
                    if self.talk.lost(now_ms()):
                        if self.talk.other_key:
                            raise BoardTrouble(OTHER_KEY.format(port=port))
                        self._ask()
                    out = self.talk.pull(now_ms())
                if out:
                    line.write(out)

    def _ask(self) -> None:
        with self._lock:
            self.talk.ask(secrets.token_hex(8), now_ms())

    # --- up and down

    def _report(self) -> None:
        """Report the newest reading of the oldest boot; it is kept until the plugin has taken it."""
        with self._fresh:
            self._fresh.wait_for(lambda: self.talk.pending or self._stopping.is_set(), 1)
            told = self.talk.oldest()
        if told is None:
            return
        view, taken = None, True
        try:
            view = self.side.report(self.node, told.said(now_ms()))
        except RpcError as error:
            if code_of(error) not in (Implausible.code, BadParam.code):
                raise
            taken = False
            self._refused(words_of(error))
        with self._lock:
            self.talk.reported(told, view, taken)

    def _refused(self, why: str) -> None:
        """Log that a reading was refused; while more are refused, only once every REFUSED_MS."""
        if now_ms() >= self._refused_at + REFUSED_MS:
            self._refused_at = now_ms()
            log.error("a reading was refused: %s", why)

    def _follow(self) -> None:
        """Follow grant, lamp and page, and hand every change to the board."""
        index = 0
        while not self._stopping.is_set():
            asked = self.talk.views
            try:
                newest, view = self.side.wait(self.node, index)
            except RpcError as error:
                if code_of(error) in (UnknownSession.code, UnknownMeter.code):
                    self._set(NOTHING)
                raise
            if view is None:
                index = 0
                self._set(NOTHING)
                self._stopping.wait(RETRY_S)
            elif newest != index and self._set(view, asked):
                index = newest

    def _set(self, view: View, asked: int | None = None) -> bool:
        with self._lock:
            return self.talk.show(view, asked)
