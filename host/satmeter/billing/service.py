"""The service put together: one ASGI application a worker."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from .. import __version__
from . import charge, checkout, problem, webapi
from .config import Config, load
from .desk import Desk

STATIC = Path(__file__).parents[1] / "web" / "static"
CONFIG = "SATMETER_CONFIG"
"""The environment's name for the config's path: how it comes to workers, each a process of its own."""


def build(config: Config) -> FastAPI:
    """Return the application of a worker. NodeTrouble, JournalTrouble where node or database can't be used."""
    desk = Desk(config)

    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        desk.hub.start()
        await asyncio.to_thread(desk.start)
        hooks = asyncio.create_task(desk.hooks.run())
        yield
        desk.close()
        hooks.cancel()
        with suppress(asyncio.CancelledError):
            await hooks

    app = FastAPI(title="Satmeter billing", version=__version__, lifespan=running)
    problem.install(app)
    for part in (charge, webapi, checkout):
        app.include_router(part.routes(desk))
    app.mount("/static", StaticFiles(directory=STATIC))
    return app


def worker() -> FastAPI:
    """Return the application of a worker process, by the config that SATMETER_CONFIG names."""
    path = os.environ.get(CONFIG, "")
    return build(load(Path(path) if path else None))


def serve(config: Config, path: Path | None) -> None:
    """Run until SIGINT or SIGTERM; what is under way ends in order."""
    settings = {
        "host": config.host,
        "port": config.port,
        "log_level": "warning",
        "server_header": False,
        "timeout_graceful_shutdown": 5,
        "limit_concurrency": 2000,
    }
    if config.workers == 1:
        uvicorn.run(build(config), **settings)  # type: ignore[arg-type]
    else:
        os.environ[CONFIG] = str(path or "")
        factory = "satmeter.billing.service:worker"
        uvicorn.run(factory, factory=True, workers=config.workers, **settings)  # type: ignore[arg-type]
