"""`satmeter rpc`: a method of a node, where lightning-cli is not installed."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ..formatting import visible
from ..node import DEFAULT_SOCKET
from .failing import fail, failing
from .terminal import encodes


def rpc(
    method: Annotated[str, typer.Argument(help="the node's method")],
    params: Annotated[list[str] | None, typer.Argument(help="values by position, or name=value each")] = None,
    socket: Annotated[Path, typer.Option("--rpc", help="the node's lightning-rpc socket")] = DEFAULT_SOCKET,
    keywords: Annotated[bool, typer.Option("-k", help="params are name=value, as of lightning-cli -k")] = False,
) -> None:
    """Call a method of a node and print its answer, where lightning-cli is not installed."""
    from pyln.client import LightningRpc, RpcError

    given = [(name, value) for name, _, value in (each.partition("=") for each in params or [])]
    named = bool(given) and all("=" in one for one in params or [])
    if keywords and not named:
        raise fail("-k: each parameter has to be name=value")
    if not all(_is_text(one) for one in (method, *(params or []))):
        raise fail("a parameter is not UTF-8")
    payload = {name: _value(value) for name, value in given} if named else [_value(param) for param in params or []]
    with failing("board"):
        where = str(socket.expanduser())
    try:
        answer = LightningRpc(where).call(method, payload)
    except RpcError as error:
        print(json.dumps(error.error, indent=3))
        raise typer.Exit(1) from None
    except OSError as error:
        raise fail(f"{socket}: {error}") from None
    print(visible(json.dumps(answer, indent=3, ensure_ascii=not encodes("\U0001f600"))))


def _is_text(argument: str) -> bool:
    """Whether an argument of the command can be written: what is no UTF-8 has surrogates in it."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True


def _value(text: str) -> Any:
    """A number, a list or an object where the text is one that can be nothing else, as lightning-cli has it."""
    if text[:1] in ("[", "{"):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    number = text.isascii() and text.isdecimal() and len(text) < 1_000 and (text == "0" or text[0] != "0")
    return int(text) if number else text
