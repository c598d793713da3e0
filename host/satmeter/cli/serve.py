"""`satmeter serve` and `satmeter client`: the billing service, and the api-tokens of its clients."""

import logging
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ..core.errors import BadParam, SatmeterError
from .failing import failing
from .logs import log

if TYPE_CHECKING:
    from ..billing.config import Config
    from ..billing.database import Database

console = Console()
client_app = typer.Typer(no_args_is_help=True, help="Clients of the billing service: their api-tokens.")
hooks_app = typer.Typer(no_args_is_help=True, help="Webhooks that could not be delivered.")
Where = Annotated[Path | None, typer.Option("--config", help="the service's config (TOML); see docs/billing.md")]
Days = Annotated[int, typer.Option(min=0, max=36_500, help="the api-token ends after so many days; 0: never")]


def serve(config: Where = None) -> None:
    """Run the billing service until Ctrl-C."""
    with failing("billing"):
        from ..billing import logs
        from ..billing.config import load

        given = load(config)
        logs.begin()
        if given.workers > 1:  # before the library that counts is imported
            from ..billing.shared_metrics import share_between_workers

            share_between_workers()
        from .. import site

        site.serve(given, config)


def gate(config: Annotated[Path, typer.Option(help="the gate's config (TOML); see docs/billing.md")]) -> None:
    """Run a gate: a reverse proxy that lets a request through only when it is paid for."""
    with failing(""):
        log()
    logging.getLogger("httpx").setLevel(logging.WARNING)
    with failing("billing"):
        from ..gate.config import load
        from ..gate.proxy import Gate
        from ..http.server import run, settings

        given = load(config)
        said = f"gate at http://{given.host}:{given.port}/ before {given.upstream}"
        run(Gate(given).app(), said, **settings(given.host, given.port, given.proxies))


NODE_S = 10.0
"""A node that does not answer for so long is away, for a command."""


def _database(config: Path | None, without_node: bool = False) -> "tuple[Config, Database]":
    """Returns config and database; `without_node`: also where the node is away, of a database that is there."""
    from sqlalchemy import make_url

    from ..billing.config import load
    from ..billing.database import Database
    from ..journal.backup import give_to_owner
    from ..journal.url import sqlite_url
    from ..node.rpc import Node

    given = load(config)
    url = given.database or sqlite_url(given.rpc.parent / "satmeter-billing.sqlite3")
    try:
        node_id = str(Node(str(given.rpc), NODE_S).info()["id"])
    except SatmeterError:
        if not without_node:
            raise
        node_id = ""
    path = Path(make_url(url).database or "") if url.startswith("sqlite") else None
    is_new = path is not None and not path.exists()
    database = Database(url, node_id)
    if path is not None and is_new:
        give_to_owner(path, path.parent)
    return given, database


@client_app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="a-z, 0-9 and -")],
    scope: Annotated[list[str], typer.Option(help="invoice, pay, verify, verify-own, meter or metrics; once for each")],
    days: Days = 0,
    config: Where = None,
) -> None:
    """Make a client, and print its api-token, which is shown this once."""
    with failing("billing"):
        from ..billing.api_tokens import ApiTokens

        _say_token(name, ApiTokens(_database(config)[1]).add(name, scope, expires_at=_after(days)))


@client_app.command("renew")
def renew(
    name: str,
    keep_hours: Annotated[int, typer.Option(min=0, max=8760, help="the earlier token is good for so long")] = 24,
    days: Days = 0,
    config: Where = None,
) -> None:
    """Give a client another api-token, and print it; its invoices stay, also where it was revoked."""
    with failing("billing"):
        from ..billing.api_tokens import ApiTokens

        _say_token(name, ApiTokens(_database(config, True)[1]).replace(name, keep_hours * 3600, _after(days)))


def _say_token(name: str, token: str) -> None:
    try:
        print(token, flush=True)
    except OSError as error:
        text = f"the client {name} is made, and its api-token could not be written: {error.strerror}"
        raise BadParam(f"{text}; satmeter client renew {name} gives another") from None


