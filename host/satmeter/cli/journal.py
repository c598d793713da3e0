"""`satmeter journal`: back up, restore, move and audit a plugin's journal."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from .failing import fail, failing

if TYPE_CHECKING:
    from ..journal.backup import About

app = typer.Typer(help="A plugin's journal: back it up, restore, move and check it.")
console = Console()
AUDIT_S = 120.0
"""A node that does not answer one question for so long is away."""
JOURNAL = "the journal, such as ~/.lightning/bitcoin/satmeter-meter.sqlite3, or a database URL"


def _say_journal(where: str, found: "About", what: str = "") -> None:
    text = f"{where}journal of {found.role} on {found.node_id}, {found.events:,} events{what}"
    console.print(text, markup=False, highlight=False, soft_wrap=True)


@app.command("backup")
def journal_backup(
    journal: Annotated[str, typer.Argument(help=JOURNAL)],
    to: Annotated[Path, typer.Argument(help="the file to write")],
) -> None:
    """Write a journal to one file, also while its plugin runs."""
    from ..journal import backup, move

    with failing(""):
        if "://" in journal:
            found = move.copy(move.url_of(journal), move.url_of(str(to)))
        else:
            found = backup.backup(Path(journal).expanduser(), to.expanduser())
    _say_journal(f"{to}: ", found)


@app.command("restore")
def journal_restore(
    saved: Annotated[Path, typer.Argument(help="the backup")],
    journal: Annotated[str, typer.Argument(help="where the journal belongs: a file, or a database URL")],
) -> None:
    """Put a backup in the place of a journal whose plugin does not run; the one that is there is kept beside it."""
    from ..journal import backup, move

    with failing(""):
        if "://" in journal:
            found = move.copy(move.url_of(str(saved)), move.url_of(journal))
        else:
            found = backup.restore(saved.expanduser(), Path(journal).expanduser())
    _say_journal(f"{journal}: ", found)


@app.command("move")
def journal_move(
    journal: Annotated[str, typer.Argument(help=JOURNAL)],
    to: Annotated[str, typer.Argument(help="where it is to be: a database URL, or a new file")],
) -> None:
    """Move a journal whose plugin does not run to another database; name that in meter-db or stream-db then."""
    from ..journal import move

    with failing(""):
        found = move.move(move.url_of(journal), move.url_of(to))
    _say_journal("", found, ", moved")


@app.command("audit")
def journal_audit(
    journal: Annotated[str, typer.Argument(help=JOURNAL)],
    rpc: Annotated[Path | None, typer.Option(help="its node's lightning-rpc socket, to compare payments")] = None,
) -> None:
    """Check that a journal is whole: events, receipts and, with --rpc, the node's payments. Exit code 1: it is not."""
    from pyln.client import RpcError

    from ..node.rpc import Node, words_of
    from .audit import audit_journal

    with failing(""):
        try:
            good = audit_journal(journal, Node(str(rpc.expanduser()), AUDIT_S) if rpc is not None else None)
        except RpcError as error:
            raise fail(f"{rpc}: {words_of(error)}") from None
    raise typer.Exit(0 if good else 1)
