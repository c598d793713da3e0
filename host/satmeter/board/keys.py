"""A person at a virtual board: keys in, one line of state out."""

import os
import select
import sys
import termios
import time
import tty

from .virtual import Board


def work(board: Board) -> None:
    """Shows a board in the terminal and takes keys, until q is typed.

    Keys: + and - turn the potentiometer by 5 per cent, p plugs or unplugs, r cuts the power for a
    moment. Without a terminal, or in the background of a shell (&), it only keeps the board running: to
    touch the terminal would stop the process."""
    if not sys.stdin.isatty() or os.tcgetpgrp(sys.stdin.fileno()) != os.getpgrp():
        while True:
            time.sleep(1)
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        while True:
            _show(board)
            if select.select([sys.stdin], [], [], 0.2)[0] and not _press(board, os.read(sys.stdin.fileno(), 1)):
                return
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
        print()


def _press(board: Board, key: bytes) -> bool:
    if key in b"+-":
        board.turn(board.percent + (5 if key == b"+" else -5))
    elif key == b"p":
        (board.unplug if board.is_plugged else board.plug)()
    elif key == b"r":
        board.reboot()
    return key != b"q"


def _show(board: Board) -> None:
    plug = "plugged" if board.is_plugged else "unplugged"
    flowing = "flowing" if board.flowing else "cut"
    print(
        f"\r{board.percent:3} %  {plug:9}  {flowing:7}  register {board.register}  grant {board.grant}  "
        f"lamp {board.lamp}  {' | '.join(line for line in board.lines if line)}\x1b[K",
        end="",
        flush=True,
    )
