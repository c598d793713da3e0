"""Figures of a journal of years: 20,000 sessions with 1,000,000 payments, copied from one that really happened."""

import json
import sqlite3
import tempfile
import time
from pathlib import Path

from ground import Board, Figure, opened, paid_of, until

from lanes import chromium
from running import RunningPanel
from satmeter.core.seller.state import SellerState
from satmeter.journal.store import Journal
from satmeter.journal.url import sqlite_url

SESSIONS, PAYMENTS = 20_000, 50
APART_MS = 3 * 365 * 86_400_000 // SESSIONS
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]


def years(net):
    """Start, lists, and the page of a meter that has sold for three years."""
    seller = net["seller"]
    board = Board(seller, flow=20)
    board.start()
    session = opened(net, board)
    until(lambda: paid_of(net, [session]) >= PAYMENTS)
    net["buyer"].rpc.call("stream-close", [session])
    until(lambda: not any(m["session"] for m in seller.rpc.call("meter-status")["meters"]))
    board.stop()
    seller.stop()
    events, size = fill(seller, session)
    began = time.monotonic()
    seller.start()
    until(lambda: seller.rpc.call("meter-status", [board.name])["meters"])
    note = f"{events:,} events, {size / 1e6:,.0f} MB; the node's own start with it"
    yield Figure("journal of years: start, s", time.monotonic() - began, 3, note=note)
    yield timed("journal of years: meter-sessions, ms", 100, seller, "meter-sessions", name=board.name)
    yield timed("journal of years: totals of a month, ms", 100, seller, "meter-totals", since=since_days(30))
    yield timed("journal of years: all totals, ms", 3_000, seller, "meter-totals", name=board.name)
    if chromium():
        yield page(seller, board.name)


def since_days(days):
    return int(time.time() * 1000) - days * 86_400_000


def timed(what, bar, node, method, **params):
    began = time.perf_counter()
    rows = node.rpc.call(method, params)
    took = (time.perf_counter() - began) * 1000
    return Figure(what, took, bar, note=f"{len(next(iter(rows.values()))):,} rows")


def page(seller, meter):
    """From the click to the newest receipts on the page, and to its sums; a browser that was here before."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory(prefix="satmeter-bench-") as directory, sync_playwright() as p:
        panel = RunningPanel(Path(directory), seller.lightning_dir / "lightning-rpc")
        try:
            browser = p.chromium.launch(executable_path=chromium(), headless=True, args=FLAGS)
            tab = browser.new_page()
            newest, sums = [], []
            for _ in range(3):
                tab.goto(panel.url + "/sell")
                tab.locator(f"a[href='/sell/{meter}']").wait_for()
                began = time.perf_counter()
                tab.goto(f"{panel.url}/sell/{meter}", wait_until="commit")
                tab.locator("[data-part=receipts] [data-session]").first.wait_for()
                newest.append((time.perf_counter() - began) * 1000)
                tab.get_by_text(f"{SESSIONS + 1:,} sessions").wait_for()
                sums.append((time.perf_counter() - began) * 1000)
            browser.close()
        finally:
            panel.stop()
    note = f"{', '.join(f'{ms:.0f}' for ms in newest)}; with its sums {', '.join(f'{ms:.0f}' for ms in sums)}"
    return Figure("journal of years: page, ms", min(newest), 500, note=note)


def fill(seller, session):
    """Copy the session, under other ids, over three years before now; returns how many events there are, and bytes.

    What was there stays at the beginning: the node remembers how far the journal had come."""
    (path,) = seller.lightning_dir.rglob("satmeter-meter.sqlite3")
    with sqlite3.connect(path) as db:
        about = dict(db.execute("SELECT name, value FROM satmeter_about"))
        rows = db.execute(
            "SELECT at, kind, data FROM satmeter_event WHERE stream = ? ORDER BY id", [session]
        ).fetchall()
        (sold,) = db.execute("SELECT * FROM satmeter_session WHERE id = ?", [session]).fetchall()
    journal = Journal(sqlite_url(path), "meter", about["node_id"])
    snapshot, later = journal.load()
    state = SellerState()
    if snapshot is not None:
        state.load(snapshot)
    for event in later:
        state.apply(event)
    journal.close()
    dumped, first_at = json.dumps(state.dump()), int(time.time() * 1000) - (SESSIONS - 1) * APART_MS
    last = journal.last
    with sqlite3.connect(path) as db:
        db.execute("DELETE FROM satmeter_snapshot")
        for n in range(SESSIONS):
            name, at = f"{n:032x}", first_at + n * APART_MS
            copied = [
                (last + i, at + i, name, kind, data.replace(session, name)) for i, (_, kind, data) in enumerate(rows, 1)
            ]
            last += len(copied)
            db.executemany("INSERT INTO satmeter_event VALUES (?, ?, ?, ?, ?)", copied)
            receipt = sold[6].replace(session, name)
            row = (name, at, *sold[2:4], at + len(rows), sold[5], receipt, sold[7])
            db.execute("INSERT INTO satmeter_session VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        db.execute("INSERT INTO satmeter_snapshot VALUES (?, ?)", [last, dumped])
        db.execute("DELETE FROM satmeter_about WHERE name IN ('base', 'checkpoints')")
    return last, path.stat().st_size
