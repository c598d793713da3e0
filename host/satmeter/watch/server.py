"""Serves a node's figures to Prometheus: GET /metrics, and nothing else."""

import logging
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from ..core.errors import BadParam
from ..wire.address import endpoint

log = logging.getLogger("satmeter")


def exposition(figures: Collector) -> bytes:
    """Returns what Prometheus reads."""
    registry = CollectorRegistry()
    registry.register(figures)
    return generate_latest(registry)


def in_background(figures: Collector, where: str) -> ThreadingHTTPServer:
    """Returns a server that runs beside what this process does; BadParam where HOST:PORT can't be listened on."""
    host, _, port = endpoint("--metrics", where).rpartition(":")
    try:
        server = serve(figures, host.strip("[]"), int(port))
    except OSError as error:
        raise BadParam(f"--metrics: {where}: {error.strerror or error}", param="metrics") from None
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="satmeter-metrics", daemon=True).start()
    return server


def serve(figures: Collector, host: str, port: int) -> ThreadingHTTPServer:
    """Returns a server that listens; OSError where it can't. The caller runs it (serve_forever)."""
    if not host:
        raise BadParam("--host: must be an address to listen on, such as 127.0.0.1", param="host")
    asking = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.partition("?")[0] != "/metrics":
                self.answer(404, b"the figures are at /metrics\n")
            elif not asking.acquire(blocking=False):  # a node that does not answer would have a thread for each scrape
                self.answer(503, b"the node has not answered the last scrape yet\n")
            else:
                try:
                    body = exposition(figures)
                finally:
                    asking.release()
                self.answer(200, body, CONTENT_TYPE_LATEST)

        def answer(self, status: int, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

        def handle_error(self, request: object, client_address: object) -> None:
            """A scraper that hangs up is no news; what else went wrong is one line."""
            error = sys.exception()
            if not isinstance(error, ConnectionError):
                log.warning("the figures could not be told: %r", error)

    return Server((host, port), Handler)
