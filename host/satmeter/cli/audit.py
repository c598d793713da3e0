"""`satmeter audit`: what a receipt proves, without a node and without the seller."""

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ..core.errors import BadParam
from ..core.plain import JsonObject
from ..formatting import visible
from .failing import failing

if TYPE_CHECKING:  # the rest is loaded where it is used: a bridge on a small machine has no need of it
    from ..core.audit import EventRow, Proof
    from ..node.rpc import Node

console = Console()
MARKS = {True: "[green]yes[/green]", False: "[red]NO [/red]", None: "[yellow] ? [/yellow]"}
Source = Annotated[Path, typer.Argument(help="JSON with `receipt` and `signature`; - reads standard input")]


def audit(
    receipt: Source,
    events: Annotated[
        list[Path] | None,
        typer.Option(help="the session's events: what meter-history SESSION answers; once for each page of them"),
    ] = None,
) -> None:
    """Say what a receipt proves: signature, sums, charge, registers and, with --events, the chain of its events.

    It takes an answer of meter-sessions or stream-receipts, one row of it, a webhook's body, or
    {"receipt": TEXT, "signature": ZBASE}. Exit code 1: something that it states is not so.
    """
    with failing("", ValueError):
        rows = [row for each in events for row in _events(_json(each))] if events else None
        found = list(_receipts(_json(receipt)))
        if not found:
            raise BadParam(f"{receipt}: holds no receipt with its signature", param="receipt")
        good = True
        for text, signature in found:
            good &= _show(text, signature, rows)
    raise typer.Exit(0 if good else 1)


def audit_journal(given: str, node: "Node | None") -> bool:
    """Says what a journal proves, by a copy of it; returns whether all of it is so."""
    from ..journal import move
    from ..journal.backup import backup
    from ..journal.proof import Side, Whose, proofs
    from ..journal.store import Journal
    from ..journal.url import sqlite_url

    good = True
    with tempfile.TemporaryDirectory(prefix="satmeter-") as folder:
        copy, taken_at = Path(folder) / "copy", time.time()
        if "://" in given:
            about = move.copy(move.url_of(given), sqlite_url(copy))
        else:
            about = backup(Path(given).expanduser(), copy)
        journal = Journal(sqlite_url(copy), about.role, about.node_id)
        try:
            whose = Whose(journal.name, about.node_id, about.role, taken_at)
            for proof in proofs(journal, whose, Side.of(about.role), node.call if node is not None else None):
                good &= proof.holds is not False
                _say(proof)
        finally:
            journal.close()
    return good


def _json(path: Path) -> object:
    try:
        text = sys.stdin.read() if str(path) == "-" else path.expanduser().read_text(encoding="utf-8-sig")
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadParam(f"{path}: is not JSON ({error})", param="receipt") from None


def _receipts(given: object) -> Iterator[tuple[str, str]]:
    """Yields each receipt with its signature, from whatever answer or body has them."""
    if isinstance(given, dict):
        text, signature = given.get("receipt"), given.get("signature", "")
        if isinstance(text, str):
            if text:
                yield text, str(signature)
            return
        given = list(given.values())
    for each in given if isinstance(given, list) else ():
        yield from _receipts(each)


def _events(given: object) -> "list[EventRow]":
    import msgspec

    from ..core.audit import EventRow

    rows = given.get("events") if isinstance(given, dict) else given
    try:
        return msgspec.convert(rows, list[EventRow])
    except msgspec.ValidationError as error:
        raise BadParam(f"events: must be the answer of meter-history ({error})", param="events") from None


def _show(text: str, signature: str, events: "list[EventRow] | None") -> bool:
    from ..core.audit import audit as prove
    from ..wire.signature import signer

    try:
        who = signer(text, signature)
    except ValueError:
        who = ""
    proofs = prove(text, who, events)
    stated: JsonObject = json.loads(text)
    console.print(
        visible(f"session {stated['session']} at meter {stated['meter']}, ended: {stated['reason']}"),
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    for proof in proofs:
        _say(proof)
    return all(proof.holds is not False for proof in proofs)


def _say(proof: "Proof") -> None:
    console.print(f"  {MARKS[proof.holds]}  ", end="", highlight=False)
    console.print(visible(proof.words), markup=False, highlight=False, soft_wrap=True)
