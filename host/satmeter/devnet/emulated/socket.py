"""The lightning-rpc socket: JSON values without any frame from clients, answers ended by a blank line."""

import json
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import RpcFault
from .plugins import Frames

Handle = Callable[[str, Any], Any]


class RpcSocket:
    """Serves `handle(method, params)` on a unix socket, each connection and each request on a thread of its own."""

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
        frames, lock = Frames(), threading.Lock()
        try:
            while data := connection.recv(65536):
                for request in frames.feed(data):
                    threading.Thread(target=self._answer, args=(connection, lock, request), daemon=True).start()
        except ValueError as e:
            self._send(connection, lock, {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": str(e)}})
        except OSError:
            pass
        finally:
            self._open.discard(connection)
            connection.close()

    def _answer(self, connection: socket.socket, lock: threading.Lock, request: Any) -> None:
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": request.get("id") if isinstance(request, dict) else None}
        try:
            result = self._handle(str(request["method"]), request.get("params") or {})
            answer["result"] = _filtered(result, request.get("filter"))
        except RpcFault as e:
            answer["error"] = {"code": e.code, "message": e.message, **({"data": e.data} if e.data else {})}
        except (KeyError, TypeError, ValueError, AttributeError) as e:
            answer["error"] = {"code": -32600, "message": f"Invalid request: {e!r}"}
        self._send(connection, lock, answer)

    def _send(self, connection: socket.socket, lock: threading.Lock, answer: dict[str, Any]) -> None:
        try:
            with lock:
                connection.sendall(json.dumps(answer).encode() + b"\n\n")
        except OSError:
            pass

    def close(self) -> None:
        self._server.close()
        self._path.unlink(missing_ok=True)
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def _filtered(value: Any, wanted: Any) -> Any:
    """Return only what a request's filter names, as lightningd does."""
    if isinstance(wanted, dict) and isinstance(value, dict):
        return {k: _filtered(value[k], w) for k, w in wanted.items() if k in value and w}
    if isinstance(wanted, list) and wanted and isinstance(value, list):
        return [_filtered(v, wanted[0]) for v in value]
    return value
