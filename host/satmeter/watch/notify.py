"""What systemd is told by a service of Type=notify (sd_notify): ready, alive, stopping.

Nothing is told where it does not ask.
"""

import os
import socket


def notify(said: str) -> None:
    """Tells systemd something, such as READY=1; a socket that is gone is no error."""
    where = os.environ.get("NOTIFY_SOCKET", "")
    if not where:
        return
    address = f"\0{where[1:]}" if where.startswith("@") else where
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
            to.connect(address)
            to.send(said.encode())
    except OSError:
        return


def watchdog_s() -> float:
    """Returns how often systemd wants to hear WATCHDOG=1, in s; 0: not at all, or not from this process."""
    usec, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not usec.isdecimal() or (pid and pid != str(os.getpid())):
        return 0.0
    return int(usec) / 1_000_000
