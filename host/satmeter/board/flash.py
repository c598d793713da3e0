"""Puts the firmware onto a board, by mpremote's serial transport.

A board may lose its cable at any moment: new files have temporary names until all of them are there and whole, the
renames stand behind a marker that keeps main.py from running, and a second run goes on from what it finds.
"""

import contextlib
import io
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import serial
from mpremote.transport import TransportError, TransportExecError
from mpremote.transport_serial import SerialTransport

from ..core.errors import BoardTrouble
from ..core.plain import JsonObject
from ..wire.link import HOST, Link
from .compiler import MAIN
from .image import as_json, digest, files
from .lease import Lease
from .ports import ERASE, OTHER_KEY, troubles

CONFIG = "config.json"
MARKER = "flashing"
FRESH = ".new"
PROMPT = b">>> "
OLDEST = (1, 24)
CHUNK = 1024
OPEN_S, REPL_S, MAINTAIN_S, HELLO_S = 8.0, 8.0, 3.0, 20.0
FORGET_S = 120.0
"""How long a board that was asked to leave may take to forget its key: about two seconds, and more where it is emulated
on a busy machine."""
NO_REPL = (
    "{port} does not answer as MicroPython. If it is a locked board of ours, hold its button while you plug it in. If "
    "another program runs on it, that holds the line. " + ERASE
)
UNANSWERED = 200
"""Bytes that are sent without an answer. A program that does not read keeps them, and behind 512 of them Ctrl-C is not
seen (micropython#7996)."""

Say = Callable[[str, int, int], None]
"""Told what is being done, how many bytes of it are done, and how many there are."""
May = Callable[[list[str]], Path | None]
"""Asked where to save files of another program, which would be lost; None: nowhere, and they stay."""

_ABOUT = "import sys;print(sys.implementation[0],sys.implementation[1][0],sys.implementation[1][1],sys.platform)"
_CUT = """
import machine
try:
 import json
 with open('config.json') as f: p=json.load(f).get('pins',{})
 machine.Pin(p.get('relay',2),machine.Pin.OUT,value=1-p.get('relay_on',1))
except Exception: pass
try:
 import chip
 chip.disarm()
except Exception:
 import sys
 if 'RP2040' in sys.implementation._machine: machine.mem32[0x4005b000]=1<<30
"""
_HASHES = """
import os,hashlib,binascii
def h(n):
 s=hashlib.sha256();b=bytearray(512);f=open(n,'rb')
 while True:
  k=f.readinto(b)
  if not k: break
  s.update(memoryview(b)[:k])
 f.close();return binascii.hexlify(s.digest()).decode()
print(repr({e[0]:h(e[0]) for e in os.ilistdir() if e[1]==0x8000}))
"""


@dataclass(frozen=True)
class Flashed:
    """What a run did: the names that were copied, and the board's hello."""

    copied: list[str]
    hello: JsonObject
    saved: Path | None = None
    """Where another program's files were saved."""


def flash(
    port: str,
    config: JsonObject,
    say: Say = lambda what, done, of: None,
    may: May = lambda names: None,
    before: bytes | None = None,
) -> Flashed:
    """Bring a board to this firmware and config.

    Args:
        port: Its serial line.
        config: What it is to have, the key among it.
        say: Is told what is copied, how much of it, of how much.
        may: Is asked where to save another program's files.
        before: The key that it has until now, where that is another than the config's.

    Raises:
        BoardTrouble: It can't be; with what to do.
    """
    key = bytes.fromhex(config["key"])
    wanted = files()
    wanted[CONFIG] = as_json(config)
    with _troubles(port), Lease(port):
        said = _asked(port, before or key, "maintain")
        if said == "mac" and before is not None:  # an earlier try has changed it, and did not hear of it
            said = _asked(port, key, "maintain")
        with repl(port, OTHER_KEY if said == "mac" else NO_REPL) as board:
            _known_version(board)
            _run(board, _CUT)
            saved = _save(board, wanted, may)
            copied = _copy(board, wanted, say)
            _reset(board)
        say("waiting for the board", 0, 1)
        return Flashed(copied, hello(port, key), saved)


def reset(port: str, key: bytes) -> JsonObject:
    """Restart a board and return its hello. One that runs our firmware restarts itself, and opens no REPL."""
    with _troubles(port), Lease(port):
        if not _restarted(port, key):
            with repl(port) as board:
                leave(board)
        return hello(port, key)


def leave(board: SerialTransport) -> None:
    """Restart a board from its REPL, with its relay off."""
    _run(board, _CUT)
    _reset(board)


def read_adc(board: SerialTransport, pin: int) -> int:
    """Return an ADC pin's reading (0 to 65,535), the mean of 256."""
    return int(_run(board, f"import machine;a=machine.ADC({pin});print(sum(a.read_u16() for _ in range(256))//256)"))


