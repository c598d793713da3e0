"""The panel's server: pages, what guards them, and what they stand on, put together and run."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path

from fastapi import FastAPI, HTTPException, Request
from fastapi.staticfiles import StaticFiles
from nicegui import app as pages
from nicegui import ui
from starlette.middleware.sessions import SessionMiddleware
from starlette.responses import RedirectResponse, Response

from ..http.openid import Provider
from ..http.server import run, settings
from ..node.any_node import AnyNode
from . import login, scanning
from . import poller as feeds
from .amounts import Rate
from .buy import BuyPage
from .config import PanelConfig
from .guard import Guard
from .layout import Panel
from .poller import Feed, Flows
from .sell import MeterPage, meters
from .sites import sites

log = logging.getLogger("satmeter.panel")

RATE_EVERY_S = 60
AGAIN_S = 5
GRACE_S = 2
"""What is under way at the end may go on for so long; pages that are open connect again."""
CALLS = 4
"""Calls of one node at once."""
RECONNECT_S = 120
"""For so long a page that lost its connection is kept: with what was typed, its dialogs, and what is under way."""
NOTICED_S = 10
"""About as long a page and the panel take to notice that the connection is gone."""


def made(node: AnyNode, site: str = "") -> Panel:
    """Return a panel for a node. NodeTrouble where it does not answer; a site's is asked later, again and again."""
    flows, pool = Flows(), ThreadPoolExecutor(CALLS, "satmeter-panel")
    info = {} if site else node.info()
    sell = Feed(node, feeds.seller(flows), feeds.SellerView(), pool)
    buy = Feed(node, feeds.buyer, feeds.BuyerView(), pool)
    return Panel(node, info, sell, buy, flows, site=site, pool=pool)


def build(
    panels: Sequence[Panel],
    near: AnyNode,
    logins: login.Logins | None,
    config: PanelConfig,
    names: frozenset[str],
    loopback: bool,
    tls: bool,
) -> FastAPI:
    """Return the ASGI application. NiceGUI's pages are of the process, so there is one panel of each node in it.

    Args:
        panels: One, or one a site.
        near: The node of this machine, which says what a bitcoin is worth.
        logins: None where there is no password.
        config: What else is known of who logs in.
        names: Host names that are accepted, besides localhost and addresses.
        loopback: Only loopback addresses are accepted.
        tls: The pages are served by https.
    """
    secure = tls or config.public_url.startswith("https")
    app = FastAPI(lifespan=_lifespan(panels, near), docs_url=None, redoc_url=None, openapi_url=None)
    if logins is not None:
        _add_logins(app, logins, config, secure)
    app.include_router(scanning.routes())
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"))
    _add_pages(app, {panel.site: panel for panel in panels}, logins)
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


def _lifespan(panels: Sequence[Panel], near: AnyNode) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Return what polls the panels' nodes for as long as the application runs."""

    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        jobs = [asyncio.create_task(job) for panel in panels for job in (panel.sell.run(), panel.buy.run())]
        jobs += [asyncio.create_task(_about(panel)) for panel in panels]
        jobs.append(asyncio.create_task(_rates(panels[0].rate, near)))
        await asyncio.gather(*(feed.refresh() for panel in panels for feed in (panel.sell, panel.buy)))
        yield
        for job in jobs:
            job.cancel()
            with suppress(asyncio.CancelledError):
                await job

    return running


def _add_logins(app: FastAPI, logins: login.Logins, config: PanelConfig, secure: bool) -> None:
    """Add the pages of logging in, by password and, where the config has a provider, by OpenID."""
    provider = Provider(config.openid, "openid profile email") if config.openid is not None else None
    asked = login.LoginPages(logins, secure, provider, config.roles, config.public_url)
    app.include_router(asked.router())
    app.add_middleware(  # for the way to the provider and back
        SessionMiddleware,
        secret_key=secrets.token_hex(32),
        session_cookie="satmeter-openid",
        max_age=600,
        https_only=secure,
    )


def _add_pages(app: FastAPI, by_site: Mapping[str, Panel], logins: login.Logins | None) -> None:
    """Add the pages of each site; of one node without a name they begin at /, else at /sites/NAME."""

    def seen(request: Request, site: str = "") -> Panel:
        if site not in by_site:
            raise HTTPException(404, f"there is no site {site[:80]!r}")
        user, value = request.state.user, request.cookies.get(login.COOKIE, "")
        return by_site[site].seen_by(user, lambda: logins is None or logins.user(value) is user)

    if "" in by_site:
        base = ""

        @app.get("/")
        async def start() -> Response:
            return RedirectResponse(_entry(by_site[""]), 303)

    else:
        base = "/sites/{site}"

        @ui.page("/", reconnect_timeout=RECONNECT_S)
        def overview(request: Request) -> None:
            sites({name: seen(request, name) for name in by_site})

        @app.get("/sites/{site}")
        async def of_site(request: Request, site: str) -> Response:
            return RedirectResponse(_entry(seen(request, site)), 303)

    @ui.page(f"{base}/sell", reconnect_timeout=RECONNECT_S)
    def sell(request: Request, site: str = "") -> None:
        meters(seen(request, site))

    @ui.page(f"{base}/sell/{{name}}", reconnect_timeout=RECONNECT_S)
    def meter(request: Request, name: str, site: str = "") -> None:
        MeterPage(seen(request, site), name)

    @ui.page(f"{base}/buy", reconnect_timeout=RECONNECT_S)
    def buy(request: Request, site: str = "") -> None:
        BuyPage(seen(request, site))


def _entry(panel: Panel) -> str:
    """Return the page that a node is begun with: of a node that only buys, the buyer's."""
    return f"{panel.base}/buy" if panel.sell.missing and not panel.buy.missing else f"{panel.base}/sell"


async def _about(panel: Panel) -> None:
    """Ask a site for its name and network until it tells them."""
    while not panel.info:
        try:
            panel.info.update(await panel.apart(panel.node.info))
        except Exception as error:
            log.debug("getinfo of %s: %r", panel.name, error)
            await asyncio.sleep(AGAIN_S)


async def _rates(rate: Rate, near: AnyNode) -> None:
    while True:
        await asyncio.to_thread(rate.refresh, near)
        await asyncio.sleep(RATE_EVERY_S)


def serve(
    app: FastAPI, said: str, host: str, port: int, tls: tuple[Path, Path] | None, proxies: tuple[str, ...] = ()
) -> None:
    """Run until SIGINT or SIGTERM; `said` is printed once it listens.

    `proxies`: reverse proxies whose X-Forwarded-For is believed."""
    cert, key = tls if tls is not None else (None, None)
    run(
        app,
        said,
        ssl_certfile=cert,
        ssl_keyfile=key,
        ws_max_size=1 << 20,
        **{**settings(host, port, proxies), "timeout_graceful_shutdown": GRACE_S},
    )
