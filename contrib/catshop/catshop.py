#!/usr/bin/env python3
"""A cat for 100 sat: a shop in a hundred lines, on the billing service.

    satmeter client add cats --scope invoice > cats.token
    satmeter serve &
    .venv/bin/python contrib/catshop/catshop.py --token-file cats.token

Open http://127.0.0.1:8090/, buy, pay with any wallet, and the link shows what you bought. The link is the receipt: it
is made for this sale, nobody can guess it, and it shows the cat once the invoice is paid.
"""

import argparse
import html
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx

PRICE_MSAT = 100_000
CATS = r"""
   /\_/\        /\_/\
  ( o.o )      ( -.- )
   > ^ <        > ^ <     Two cats!
"""
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>The cat shop</title>
<style>body {{ font-family: system-ui; max-width: 30rem; margin: 2rem auto; padding: 0 1rem }}
pre {{ font-size: 1.1rem }} p {{ overflow-wrap: anywhere }} img {{ width: 100%; max-width: 20rem }}</style>
<h1>The cat shop</h1>{body}</html>"""
OFFER = '<p>A picture of a cat, for 100 sat.</p><form method="post" action="/buy"><button>Buy the cat</button></form>'
PAY = """<p>Pay 100 sat, and keep this page's link: it shows the cat.</p>
<a href="lightning:{payreq}"><img alt="{payreq}" src="/qr/{id}"></a><p>{payreq}</p>
<script>fetch("/wait/{id}").then(() => location.reload())</script>"""


class Shop(BaseHTTPRequestHandler):
    billing: httpx.Client

    def do_GET(self) -> None:
        room, _, id = self.path.strip("/").partition("/")
        if not room:
            self.show(OFFER)
        elif room == "cat":
            self.cat(id)
        elif room == "wait":
            self.billing.get(f"/invoice/{quoted(id)}/wait", params={"timeout": 30})
            self.say(204)
        elif room == "qr":
            self.qr(id)
        else:
            self.say(404)

    def do_POST(self) -> None:
        if self.path != "/buy":
            self.say(404)
            return
        made = self.billing.post("/invoice", json={"msatoshi": PRICE_MSAT, "description": "a cat", "expiry": 600})
        if made.status_code != 201:
            self.show("<p>No cats can be sold at the moment.</p>", 503)
            return
        self.say(303, {"Location": f"/cat/{made.json()['id']}"})

    def cat(self, id: str) -> None:
        """The unique link: what is to be paid, or the cat."""
        found = self.billing.get(f"/invoice/{quoted(id)}")
        if found.status_code != 200:
            self.show("<p>There is no such cat.</p>", 404)
        elif found.json()["status"] == "paid":
            self.show(f"<p>Thank you. Your cat:</p><pre>{html.escape(CATS)}</pre>")
        elif found.json()["status"] == "expired":
            self.show("<p>This took too long.</p>" + OFFER, 410)
        else:
            self.show(PAY.format(payreq=found.json()["payreq"], id=quoted(id)))

    def qr(self, id: str) -> None:
        found = self.billing.get(f"/checkout/{quoted(id)}/qr.png")
        self.say(found.status_code, {"Content-Type": "image/png"}, found.content)

    def show(self, body: str, status: int = 200) -> None:
        self.say(status, {"Content-Type": "text/html; charset=utf-8"}, PAGE.format(body=body).encode())

    def say(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def quoted(id: str) -> str:
    return urllib.parse.quote(id, safe="")


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--billing", default="http://127.0.0.1:9112", help="the billing service")
    options.add_argument("--token-file", type=Path, required=True, help="holds the api-token (scope invoice)")
    options.add_argument("--port", type=int, default=8090)
    given = options.parse_args()
    auth = ("api-token", given.token_file.read_text().strip())
    Shop.billing = httpx.Client(base_url=given.billing, auth=auth, timeout=60)
    server = ThreadingHTTPServer(("127.0.0.1", given.port), Shop)
    print(f"cats at http://127.0.0.1:{given.port}/", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
