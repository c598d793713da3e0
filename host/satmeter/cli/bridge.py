"""`satmeter bridge`: relays between a board, or other devices, and the plugin of its meter or stream."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from ..node import DEFAULT_SOCKET
from ..wire.address import endpoint
from .board import KEY, Port
from .failing import fail, failing
from .logs import log


def bridge(
    port: Port = "",
    meter: Annotated[str, typer.Option(help="the seller's meter that the board belongs to")] = "",
    stream: Annotated[str, typer.Option(help="the buyer's stream (session id or meter name)")] = "",
    rpc: Annotated[Path, typer.Option(help="the node's lightning-rpc socket")] = DEFAULT_SOCKET,
    key: Annotated[Path, typer.Option(help="the board's key file (hex, mode 0600)")] = KEY,
    plugin: Annotated[Path | None, typer.Option(help="plugin to start again if it has died")] = None,
    config: Annotated[Path | None, typer.Option(help="bridge.toml: meters sold through plugs, meters, MQTT")] = None,
    metrics: Annotated[str, typer.Option(help="HOST:PORT for Prometheus: figures of the bridge itself")] = "",
) -> None:
    """Relay between a board on a serial port and the plugin of its meter or stream; with --config, other devices."""
    if config is not None:
        if meter or stream or port:
            raise fail("give either --config, or a board's --port, --meter and --stream")
        with failing("device", ValueError):
            log()
            for noisy in ("httpx", "pymodbus", "ocpp", "websockets"):
                logging.getLogger(noisy).setLevel(logging.ERROR)
            import asyncio  # 4 MB that no other command here has a use for

            from ..device.run import run

            asyncio.run(run(config.expanduser(), metrics))
        return
    if bool(meter) == bool(stream):
        raise fail("give either --meter NAME (a seller's board) or --stream NAME (a buyer's)")
    from .board_bridge import BoardBridge, become

    if metrics:
        with failing("metrics"):
            import prometheus_client  # noqa: F401  # said now if it is missing

            endpoint("--metrics", metrics)
    with failing("board", ValueError):
        log()
        become(BoardBridge(port, meter, stream, rpc.expanduser(), key.expanduser(), plugin, metrics))
