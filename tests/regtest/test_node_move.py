"""A node and its journal move to another machine: another directory, and another address."""

import json
import shutil
import socket
import tempfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lanes import lane
from satmeter import devnet
from satmeter.cli.main import app
from satmeter.devnet import ChannelSpec, NodeSpec
from shop import Shop, close, identity, open_stream
from waiting import until

NODES = (NodeSpec("seller", (devnet.METER,)), NodeSpec("buyer", (devnet.STREAM,)))


@pytest.fixture(params=["emulated", "real"])
def pair(request):
    """Two nodes of their own: one of them goes away from where the others expect it."""
    lane({"emulated": "emulated nodes", "real": "real nodes (regtest)"}[request.param])
    directory = Path(tempfile.mkdtemp(prefix="satmeter-move-"))
    with devnet.start(request.param, directory, NODES, (ChannelSpec("buyer", "seller"),)) as running:
        yield running
    shutil.rmtree(directory, ignore_errors=True)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def moved(net, node, to):
    """Copy a stopped node's directory, take it away where it was, and start it from the copy at another port."""
    node.stop()
    port = free_port()
    if net.kind == "emulated":
        shutil.copytree(node.lightning_dir, to, ignore=shutil.ignore_patterns("lightning-rpc"))
        shutil.rmtree(node.lightning_dir)
        node.lightning_dir, node._log_file = to, to / "log"
    else:
        daemon, network = node.node.daemon, node.lightning_dir.name
        shutil.copytree(node.lightning_dir, to / network, ignore=shutil.ignore_patterns("lightning-rpc"))
        shutil.rmtree(node.lightning_dir)  # pyln-testing reads the log beside it
        node.lightning_dir = to / network
        daemon.opts["lightning-dir"], daemon.opts["addr"] = str(to), f"127.0.0.1:{port}"
        node.node.gossip_store.path = node.lightning_dir / "gossip_store"
        node.node.rpc.socket_path = str(node.lightning_dir / "lightning-rpc")
    node.port = port
    node.start()


def test_a_sale_goes_on_where_the_node_went(pair, tmp_path):
    seller, buyer = pair["seller"], pair["buyer"]
    with Shop(seller) as shop:
        board = shop.add(grace_s=30)
        before = shop.address(board)
        session = open_stream(buyer, shop, board, max_fee_msat=3_000)
        until(lambda: board.report()["grant"] > 0)
        board.use_all(100)

        moved(pair, seller, tmp_path / "new")
        shop.rpc = seller.rpc
        buyer.rpc.call("connect", {"id": seller.id, "host": seller.host, "port": seller.port})
        until(board.tried)
        (shown,) = shop.rpc.call("meter-status", {"name": board.name})["meters"]
        assert shown["session"] == session and shown["address"] == shop.address(board) != before

        board.use_all(200)
        end = close(buyer, session)
        receipt = json.loads(end["receipt"])
        assert end["verified"] and not end["why"], end["why"]
        assert (receipt["ticks"], receipt["charged_msat"]) == (300, 30_000) and identity(receipt)
        assert shop.receipt(session) == receipt
        board.unplug()
        board.plugged = True
        board.report()
        again = open_stream(buyer, shop, board)
        until(lambda: board.report()["grant"] > 300)
        assert close(buyer, again)["verified"]
    audited = ["journal", "audit", str(seller.lightning_dir / "satmeter-meter.sqlite3")]
    done = CliRunner().invoke(
        app, [*audited, "--rpc", str(seller.lightning_dir / "lightning-rpc")], env={"COLUMNS": "300"}
    )
    assert done.exit_code == 0 and "NO" not in done.output, done.output