def readings(port: str, key: bytes, end: float) -> Iterator[JsonObject]:
    """Yield a board's readings until a time (monotonic seconds)."""
    with _troubles(port), _opened(port) as s:
        for frame, _ in _talk(s, Link(HOST, key), end):
            if frame is not None and frame["k"] == "reading":
                yield {name: value for name, value in frame.items() if len(name) > 1}


@contextlib.contextmanager
def _troubles(port: str) -> Iterator[None]:
    try:
        with troubles(port):
            yield
    except (TransportError, serial.SerialException, OSError) as error:
        raise BoardTrouble(f"{port}: lost the board ({error}); run this again, it goes on from there") from error


def _opened(port: str, timeout_s: float = OPEN_S) -> serial.Serial:
    """Open a port as soon as it is there and its bridge has closed it."""
    end = time.monotonic() + timeout_s
    while True:
        try:
            return serial.Serial(port, 115200, timeout=0.02, write_timeout=1, exclusive=True)
        except (serial.SerialException, OSError):
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def maintain(port: str, key: bytes) -> bool:
    """Asks a board that runs our firmware to leave the line; returns whether a prompt came.

    The board forgets its key first, so it delivers nothing until it is flashed again. Any other program
    on a board gets only a line that means nothing to it."""
    return _asked(port, key, "maintain") == "prompt"


def _restarted(port: str, key: bytes) -> bool:
    """Ask a board to restart itself; False where it has a prompt, or does not do so."""
    boots: list[str] = []
    try:
        return _asked(port, key, "restart", boots) != "prompt" and len(set(boots)) > 1
    except (serial.SerialException, OSError):  # its port goes away with it
        if not boots:
            raise
        return True


def _asked(port: str, key: bytes, kind: str, boots: list[str] | None = None) -> str:
    """Sends a frame of a kind to the board until a prompt or a restart is seen; returns the outcome.

    It waits 3 s for the first hello, and 123 s in all. Where `boots` is given, the boot id of each hello
    is added to it, and a second boot id ends the wait.

    Returns:
        "prompt" where MicroPython's prompt came; "mac" where the board has another key; else why the
        last line was dropped, or "" where the board was believed or no line came.
    """
    line = Link(HOST, key)
    heard, seen = b"", [] if boots is None else boots
    end = time.monotonic() + MAINTAIN_S
    with _opened(port) as s:
        s.write(b"\r")  # a REPL answers it with its prompt
        for frame, data in _talk(s, line, end + FORGET_S):
            if not seen and time.monotonic() > end:
                break
            heard += data
            if PROMPT in heard:  # a frame that was sent again meanwhile is echoed behind it, and not ended by its "\n"
                return "prompt"
            heard = heard[-len(PROMPT) :]
            if frame is not None and frame["k"] == "hello":
                seen.append(frame["boot"])
                if boots is not None and len(set(boots)) > 1:
                    break
                line.send(kind, boot=frame["boot"])
    return "" if line.trusted else line.why


