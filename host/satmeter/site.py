"""The site put together, one ASGI application a worker: billing, checkout, and the market where the config has one."""

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.middleware.sessions import SessionMiddleware

from . import __version__
from .billing import errors, logs, reference
from .billing.config import Config, load
from .billing.container import Container
from .billing.described import NEEDS_TOKEN, Health, gives, gives_text
from .billing.meter_pages import MeterPages
from .billing.metrics import REQUESTS, SECONDS, Figures, Metrics
from .billing.routes import charge, tokens, uses
from .http import server
from .http.openid import Provider
from .market.container import COOKIES, Market
from .market.http import Visits
from .market.routes import account, auth, catalogue, checkout, meters, openid

SWITCH_S = 0.0005
"""A request should not wait for the 5 ms that Python lets another thread run by default."""
STATIC = Path(__file__).parent / "panel" / "static"
CONFIG = "SATMETER_CONFIG"
"""The environment's name for the config's path: how it comes to workers, each a process of its own."""

HEADINGS = {
    400: "This did not work",
    404: "Nothing is here",
    409: "Not now",
    429: "Too many at once",
    500: "Please try again in a moment",
}
"""What the page of an error is headed by, by its status."""


def build(config: Config) -> FastAPI:
    """Return the application of a worker. NodeTrouble, JournalTrouble where node or database can't be used."""
    sys.setswitchinterval(SWITCH_S)
    billing = Container(config)
    market = Market(billing) if config.market else None
    visits = Visits(config.public_url, market, billing.info)
    app = FastAPI(
        title="Satmeter billing",
        version=__version__,
        lifespan=_lifespan(billing),
        responses={"4XX": errors.PROBLEM},
        docs_url=None,
        redoc_url=None,
    )
    reference.install(app)
    app.state.public_url = config.public_url

    def page(request: Request, status: int, title: str, detail: str) -> Response:
        shown = {"title": title, "detail": detail, "heading": _heading(status), "back": _back(request.url.path)}
        return visits.answer(request, "error", shown, visits.user(request), status)

    errors.install(app, page)
    app.state.billing, app.state.market, app.state.visits = billing, market, visits
    if config.meters:
        app.state.meter_pages = MeterPages(billing.node, config.meters, config.rates)
        app.include_router(meters.router)
    uses.install(app)
    for part in (charge, tokens, checkout):
        app.include_router(part.router)
    if market is not None:
        _add_market(app, config, billing)
    app.mount("/static", StaticFiles(directory=STATIC))
    _add_operating(app, billing, market)
    app.add_middleware(server.Heads)
    app.add_middleware(logs.Requests, seen=_seen)
    return app


def _heading(status: int) -> str:
    """Return what an error's page is headed by, for who has never heard of its name."""
    return HEADINGS.get(status, HEADINGS[500] if status >= 500 else HEADINGS[400])


def _back(path: str) -> str:
    """Return the page of a meter, or of a purchase, from which a person came to an error; "" where there is none."""
    above = path.rpartition("/")[0]
    return above if path.startswith("/m/") and above != "/m" else ""


def _lifespan(billing: Container) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Return what starts the parts of a worker, and ends them when it ends."""

    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        billing.hub.start()
        billing.happenings.start()
        server.on_ending(billing.end_streams)
        await asyncio.to_thread(billing.start)
        hooks = asyncio.create_task(billing.hooks.run())
        yield
        billing.close()
        hooks.cancel()
        with suppress(asyncio.CancelledError):
            await hooks

    return running


def _add_market(app: FastAPI, config: Config, billing: Container) -> None:
    """Add the market's pages, and logging in by OpenID where the config has a provider."""
    for page_routes in (auth, catalogue, account):
        app.include_router(page_routes.router)
    if config.openid is not None:
        app.state.openid = Provider(config.openid)
        app.include_router(openid.router)
    key, secure = billing.node.secret(COOKIES).hex(), config.public_url.startswith("https")
    app.add_middleware(
        SessionMiddleware, secret_key=key, session_cookie="satmeter-openid", max_age=600, https_only=secure
    )


def _add_operating(app: FastAPI, billing: Container, market: Market | None) -> None:
    """Add what an operator's monitoring asks for: /health and /metrics."""
    metrics = Metrics(billing.database)
    if market is not None:
        metrics.sources.append(lambda: _books(market))

    @app.get("/health", tags=["operating"], **gives(Health, others={503: "node or database do not answer"}))
    def health() -> Response:
        """Whether node and database answer: 200, or 503 and which does not."""
        return _health(billing)

    @app.get("/metrics", tags=["operating"], dependencies=NEEDS_TOKEN, **gives_text("text/plain"))
    def exposition(request: Request) -> Response:
        """Figures for Prometheus; scope `metrics`."""
        billing.client(request, "metrics")
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")


def _health(billing: Container) -> Response:
    wrong = []
    for name, look in (("node", billing.node.info), ("database", billing.invoices.index)):
        try:
            look()
        except Exception as error:
            wrong.append(name)
            logging.getLogger("satmeter.billing").warning("health: %s: %s", name, error)
    said = {"status": "fail" if wrong else "ok", "wrong": wrong}
    return JSONResponse(said, 503 if wrong else 200, headers={"Cache-Control": "no-store"})


def _seen(method: str, route: str, status: int, seconds: float) -> None:
    REQUESTS.labels(method, route, str(status)).inc()
    SECONDS.labels(route).observe(seconds)


def _books(market: Market) -> Figures:
    return {("accounts_msat", "account"): market.ledger.totals()}


def worker() -> FastAPI:
    """Return the application of a worker process, by the config that SATMETER_CONFIG names."""
    logs.begin()
    path = os.environ.get(CONFIG, "")
    return build(load(Path(path) if path else None))


def serve(config: Config, path: Path | None) -> None:
    """Run until SIGINT or SIGTERM; what is under way ends in order."""
    given = {**server.settings(config.host, config.port, config.proxies), "log_config": None, "limit_concurrency": 2000}
    if config.workers == 1:
        server.run(build(config), f"billing at http://{config.host}:{config.port}/", **given)
    else:
        print(f"billing begins at http://{config.host}:{config.port}/, with {config.workers} workers", flush=True)
        os.environ[CONFIG] = str(path or "")
        uvicorn.run("satmeter.site:worker", factory=True, workers=config.workers, **given)
