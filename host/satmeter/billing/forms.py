"""Request bodies as the clients of Lightning Charge send them: JSON, a form, or a form with nested names."""

import difflib
import json
import re
from collections.abc import Iterator
from urllib.parse import parse_qsl

from fastapi import HTTPException, Request

from ..core.errors import BadParam
from ..core.plain import JsonObject
from ..http.request_body import TooLarge, TooSlow, whole

MOST_BYTES = 65_536
MOST_FIELDS = 200
FORM = "application/x-www-form-urlencoded"
_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")


async def raw(request: Request) -> bytes:
    """Returns the body of a request.

    Raises BadParam as soon as more than MOST_BYTES (65,536) have come, and HTTPException 408 where the
    body is not complete within 20 s."""
    try:
        return await whole(request, MOST_BYTES)
    except TooLarge:
        raise BadParam(f"body: may have at most {MOST_BYTES:,} bytes", param="body") from None
    except TooSlow:
        raise HTTPException(408, "Request Timeout") from None


def fields(data: bytes, kind: str) -> JsonObject:
    """Returns the fields of a request body: of a JSON object, or of a form.

    Args:
        data: The body. An empty one has no fields.
        kind: The Content-Type header; "" is read as a form.

    Raises:
        HTTPException: 415 for a type that is neither JSON nor a form. Such a body is not ignored, since
            an amount of money may be in it.
        BadParam: The body can't be read, or has text that no database can keep (check_text).
    """
    if not data.strip():
        return {}
    named = kind.split(";")[0].strip().lower()
    is_json = named == "application/json" or named.endswith("+json")
    if not is_json and named not in ("", FORM):
        raise HTTPException(415, f"Unsupported Media Type: {named[:80]}; send application/json, or {FORM}")
    if not is_json and data.lstrip()[:1] in b"{[":
        raise BadParam(
            "body: is JSON, and its Content-Type is a form's; send Content-Type: application/json", param="body"
        )
    try:
        if is_json:
            found: JsonObject = json.loads(data)
            if not isinstance(found, dict):
                raise BadParam("body: must be a JSON object", param="body")
        else:
            pairs = parse_qsl(data.decode(), keep_blank_values=True, strict_parsing=False, max_num_fields=MOST_FIELDS)
            found = nested(pairs)
        for name, value in found.items():
            check_text(name, value)
        return found
    except (ValueError, RecursionError) as error:
        raise BadParam(f"body: is neither JSON nor a form ({error})", param="body") from None


def only(found: JsonObject, *known: str) -> JsonObject:
    """Return the fields, or raise BadParam for the first that nobody reads, with the nearest one that is known."""
    for name in found:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.5)
            meant = f"did you mean {near[0]}?" if near else f"they are {', '.join(known)}"
            plain = name[:40] if name[:40].isprintable() else "a field"
            raise BadParam(f"{plain}: is no field of this call; {meant}", param=near[0] if near else "body")
    return found


def no_query(request: Request) -> None:
    """BadParam for parameters in the address of a call that reads its body only."""
    for name in request.query_params:
        raise BadParam(f"{name[:40]}: is in the URL, but this call reads only its body", param="body")


def check_text(name: str, value: object) -> None:
    """BadParam for text that no database keeps: with NUL, or with half a character (a lone surrogate)."""
    if any(each == "\0" or "\ud800" <= each <= "\udfff" for text in (name, *_texts(value)) for each in text):
        plain = name if re.fullmatch(r"[A-Za-z0-9_-]{1,40}", name) else "body"
        raise BadParam(f"{plain}: has NUL, or a lone surrogate, which no database keeps", param="body")


def _texts(value: object) -> Iterator[str]:
    """Yield each text in a JSON value, names among them."""
    todo = [value]
    while todo:
        each = todo.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, dict):
            todo += [*each.keys(), *each.values()]
        elif isinstance(each, list):
            todo += each


def nested(pairs: list[tuple[str, str]]) -> JsonObject:
    """Return what a[b]=1&a[c]=2&d[]=3&d[]=4 stands for: {a: {b: 1, c: 2}, d: [3, 4]}, values as text."""
    out: JsonObject = {}
    for name, value in pairs:
        found = _NAME.fullmatch(name)
        path = [found[1], *re.findall(r"\[([^\[\]]*)\]", found[2])] if found else [name]
        if len(path) > 8:
            raise BadParam(f"body: {name[:40]!r} is nested too deep", param="body")
        _put(out, path, value)
    return {key: _lists(value) for key, value in out.items()}


def _put(into: JsonObject, path: list[str], value: str) -> None:
    for key in path[:-1]:
        there = into.setdefault(key, {})
        if not isinstance(there, dict):
            raise BadParam(f"body: {key[:40]!r} is a value and has fields too", param="body")
        into = there
    key = path[-1] if path[-1] or len(path) == 1 else str(len(into))
    into[key] = value


def _lists(value: object) -> object:
    """Turn {0: a, 1: b} into [a, b]."""
    if not isinstance(value, dict):
        return value
    made = {name: _lists(given) for name, given in value.items()}
    return list(made.values()) if list(made) == [str(n) for n in range(len(made))] and made else made