def _talk(s: serial.Serial, line: Link, end: float) -> Iterator[tuple[JsonObject | None, bytes]]:
    """Talk until a time; yields (frame or None, the bytes just read). Only frames of a session that we asked for."""
    line.ask(secrets.token_hex(8))
    unanswered, heard = 0, 0
    while time.monotonic() < end:
        data = s.read(s.in_waiting or 1)
        frames = line.feed(data)
        if frames or line.heard != heard:
            unanswered, heard = 0, line.heard
        if not line.nonce:
            line.ask(secrets.token_hex(8))  # the board has just restarted, and knows of no ask
        yield None, data
        for frame in frames:
            if line.trusted:
                yield frame, b""
        out = line.pull(time.monotonic_ns() // 1_000_000) if unanswered < UNANSWERED else b""
        if out:
            s.write(out)
            unanswered += len(out)


@contextlib.contextmanager
def repl(port: str, otherwise: str = NO_REPL) -> Iterator[SerialTransport]:
    """MicroPython's raw REPL on a port; BoardTrouble with what to do where there is none."""
    _opened(port).close()
    board = SerialTransport(port, 115200, timeout=10)
    try:
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # the transport prints what it does not understand
                board.enter_raw_repl(soft_reset=False, timeout_overall=REPL_S)
        except TransportError:
            raise BoardTrouble(otherwise.format(port=port)) from None
        yield board
    finally:
        with contextlib.suppress(OSError, serial.SerialException):
            board.close()


def _run(board: SerialTransport, code: str) -> str:
    try:
        return str(board.exec(code).decode())
    except TransportExecError as error:
        raise BoardTrouble(_words(error.error_output)) from error


def _words(output: str) -> str:
    """Return what a board's traceback comes to."""
    last = output.strip().splitlines()[-1] if output.strip() else "nothing"
    if "ENOSPC" in last or "OSError: 28" in last:
        return "the board is full: remove files of your own from it (mpremote fs rm), or erase it by flash_nuke.uf2"
    return f"the board answered: {last}"


def _known_version(board: SerialTransport) -> None:
    name, major, minor, platform = _run(board, _ABOUT).split()
    if name != "micropython" or (int(major), int(minor)) < OLDEST:
        raise BoardTrouble(
            f"the board runs {name} {major}.{minor} ({platform}); the firmware needs MicroPython "
            f"{OLDEST[0]}.{OLDEST[1]} or later: {NO_REPL.format(port=board.device_name)}"
        )


OURS = ("app.mpy", "link.mpy")


def _save(board: SerialTransport, wanted: dict[str, bytes], may: May) -> Path | None:
    """Save what another program has on the board and would be lost; BoardTrouble where it may not be."""
    there = _there(board)
    begun = MARKER in there or any(one.endswith(FRESH) and one[: -len(FRESH)] in wanted for one in there)
    if begun or all(name in there for name in OURS):
        return None
    lost = sorted(each for each in there if each in wanted or _is_stale(each, wanted, []))
    if not lost:
        return None
    where = may(lost)
    if where is None:
        raise BoardTrouble(
            f"{board.device_name}: {', '.join(lost)} on it are another program's, and would be lost; "
            "--replace saves them here and replaces them"
        )
    where.mkdir(parents=True)
    for name in lost:
        (where / name).write_bytes(board.fs_readfile(name))
    return where


def _there(board: SerialTransport) -> dict[str, str]:
    """Return the files on a board, and their hashes."""
    import ast

    found: dict[str, str] = ast.literal_eval(_run(board, _HASHES))
    return found


def _copy(board: SerialTransport, wanted: dict[str, bytes], say: Say) -> list[str]:
    """Copy what differs; return its names. Nothing is in its place before all of it is on the board."""
    there = _there(board)
    hashes = {name: digest(data) for name, data in wanted.items()}
    changed = [each for each in wanted if there.get(each) != hashes[each]]
    total, done = sum(len(wanted[n]) for n in changed), 0
    for name in changed:
        fresh = name + FRESH
        if there.get(fresh) != hashes[name]:
            board.fs_writefile(fresh, wanted[name], CHUNK, lambda n, of, b=done, f=name: say(f, b + n, total))
        done += len(wanted[name])
        say(name, done, total)
    there = _there(board)
    broken = [one for one in changed if there.get(one + FRESH) != hashes[one]]
    if broken:
        raise BoardTrouble(f"{', '.join(broken)}: not as sent; run this again")
    stale = [entry for entry in there if _is_stale(entry, wanted, changed)]
    moves = "".join(f"os.rename({n + FRESH!r},{n!r})\n" for n in changed)
    removals = "".join(f"os.remove({n!r})\n" for n in stale)
    if moves or removals or MARKER in there:
        _run(board, f"import os\nopen({MARKER!r},'w').close()\n{removals}{moves}os.sync()\nos.remove({MARKER!r})")
    return changed


def _is_stale(name: str, wanted: dict[str, bytes], changed: list[str]) -> bool:
    """Whether a file is to be removed: an old temporary one, or a source that would be imported in place of ours."""
    if name.endswith(FRESH):
        return name[: -len(FRESH)] not in changed
    return name != MAIN and name.endswith(".py") and f"{name[:-3]}.mpy" in wanted


def _reset(board: SerialTransport) -> None:
    with contextlib.suppress(OSError, serial.SerialException, TransportError):
        board.exec_raw_no_follow("import machine\nmachine.reset()")
        time.sleep(0.3)


def hello(port: str, key: bytes, timeout_s: float = HELLO_S) -> JsonObject:
    """Wait for a board's answer to our nonce, over restarts of its port; BoardTrouble if none comes."""
    end = time.monotonic() + timeout_s
    line = Link(HOST, key)
    why = ""
    while time.monotonic() < end:
        try:
            with _opened(port, end - time.monotonic()) as s:
                for frame, _ in _talk(s, line, end):
                    if frame is not None and frame["k"] == "hello":
                        return frame
        except (serial.SerialException, OSError) as error:
            why = str(error)
            time.sleep(0.1)
    if line.why == "mac":
        raise BoardTrouble(OTHER_KEY.format(port=port))
    why = why or line.why or "no answer"
    raise BoardTrouble(
        f"{port}: the board does not say hello ({why}); look at its display, or at `satmeter board monitor`"
    )
