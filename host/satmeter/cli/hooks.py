"""`satmeter hooks`: webhooks of the billing service that were given up."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ..core.errors import BadParam
from .billing import NODE_S, Where, database_of
from .failing import failing

if TYPE_CHECKING:
    from ..billing.webhooks import Webhooks

app = typer.Typer(no_args_is_help=True, help="Webhooks that could not be delivered.")
console = Console()


@app.command("dead")
def dead(config: Where = None) -> None:
    """List the webhooks that were given up."""
    with failing("billing"):
        for row in _hooks(config).dead():
            console.print(f"{row['id']}  {row['invoice']}  {row['url']}  {row['said']}", markup=False, soft_wrap=True)


@app.command("replay")
def replay(id: Annotated[str, typer.Argument(help="one of them; without it all")] = "", config: Where = None) -> None:
    """Let the running service try dead webhooks again."""
    with failing("billing"):
        count = _hooks(config).replay(id)
        if id and not count:
            raise BadParam(f"id: there is no dead webhook {id!r}; satmeter hooks dead lists them")
        console.print(f"{count} will be tried again")


def _hooks(config: Path | None) -> "Webhooks":
    from ..billing.events import Events
    from ..billing.invoices import Invoices
    from ..billing.ssrf import Outward
    from ..billing.webhooks import Webhooks
    from ..node.rpc import Node

    given, database = database_of(config, True)
    events = Events(database)
    invoices = Invoices(database, Node(str(given.rpc), NODE_S), events)
    return Webhooks(database, invoices, events, given.hook_secret.encode(), Outward(given.hook_hosts, "hook_hosts"))
