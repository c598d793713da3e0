"""Figures of trading on two nodes: streams against plain payments over the same channel, and the way to the light."""

import secrets
import statistics
import struct
import time

from ground import Board, Figure, interleaved, invoice_and_pay, opened, paid_of, plain_rate, stream_rate, until

from satmeter.board.virtual import VirtualBoard
from satmeter.bridge import Bridge, MeterSide
from satmeter.node.rpc import Node

ROUNDS = 5
SECONDS = 5
STREAMS = 30


def one_stream(net):
    """One invoice out at a time; the resource flows at three quanta a second."""
    a, b, ratio = interleaved(lambda: stream_rate(net, SECONDS, flow=3), lambda: plain_rate(net, SECONDS), ROUNDS)
    return Figure("one stream, window 1", ratio, 1.25, True, f"{a:.1f} against {b:.1f} payments/s")


def window_of_four(net):
    """Four invoices of a quarter each; the resource flows as fast as it is paid. What the node makes of four plain
    loops at once is told beside it: no stream can do more by xpay."""
    most = []

    def ours():
        most.append(plain_rate(net, SECONDS, 4))
        return stream_rate(net, SECONDS, flow=50, window=4)

    a, b, ratio = interleaved(ours, lambda: plain_rate(net, SECONDS), ROUNDS)
    note = f"{a:.1f} against {b:.1f} payments/s; four plain loops at once: {statistics.median(most):.1f}"
    return Figure("one stream, window 4", ratio, 2.3, True, note)


def thirty_streams(net, name="30 streams on one channel"):
    """Thirty boards that report four times a second, as the firmware does."""
    ours = lambda: stream_rate(net, SECONDS, STREAMS, flow=0.3, report_s=0.25)  # noqa: E731
    a, b, ratio = interleaved(ours, lambda: plain_rate(net, SECONDS, STREAMS), ROUNDS)
    return Figure(name, ratio, 0.9, True, f"{a:.1f} against {b:.1f} payments/s")


def thirty_streams_thirty_htlcs(net):
    figure = thirty_streams(net, "30 streams, max-concurrent-htlcs=30")
    lost = [s for s in net["buyer"].rpc.call("stream-receipts", {"limit": 1000})["receipts"] if not s["receipt"]]
    if lost:
        raise AssertionError(f"{len(lost)} streams ended without a receipt")
    return figure


def plug_to_light(net):
    """From the plug going in to the lamp: board, line, bridge, seller, buyer's payment, and all the way back."""
    name = f"light-{secrets.token_hex(2)}"
    meter = {"name": name, "price_msat": 1000, "ticks_per_unit": 1000, "quantum_msat": 1000, "grace_s": 60}
    net["seller"].rpc.call("meter-add", meter)
    key = secrets.token_bytes(32)
    board = VirtualBoard(key, name)
    board.unplug()
    bridge = Bridge(board.port, key, Node(str(net["seller"].lightning_dir / "lightning-rpc")), MeterSide(name))
    bridge.start()
    address = f"SATMETER://{net['seller'].address}/{net['seller'].id}/{name}".upper()
    caps = {"unit": "unit", "seller": address, "max_price_msat": 10**6, "budget_msat": 10**8, "max_fee_msat": 0}

    def shown():
        return net["seller"].rpc.call("meter-status", [name])["meters"][0]

    def light():
        began = time.monotonic()
        board.plug()
        until(lambda: shown()["plugged"], every_s=0.002)
        session = net["buyer"].rpc.call("stream-open", caps)["session"]
        until(lambda: board.hal.lamp_on and board.lamp == "on" and board.flowing, every_s=0.002)
        took = time.monotonic() - began
        net["buyer"].rpc.call("stream-close", [session])
        until(lambda: shown()["state"] == "standby" and board.grant == 0)
        board.unplug()
        until(lambda: not shown()["plugged"])
        return took

    def plain():
        began = time.monotonic()
        invoice_and_pay(net)
        return time.monotonic() - began

    until(lambda: shown()["board"] == "heard" and not shown()["plugged"])
    try:
        a, b, ratio = interleaved(light, plain, 3 * ROUNDS)
    finally:
        bridge.stop()
        board.close()
    return Figure("plug-in to light on", ratio, 1.5, False, f"{a * 1000:.0f} ms against {b * 1000:.0f} ms")


def report(net):
    """meter-report against a method that does nothing, of a plugin that is otherwise empty."""
    board = Board(net["seller"], flow=1)
    rpc = net["seller"].rpc

    def timed(call, n=200):
        began = time.monotonic()
        for _ in range(n):
            call()
        return (time.monotonic() - began) / n

    a, b, ratio = interleaved(lambda: timed(board.report), lambda: timed(lambda: rpc.call("empty")), 9)
    return Figure("meter-report", ratio, 2.0, False, f"{a * 1000:.2f} ms against {b * 1000:.2f} ms")


def written(net):
    """What a payment a second writes to the disk: commits of both journals, each one fsync, and by process the bytes in
    whole blocks (0 on a tmpfs, which is no disk)."""
    import psutil

    from satmeter import devnet

    pids = {"meter": net["seller"].plugin_pid(devnet.METER), "stream": net["buyer"].plugin_pid(devnet.STREAM)}
    for name in ("seller", "buyer") if net.kind == "real" else ():
        pids[f"{name}'s lightningd"] = net[name].node.daemon.proc.pid

    def commits(node, role):
        """SQLite counts them in the head of the index that it keeps beside its write-ahead log."""
        with (node.lightning_dir / f"satmeter-{role}.sqlite3-shm").open("rb") as f:
            return struct.unpack_from("=I", f.read(12), 8)[0]

    def now():
        wrote = {name: psutil.Process(pid).io_counters().write_bytes / 1000 for name, pid in pids.items()}
        return paid_of(net, [session]), commits(net["seller"], "meter") + commits(net["buyer"], "stream"), wrote

    board = Board(net["seller"], flow=1, report_s=0.25)
    board.start()
    session = opened(net, board)
    paid, committed, before = now()
    until(lambda: paid_of(net, [session]) >= paid + 30)
    n, made, after = now()
    net["buyer"].rpc.call("stream-close", [session])
    board.stop()
    note = "kB: " + ", ".join(f"{name} {(after[name] - before[name]) / (n - paid):.0f}" for name in pids)
    return Figure("commits a payment, both journals", (made - committed) / (n - paid), 4.5, note=note)


def sessions_in_memory(net):
    """Resident memory of the seller's plugin with a thousand open sessions, in MB."""
    import psutil

    from satmeter import devnet

    process = psutil.Process(net["seller"].plugin_pid(devnet.METER))
    empty = process.memory_info().rss / 1e6
    terms = {"session_max_msat": 1000, "quantum_msat": 1000, "low_water_msat": 0}
    for _ in range(1000):
        opened(net, Board(net["seller"], flow=1, **terms), stride=1)
    rss = process.memory_info().rss / 1e6
    sessions = len(net["seller"].rpc.call("meter-status")["sessions"])
    return Figure(f"memory of {sessions} sessions, MB", rss, 100, False, f"{empty:.0f} MB with none")
