"""The panel's server: pages, what guards them, and what they stand on, put together and run."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from nicegui import app as pages
from nicegui import ui
from starlette.responses import RedirectResponse, Response

from ..node.rpc import Node
from . import login, scanning
from . import poller as feeds
from .buy import BuyPage
from .guard import Guard
from .layout import Panel
from .poller import Feed, Flows
from .sell import MeterPage, overview

log = logging.getLogger("satmeter.web")

RATE_EVERY_S = 60
RECONNECT_S = 120
"""For so long a page that lost its connection is kept: with what was typed, its dialogs, and what is under way."""
NOTICED_S = 10
"""About as long a page and the panel take to notice that the connection is gone."""


def made(node: Node) -> Panel:
    """Return a panel for a node that answers; NodeTrouble where it does not."""
    flows = Flows()
    return Panel(node, node.info(), Feed(node, feeds.seller(flows)), Feed(node, feeds.buyer), flows)


def build(panel: Panel, logins: login.Logins | None, names: frozenset[str], loopback: bool, tls: bool) -> FastAPI:
    """Return the ASGI application. NiceGUI's pages are of the process, so there is one panel in it."""

    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        jobs = [asyncio.create_task(job) for job in (panel.sell.run(), panel.buy.run(), _rates(panel))]
        await asyncio.gather(panel.sell.refresh(), panel.buy.refresh())
        yield
        for job in jobs:
            job.cancel()
            with suppress(asyncio.CancelledError):
                await job

    app = FastAPI(lifespan=running, docs_url=None, redoc_url=None, openapi_url=None)
    if logins is not None:
        app.include_router(login.routes(logins, secure=tls))
    app.include_router(scanning.routes())
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"))

    @app.get("/")
    async def start() -> Response:
        return RedirectResponse("/buy" if panel.sell.missing and not panel.buy.missing else "/sell", 303)

    @ui.page("/sell", reconnect_timeout=RECONNECT_S)
    def sell() -> None:
        overview(panel)

    @ui.page("/sell/{name}", reconnect_timeout=RECONNECT_S)
    def meter(name: str) -> None:
        MeterPage(panel, name)

    @ui.page("/buy", reconnect_timeout=RECONNECT_S)
    def buy() -> None:
        BuyPage(panel)

    ui.run_with(
        app,
        title="Satmeter",
        dark=None,
        language="en-US",
        tailwind=False,
        reconnect_timeout=NOTICED_S,
        show_welcome_message=False,
        favicon="⚡",
    )
    pages.config.quasar_config["loadingBar"]["skipHijack"] = True  # a bar at each poll tells nobody anything
    app.add_middleware(Guard, logins=logins, names=names, loopback=loopback)
    return app


async def _rates(panel: Panel) -> None:
    while True:
        await asyncio.to_thread(panel.rate.refresh, panel.node)
        await asyncio.sleep(RATE_EVERY_S)


def serve(app: FastAPI, host: str, port: int, tls: tuple[Path, Path] | None) -> None:
    """Run until SIGINT or SIGTERM."""
    cert, key = tls if tls is not None else (None, None)
    uvicorn.run(
        app,
        host=host,
        port=port,
        ssl_certfile=cert,
        ssl_keyfile=key,
        log_level="warning",
        ws_max_size=1 << 20,
        timeout_graceful_shutdown=2,
        server_header=False,
    )
