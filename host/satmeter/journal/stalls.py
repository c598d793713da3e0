"""Cuts off a database server that takes connections and then does not answer.

Such a server (a machine that hangs, a network that loses packets) would block its callers for ever. A
use of a connection that takes too long is ended, and is an error like any other."""

import os
import socket
import threading
import time
from contextlib import suppress

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import DBAPIConnection

from ..core.plain import Plain

CONNECT_S = 5
"""Until a connection stands, login and all; a URL may say otherwise (connect_timeout)."""
LIMIT_S = 120
"""Of one use of a connection; then its socket is shut. A migration of a large database may take its time."""


def arguments(url: str) -> Plain:
    """Return what psycopg needs beside what the URL says itself."""
    given = sa.make_url(url).query
    ours = {"connect_timeout": CONNECT_S, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
    return {name: value for name, value in ours.items() if name not in given}


class Stalls:
    """Watches the connections of an engine that are in use; one thread, as long as the process runs."""

    def __init__(self, engine: sa.Engine, limit_s: float = LIMIT_S):
        self._limit_s = limit_s
        self._since: dict[DBAPIConnection, float] = {}
        self._lock = threading.Lock()
        sa.event.listen(engine, "checkout", self._out)
        sa.event.listen(engine, "checkin", self._in)
        threading.Thread(target=self._watch, name="satmeter-stalls", daemon=True).start()

    def _out(self, connection: DBAPIConnection, *_: object) -> None:
        with self._lock:
            self._since[connection] = time.monotonic()
        try:  # whether it is still good, now that somebody watches: a server may have been started anew
            connection.execute("SELECT 1")
            connection.rollback()
        except Exception as error:
            self._in(connection)
            raise sa.exc.DisconnectionError from error

    def _in(self, connection: DBAPIConnection, *_: object) -> None:
        with self._lock:
            self._since.pop(connection, None)

    def _watch(self) -> None:
        while True:
            time.sleep(self._limit_s / 10)
            before = time.monotonic() - self._limit_s
            with self._lock:
                for connection in [name for name, since in self._since.items() if since < before]:
                    del self._since[connection]
                    _shut(connection)


def _shut(connection: DBAPIConnection) -> None:
    """Shut the socket under a connection: whoever waits on it gets an error. The connection itself stays its user's."""
    with suppress(Exception):
        with socket.socket(fileno=os.dup(connection.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)
