"""Serves a node's figures to Prometheus: GET /metrics, and nothing else."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from ..core.errors import BadParam
from ..wire.address import endpoint


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

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path.partition("?")[0] == "/metrics"
            body = exposition(figures) if known else b"the figures are at /metrics\n"
            self.send_response(200 if known else 404)
            self.send_header("Content-Type", CONTENT_TYPE_LATEST if known else "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return ThreadingHTTPServer((host, port), Handler)
