"""`satmeter client`: the clients of the billing service, and their api-tokens."""

import time
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console

from ..core.errors import BadParam
from .billing import Where, database_of
from .failing import failing

app = typer.Typer(no_args_is_help=True, help="Clients of the billing service: their api-tokens.")
console = Console()
Days = Annotated[int, typer.Option(min=0, max=36_500, help="the api-token ends after so many days; 0: never")]


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="a-z, 0-9 and -")],
    scope: Annotated[list[str], typer.Option(help="invoice, pay, verify, verify-own, meter or metrics; once for each")],
    days: Days = 0,
    config: Where = None,
) -> None:
    """Create a client, and print its api-token. It is shown only once."""
    with failing("billing"):
        from ..billing.api_tokens import ApiTokens

        _say_token(name, ApiTokens(database_of(config)[1]).add(name, scope, expires_at=_after(days)))


@app.command("renew")
def renew(
    name: str,
    keep_hours: Annotated[int, typer.Option(min=0, max=8760, help="the earlier token is good for so long")] = 24,
    days: Days = 0,
    config: Where = None,
) -> None:
    """Create a new api-token for a client, also for a revoked one, and print it. The client's invoices stay."""
    with failing("billing"):
        from ..billing.api_tokens import ApiTokens

        _say_token(name, ApiTokens(database_of(config, True)[1]).replace(name, keep_hours * 3600, _after(days)))


def _say_token(name: str, token: str) -> None:
    try:
        print(token, flush=True)
    except OSError as error:
        text = f"the client {name} was created, but its api-token could not be printed: {error.strerror}"
        raise BadParam(f"{text}; satmeter client renew {name} gives another") from None


def _after(days: int) -> int:
    return int(time.time()) + days * 86_400 if days else 0


@app.command("list")
def list_(config: Where = None) -> None:
    """List the clients."""
    with failing("billing"):
        from rich.table import Table

        from ..billing.api_tokens import ApiTokens

        table = Table("name", "scopes", "made", "ends", "revoked")
        for row in ApiTokens(database_of(config, True)[1]).all():
            days = (_day(row[each]) for each in ("created_at", "expires_at", "revoked_at"))
            table.add_row(str(row["name"]), str(row["scopes"]), *days)
        console.print(table)


def _day(seconds: object) -> str:
    return f"{datetime.fromtimestamp(int(str(seconds)), UTC):%Y-%m-%d %H:%M}" if seconds else ""


@app.command("revoke")
def revoke(name: str, config: Where = None) -> None:
    """Revoke a client's api-token. It is refused within five seconds."""
    with failing("billing"):
        from ..billing.api_tokens import ApiTokens

        ApiTokens(database_of(config, True)[1]).revoke(name)
        console.print(f"{name} is revoked", highlight=False)
