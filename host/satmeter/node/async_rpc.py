"""The node's RPC for asyncio: a connection for each call, as lightningd answers the calls of one in turn."""

import asyncio
import itertools
import json

from pyln.client import RpcError

from ..core.errors import NodeTrouble, NotAsked
from ..core.plain import JsonObject

PIECE = 65_536


class AsyncNode:
    """A node's RPC socket at `path`."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._ids = itertools.count(1)

    async def call(self, method: str, /, **params: object) -> JsonObject:
        """Calls a method; RpcError from the node, NodeTrouble where it can't be reached or answers nonsense."""
        try:
            reader, writer = await asyncio.open_unix_connection(self.path, limit=2**26)
        except OSError as error:
            raise NotAsked(
                f"{method}: the node at {self.path} does not answer: {error.strerror}", path=self.path
            ) from error
        try:
            asked = {"jsonrpc": "2.0", "id": f"satmeter:{method}#{next(self._ids)}", "method": method, "params": params}
            writer.write(json.dumps(asked).encode() + b"\n\n")
            await writer.drain()
            answer = json.loads(await _whole(reader))
        except (OSError, ValueError, RecursionError, asyncio.IncompleteReadError) as error:
            raise NodeTrouble(f"{method}: the node at {self.path} went away", path=self.path) from error
        finally:
            writer.close()
        if isinstance(answer, dict) and "error" in answer:
            raise RpcError(method, params, answer["error"])
        found = answer.get("result") if isinstance(answer, dict) else None
        if not isinstance(found, dict):
            raise NodeTrouble(f"{method}: the node at {self.path} answers nonsense", path=self.path)
        return found


async def _whole(reader: asyncio.StreamReader) -> bytes:
    """Reads one answer: lightningd ends each by an empty line, plugins' answers included."""
    data = b""
    while not data.rstrip(b" ").endswith(b"\n\n"):
        piece = await reader.read(PIECE)
        if not piece:
            if data:
                return data
            raise ValueError("the connection was closed")
        data += piece
        try:
            json.loads(data)
        except ValueError:
            continue
        return data
    return data
