"""`satmeter books`: the hub's accounts, and whether they agree."""

from typing import Annotated

import typer
from rich.console import Console

from ..core.errors import BadParam
from .billing import NODE_S, Where, database_of
from .failing import failing

console = Console()


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
        given, database = database_of(config)
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
