"""What flash.py takes for a prompt, on a line whose other end says what a board's REPL said."""

import contextlib
import os
import pty
import threading
import tty

import pytest

from satmeter.board import flash

BANNER = b'MicroPython v1.24.1 on 2024-11-29; Raspberry Pi Pico with RP2040\r\nType "help()" for more information.\r\n'
FRAME = b'{"k":"maintain","q":1,"a":3,"b":"6cd7b6cf","m":"400607' + b"0" * 60


@contextlib.contextmanager
def answering(said):
    """Yield the port of a line whose other end says this once, as soon as it hears a carriage return."""
    board, line = pty.openpty()
    tty.setraw(line)

    def answer():
        while b"\r" not in os.read(board, 200):
            pass
        os.write(board, said)

    threading.Thread(target=answer, daemon=True).start()
    try:
        yield os.ttyname(line)
    finally:
        os.close(board)
        os.close(line)


@pytest.mark.parametrize("behind", [b"", b"{", FRAME], ids=["nothing", "a letter", "a frame"])
def test_a_prompt_is_seen_whatever_is_echoed_behind_it(behind):
    """A busy host sends a frame again while the board forgets its key; the REPL echoes it and waits for a return."""
    with answering(BANNER + b">>> " + behind) as port:
        assert flash.maintain(port, bytes(32))


def test_a_banner_is_no_prompt(monkeypatch):
    monkeypatch.setattr(flash, "MAINTAIN_S", 0.5)
    with answering(BANNER) as port:
        assert not flash.maintain(port, bytes(32))
