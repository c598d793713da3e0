"""`satmeter gate`: a paying reverse proxy."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from .failing import failing
from .logs import log


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
