"""`satmeter doctor`, `satmeter metrics` and `satmeter fleet`: what is wrong with a node, its figures, many nodes."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ..core.errors import BadParam, SatmeterError
from ..formatting import amount, visible
from ..node import DEFAULT_SOCKET
from ..watch import months
from .failing import failing

if TYPE_CHECKING:
    from ..watch.fleet import Site

console = Console()
ANSWER_S = 10.0
"""For so long doctor waits for an answer of a node."""
Socket = Annotated[Path, typer.Option("--rpc", help="the node's lightning-rpc socket", readable=False)]
MARKS = {"good": "[green]good[/green]", "mind": "[yellow]mind[/yellow]", "bad": "[red]bad [/red]"}


def doctor(socket: Socket = DEFAULT_SOCKET) -> None:
    """Say what is good and what is wrong with this node, its meters and streams, and what to do. Exit code 1: bad."""
    from ..node.rpc import Node
    from ..watch.doctor import findings

    bad = False
    with failing(""):
        for each in findings(Node(str(socket.expanduser()), ANSWER_S)):
            bad |= each.state == "bad"
            console.print(f"{MARKS[each.state]}  ", end="", highlight=False)
            words = f"{each.about}: {each.words}"
            console.print(visible(words), markup=False, highlight=False, soft_wrap=True)
            if each.do:
                console.print(visible(f"      {each.do}"), markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(1 if bad else 0)


def metrics(
    socket: Socket = DEFAULT_SOCKET,
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="port; 0: any")] = 9750,
) -> None:
    """Serve the figures of meters and streams to Prometheus, at /metrics."""
    from ..node.rpc import Node

    with failing("metrics"):
        from ..watch.figures import Figures
        from ..watch.server import serve

        figures = Figures(Node(str(socket.expanduser())))
        try:
            server = serve(figures, host, port)
        except OSError as error:
            raise BadParam(f"--host, --port: {host} {port} can't be listened on: {error.strerror or error}") from None
    where = f"[{host}]" if ":" in host else host
    console.print(f"http://{where}:{server.server_port}/metrics", markup=False, highlight=False, soft_wrap=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


def fleet(
    sources: Annotated[list[str], typer.Argument(help="database URLs with journals, or http(s):// of a Prometheus")],
    month: Annotated[str, typer.Option(help="only sessions of a month, such as 2026-11; of databases")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Say what the sellers of many sites do and have earned. Exit code 1: a site could not be read."""
    from dataclasses import asdict

    from ..watch.fleet import Site, of_database, of_prometheus

    with failing("postgresql"):
        period = months.bounds(month) if month else (0, 0)
        sites = []
        prometheus = [source for source in sources if source.startswith(("http://", "https://"))]
        if month and prometheus:
            raise BadParam("--month: works with journals only: a Prometheus has no times of sessions", param="month")
        for source in sources:
            try:
                found = of_prometheus(source) if source in prometheus else of_database(source, *period)
                sites += found or [Site(_without_password(source), trouble="there is no seller in it")]
            except SatmeterError as error:  # the others can be told of all the same
                sites.append(Site(_without_password(source), trouble=error.message))
    if as_json:
        print(
            json.dumps(
                [{**asdict(site), "meters": [asdict(meter) for meter in site.meters.values()]} for site in sites]
            )
        )
    else:
        _show(sites)
    raise typer.Exit(1 if any(site.trouble for site in sites) else 0)


def _without_password(source: str) -> str:
    """Returns a source as people may see it; of what is no URL nothing that may be a password."""
    from ..journal.url import check_url, shown

    try:
        check_url("source", source)
        return shown(source) if source else "''"
    except BadParam:
        return source.rpartition("@")[2].partition("?")[0]


def _show(sites: "list[Site]") -> None:
    rows = [("site", "meter", "state", "sessions", "earned", "")]
    for site in sites:
        for meter in sorted(site.meters.values(), key=lambda meter: meter.name):
            heard = "not heard" if meter.heard is False else ""
            earned = amount(meter.earned_msat, "sat")
            rows.append((site.name, meter.name, meter.state, f"{meter.sessions:,}", earned, heard))
    shown = [[visible(text) for text in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    for row in shown:
        cells = (
            text.rjust(width) if at in (3, 4) else text.ljust(width)
            for at, (text, width) in enumerate(zip(row, widths))
        )
        print("  ".join(cells).rstrip())
    for site in sites:
        notes = [site.trouble, f"{site.alarms:,} to look at" if site.alarms else ""]
        notes.append(f"{amount(site.owed_msat, 'sat')} owed" if site.owed_msat else "")
        for note in filter(None, notes):
            print(visible(f"{site.name}: {note}"))
    earned_msat = sum(meter.earned_msat for site in sites for meter in site.meters.values())
    count = "1 site" if len(sites) == 1 else f"{len(sites):,} sites"
    print(f"{count}, {amount(earned_msat, 'sat')} earned")