def _after(days: int) -> int:
    return int(time.time()) + days * 86_400 if days else 0


@client_app.command("list")
def list_(config: Where = None) -> None:
    """List the clients."""
    with failing("billing"):
        from rich.table import Table

        from ..billing.api_tokens import ApiTokens

        table = Table("name", "scopes", "made", "ends", "revoked")
        for row in ApiTokens(_database(config, True)[1]).all():
            days = (_day(row[each]) for each in ("created_at", "expires_at", "revoked_at"))
            table.add_row(str(row["name"]), str(row["scopes"]), *days)
        console.print(table)


def _day(seconds: object) -> str:
    return f"{datetime.fromtimestamp(int(str(seconds)), UTC):%Y-%m-%d %H:%M}" if seconds else ""


@client_app.command("revoke")
def revoke(name: str, config: Where = None) -> None:
    """End a client's api-token: within five seconds it is good for nothing."""
    with failing("billing"):
        from ..billing.api_tokens import ApiTokens

        ApiTokens(_database(config, True)[1]).revoke(name)
        console.print(f"{name} is revoked", highlight=False)


@hooks_app.command("dead")
def dead(config: Where = None) -> None:
    """List the webhooks that were given up."""
    with failing("billing"):
        for row in _hooks(config).dead():
            console.print(f"{row['id']}  {row['invoice']}  {row['url']}  {row['said']}", markup=False, soft_wrap=True)


@hooks_app.command("replay")
def replay(id: Annotated[str, typer.Argument(help="one of them; without it all")] = "", config: Where = None) -> None:
    """Have given-up webhooks tried anew by the running service."""
    with failing("billing"):
        count = _hooks(config).replay(id)
        if id and not count:
            raise BadParam(f"id: there is no dead webhook {id!r}; satmeter hooks dead lists them")
        console.print(f"{count} will be tried again")


def books(
    config: Where = None,
    attend: Annotated[str, typer.Option(help="end the alarm of the payment with this hash, then show them")] = "",
    rest_to: Annotated[str, typer.Option(help="with --attend: who gets what is still held, payer or hub")] = "",
) -> None:
    """Show the hub's accounts, and whether they agree with one another and with the node's payments.

    The exit code is 1 where they do not agree, or where a person has to look at a payment."""
    with failing("billing"):
        from ..market.alarms import attend as end_alarm
        from ..market.audit import differences
        from ..market.ledger import Ledger
        from ..node.payments import Payments
        from ..node.rpc import Node

        if bool(attend) != bool(rest_to):
            raise BadParam("give --attend HASH and --rest-to payer or hub together")
        given, database = _database(config)
        accounts = Ledger(database, given.hub_fee_ppm)
        if attend:
            rest = end_alarm(database, accounts, attend, rest_to)
            console.print(f"the alarm is ended; {rest:,} msat were still held", highlight=False)
        sums = accounts.sums()
        wrong = sums.pop("wrong")
        for name, msat in sums.items():
            console.print(f"{name:<30} {msat:>20,} msat", highlight=False)
        for line in differences(database, Payments(Node(str(given.rpc), NODE_S)).outcome):
            console.print(line, style="red", markup=False, highlight=False, soft_wrap=True)
            wrong += 1
        console.print("[red]they do not agree[/red]" if wrong else "they agree")
        if wrong:
            raise typer.Exit(1)


def _hooks(config: Path | None):  # type: ignore[no-untyped-def]
    from ..billing.events import Events
    from ..billing.invoices import Invoices
    from ..billing.ssrf import Outward
    from ..billing.webhooks import Webhooks
    from ..node.rpc import Node

    given, database = _database(config, True)
    events = Events(database)
    invoices = Invoices(database, Node(str(given.rpc), NODE_S), events)
    return Webhooks(database, invoices, events, given.hook_secret.encode(), Outward(given.hook_hosts, "hook_hosts"))
