"""`satmeter doctor` and `satmeter metrics`: what is wrong with a node, and its figures."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ..core.text import visible
from ..node import DEFAULT_SOCKET
from .failing import failing

console = Console()
Socket = Annotated[Path, typer.Option("--rpc", help="the node's lightning-rpc socket")]
MARKS = {"good": "[green]good[/green]", "mind": "[yellow]mind[/yellow]", "bad": "[red]bad [/red]"}


def doctor(socket: Socket = DEFAULT_SOCKET) -> None:
    """Say what is good and what is wrong with this node, its meters and streams, and what to do. Exit code 1: bad."""
    from ..node.rpc import Node
    from ..watch.doctor import findings

    bad = False
    with failing(""):
        for each in findings(Node(str(socket.expanduser()))):
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

        server = serve(Figures(Node(str(socket.expanduser()))), host, port)
    console.print(f"http://{host}:{server.server_port}/metrics", markup=False, highlight=False, soft_wrap=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()
