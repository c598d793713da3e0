"""lightningd's messages on stdin: whatever they hold, each is answered or dropped, and none ends the plugin.

pyln-client's own loop takes a blank line for the end of a message and ends at the first that Python can't parse. But
lightningd hands a caller's request on as it came: with blank lines in it, the id behind the parameters, a name twice,
numbers of any length (wire/tokens.py says how it reads). Here the members are found as lightningd finds them, and only
then each is parsed.
"""

import json
import logging
from typing import BinaryIO

from pyln.client import Plugin
from pyln.client.plugin import hook_fallbacks

from ..core.plain import Plain, without_repeats
from ..wire.tokens import Requests, depth, members

log = logging.getLogger("satmeter")

CHUNK = 65_536
NESTED_MOST = 64
"""Brackets within brackets in the parameters of a call: ours have two at most, lightningd's own messages a few."""
PARSE_ERROR, INVALID_PARAMS, INTERNAL_ERROR = -32700, -32602, -32603


def read(plugin: Plugin, stream: BinaryIO) -> None:
    """Dispatch every message of a stream until it ends."""
    requests = Requests()
    while data := stream.read1(CHUNK):  # type: ignore[attr-defined]
        for text in requests.feed(data):
            try:
                take(plugin, text)
            except Exception:
                log.exception("a message of lightningd's was not handled")


def take(plugin: Plugin, text: bytes) -> None:
    """Dispatch one message: a request (it has an id) or a notification."""
    found = members(text)
    id, method, origin = (_text(text, found.get(name)) for name in (b'"id"', b'"method"', b'"origin"'))
    raw = text[found.get(b'"params"', slice(0))]
    try:
        params = _params(raw, plain=id is not None and method not in hook_fallbacks)
    except ValueError as error:
        log.warning("%s: what it was given is not JSON: %s", method, error)
        _refuse(plugin, id, method, PARSE_ERROR, f"params: not JSON: {error}")
        return
    if not isinstance(params, (list, dict)):
        _refuse(plugin, id, method, INVALID_PARAMS, "params: must be a list or an object")
        return
    request = plugin._parse_request({"id": id, "method": method, "params": params, "origin": origin})
    if id is None:
        plugin._dispatch_notification(request)
        return
    try:
        plugin._dispatch_request(request)
    except Exception:
        _refuse(plugin, id, method, INTERNAL_ERROR, "internal error")
        raise


def _text(text: bytes, at: slice | None) -> str | None:
    """Return a member that is a string, as lightningd writes ids and methods; None for any other."""
    try:
        value = json.loads(text[at].decode()) if at is not None else None
    except ValueError:
        return None
    return value if isinstance(value, str) else None


def _params(raw: bytes, plain: bool) -> object:
    """Returns parsed parameters; raises ValueError where they are not JSON, or nested too deeply.

    In a `plain` call (neither hook nor notification) a name that stands twice raises it too: what
    allowed the call may have checked the other value."""
    if raw.count(b"[") + raw.count(b"{") > NESTED_MOST and depth(raw) > NESTED_MOST:  # seldom counted: it takes long
        raise ValueError(f"nested deeper than {NESTED_MOST}")
    return json.loads(raw.decode(), object_pairs_hook=without_repeats if plain else None)


def _refuse(plugin: Plugin, id: str | None, method: str | None, code: int, message: str) -> None:
    """Answer a request with an error; a hook as pyln-client does, since lightningd aborts on an error of a hook."""
    if method in hook_fallbacks:
        answer: Plain = {"result": hook_fallbacks[method]}
    else:
        answer = {"error": {"code": code, "message": message}}
    if id is not None:
        plugin._write_locked({"jsonrpc": "2.0", "id": id, **answer})
