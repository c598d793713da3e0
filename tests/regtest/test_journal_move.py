"""A seller's journal goes from SQLite to PostgreSQL and back, in the middle of a sale, on both kinds of node."""

import psycopg
from typer.testing import CliRunner

from satmeter import devnet
from satmeter.cli.main import app
from shop import error_of
from waiting import until


def run(*words):
    done = CliRunner().invoke(app, ["journal", *map(str, words)], env={"COLUMNS": "300"})
    assert done.exit_code == 0, done.output
    return done.output


def test_a_sale_goes_on_in_another_database(net, shop, postgresql, tmp_path):
    with psycopg.connect(postgresql, autocommit=True) as db:
        name = f"moved_{net.kind}"
        db.execute(f"CREATE DATABASE {name}")
    url = postgresql.replace("/postgres?", f"/{name}?")
    node, board = net["seller"], shop.add()
    path = node.lightning_dir / "satmeter-meter.sqlite3"

    def pay():
        invoice = shop.rpc.call("meter-invoice", {"name": board.name})
        net["buyer"].rpc.call("xpay", {"invstring": invoice["bolt11"]})

    pay()
    until(lambda: board.report()["grant"] == 100)
    node.rpc.call("plugin", ["stop", devnet.METER.name])
    run("move", path, url)
    node.rpc.call("plugin", ["start", str(devnet.METER)])
    assert "was moved to postgresql" in error_of(shop.rpc, "meter-list", {})["message"]
    node.rpc.call("plugin", ["stop", devnet.METER.name])

    node.rpc.call("plugin", {"subcommand": "start", "plugin": str(devnet.METER), "meter-db": url})
    assert until(lambda: board.report()["grant"]) == 100
    pay()
    until(lambda: board.report()["grant"] == 200)
    said = run("audit", url, "--rpc", node.lightning_dir / "lightning-rpc")
    assert "NO" not in said and "each once" in said
    assert "events" in run("backup", url, tmp_path / "saved")

    node.rpc.call("plugin", ["stop", devnet.METER.name])
    path.unlink()
    run("move", url, path)
    node.rpc.call("plugin", ["start", str(devnet.METER)])
    assert until(lambda: board.report()["grant"]) == 200
