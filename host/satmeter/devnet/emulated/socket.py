"""The lightning-rpc socket: requests without any frame from clients, answers ended by a blank line."""

import json
import logging
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from ...core.plain import Plain
from ...wire.tokens import Requests
from .errors import INTERNAL_ERROR, INVALID_REQUEST, RpcFault
from .requests import Request

log = logging.getLogger("satmeter.devnet")

Handle = Callable[[Request], object]


class RpcSocket:
    """Serves `handle(request)` on a unix socket, each connection and each request on a thread of its own."""

    def __init__(self, path: Path, handle: Handle):
        self._path = path
        self._handle = handle
        self._open: set[socket.socket] = set()
        if path.exists():
            path.unlink()
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._server.bind(str(path))
        os.chmod(path, 0o600)
        self._server.listen(128)
        threading.Thread(target=self._accept, daemon=True, name="lightning-rpc").start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        requests, lock = Requests(), threading.Lock()
        try:
            while data := connection.recv(65536):
                for text in requests.feed(data):
                    args = (connection, lock, Request.read(text))
                    threading.Thread(target=self._answer, args=args, daemon=True).start()
        except RpcFault as error:  # not even a request: a real node closes the connection, too
            self._send(connection, lock, b"null", {"error": _error(error)})
        except OSError:
            pass
        finally:
            self._open.discard(connection)
            connection.close()

    def _answer(self, connection: socket.socket, lock: threading.Lock, request: Request) -> None:
        try:
            wanted = request.member("filter")
            answer = {"result": _filtered(self._handle(request), wanted)}
        except RpcFault as error:
            answer = {"error": _error(error)}
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            answer = {"error": {"code": INVALID_REQUEST, "message": f"Invalid request: {error!r}"}}
        except Exception as error:  # a bug of ours: whoever asked must not wait for ever
            answer = {"error": {"code": INTERNAL_ERROR, "message": f"Internal error: {error!r}"}}
            log.exception("a request of the emulated node failed")
        self._send(connection, lock, request.text[request.id], answer)

    def _send(self, connection: socket.socket, lock: threading.Lock, id: bytes, answer: Plain) -> None:
        """Answer under the id as it was written."""
        text = b'{"jsonrpc":"2.0","id":' + id + b"," + json.dumps(answer).encode()[1:] + b"\n\n"
        try:
            with lock:
                connection.sendall(text)
        except OSError:
            pass

    def close(self) -> None:
        """Stops listening, removes the socket's file and ends the open connections."""
        self._server.close()
        self._path.unlink(missing_ok=True)
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def _error(error: RpcFault) -> Plain:
    return {"code": error.code, "message": error.message, **({"data": error.data} if error.data else {})}


def _filtered(value: object, wanted: object) -> object:
    """Return only what a request's filter names, as lightningd does."""
    if isinstance(wanted, dict) and isinstance(value, dict):
        return {name: _filtered(value[name], given) for name, given in wanted.items() if name in value and given}
    if isinstance(wanted, list) and wanted and isinstance(value, list):
        return [_filtered(each, wanted[0]) for each in value]
    return value
