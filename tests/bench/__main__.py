"""`make bench`: every figure of the product, as a ratio to something measured in the same run.

PYTHONPATH=tests python tests/bench [real|emulated] [FIGURE ...]
"""

import os
import platform
import sys
import tempfile
from pathlib import Path

import at_rest
import books
import chained
import codes
import devices
import hooks
import kiosk
import panels
import serving
import thousand
import trading
import years

import board
from lanes import chromium
from satmeter import devnet
from satmeter.board import rp2040
from satmeter.devnet import ChannelSpec, NodeSpec

EMPTY = Path(__file__).parent / "empty" / "empty.py"
MANY = {"meter-max-sessions-per-peer": "2000"}
STREAMS = {"stream-max-streams": "2000"}
CHANNEL = (ChannelSpec("buyer", "seller"),)
ON_NODES = (
    trading.one_stream,
    trading.window_of_four,
    trading.thirty_streams,
    trading.plug_to_light,
    trading.report,
    trading.written,
)


def nodes(**options):
    return (
        NodeSpec("seller", (devnet.METER, EMPTY), {**MANY, **options}),
        NodeSpec("buyer", (devnet.STREAM,), {**STREAMS, **options}),
    )


def machine():
    with open("/proc/cpuinfo") as f:
        model = next((line.split(":")[1].strip() for line in f if line.startswith("model name")), platform.machine())
    return f"{os.cpu_count()} x {model}, Python {platform.python_version()}, {platform.system()} {platform.release()}"


def show(figure):
    sign = ">=" if figure.least else "<="
    verdict = "good" if figure.good else "MISSED"
    print(f"{figure.what:<38} {figure.ratio:8.2f}  ({sign} {figure.bar})  {verdict:<7} {figure.note}", flush=True)
    return figure.good


def measured(kind, wanted):
    def asked(figure):
        return not wanted or figure.__name__ in wanted

    if asked(books.old_against_young):
        yield from books.old_against_young()
    if asked(hooks.covered):
        yield hooks.covered()
    if asked(board.board):
        if rp2040.missing():
            print(f"SKIPPED: figures of the board: {rp2040.missing()}")
        else:
            yield from board.board()
    if asked(codes.codes):
        yield from codes.codes()
    with tempfile.TemporaryDirectory(prefix="satmeter-bench-", ignore_cleanup_errors=True) as directory:
        chosen = [f for f in ON_NODES if asked(f)]
        if chosen:
            with devnet.start(kind, Path(directory) / "a", nodes(), CHANNEL) as net:
                trading.plain_rate(net, 3)  # warm
                for figure in chosen:
                    yield figure(net)
        if asked(at_rest.at_rest):
            with devnet.start(kind, Path(directory) / "k", nodes(), CHANNEL) as net:
                yield from at_rest.at_rest(net)
        if asked(panels.panels):
            if chromium():
                with devnet.start(kind, Path(directory) / "d", nodes(), CHANNEL) as net:
                    yield from panels.panels(net)
            else:
                print("SKIPPED: figures of the pages: `make deps` brings a browser")
        if asked(serving.services):
            with devnet.start(kind, Path(directory) / "e", nodes(), CHANNEL) as net:
                yield from serving.services(net, directory)
        if asked(kiosk.kiosk):
            with devnet.start(kind, Path(directory) / "g", nodes(), CHANNEL) as net:
                trading.plain_rate(net, 3)  # warm
                yield from kiosk.kiosk(net, directory)
        if asked(devices.devices):
            with devnet.start(kind, Path(directory) / "h", nodes(), CHANNEL) as net:
                yield from devices.devices(net, directory)
        if asked(thousand.thousand):
            with devnet.start(kind, Path(directory) / "i", nodes(), CHANNEL) as net:
                yield from thousand.thousand(net)
        if asked(years.years):
            with devnet.start(kind, Path(directory) / "j", nodes(), CHANNEL) as net:
                yield from years.years(net)
        if asked(chained.settlement):
            others = (NodeSpec("other", (devnet.STREAM,)), NodeSpec("third", (devnet.STREAM,)))
            with devnet.start(kind, Path(directory) / "f", (*nodes(), *others), ()) as net:
                yield from chained.settlement(net)
        if asked(trading.thirty_streams_thirty_htlcs):
            with devnet.start(kind, Path(directory) / "b", nodes(**{"max-concurrent-htlcs": "30"}), CHANNEL) as net:
                yield trading.thirty_streams_thirty_htlcs(net)
        if asked(trading.sessions_in_memory):
            with devnet.start("emulated", Path(directory) / "c", nodes(), CHANNEL) as net:
                yield trading.sessions_in_memory(net)


def main():
    kinds = [a for a in sys.argv[1:] if a in ("real", "emulated")]
    kind = kinds[0] if kinds else "emulated" if devnet.real_missing() else "real"
    print(f"nodes: {kind}" + (f" (not on PATH: {devnet.real_missing()})" if devnet.real_missing() else ""))
    print("baseline: invoice + xpay on the same two nodes and channel, with the plugins meter and stream loaded")
    print(f"machine: {machine()}\n")
    missed = [f for f in measured(kind, [a for a in sys.argv[1:] if a not in kinds]) if not show(f)]
    sys.exit(1 if missed else 0)


main()
