"""A seller's journal that is lost: the node knows that there was one, and its backup brings all of it back."""

import json
import sqlite3

from satmeter import devnet
from satmeter.journal import backup
from shop import close, error_of, open_stream
from waiting import until


def lose(path):
    for each in ("", *backup.BESIDE):
        path.with_name(path.name + each).unlink(missing_ok=True)


def test_a_wrong_option_is_named_as_the_plugin_is_started(net, shop):
    node = net["poor"]
    meters = node.rpc.call("meter-list")
    given = {"subcommand": "start", "plugin": str(devnet.METER), "meter-silent-s": "abc"}
    node.rpc.call("plugin", ["stop", devnet.METER.name])
    said = error_of(node.rpc, "plugin", given)
    assert said["code"] == -3 and "disabled itself at init: meter-silent-s: must be a whole number" in said["message"]
    node.rpc.call("plugin", ["start", str(devnet.METER)])
    assert node.rpc.call("meter-list") == meters


def test_a_lost_journal_is_not_begun_anew_and_its_backup_has_all(net, shop, tmp_path):
    node, board = net["seller"], shop.add()
    invoice = shop.rpc.call("meter-invoice", {"name": board.name})
    net["buyer"].rpc.call("xpay", {"invstring": invoice["bolt11"]})
    until(lambda: board.report()["grant"] == 100)
    path, saved = node.lightning_dir / "satmeter-meter.sqlite3", tmp_path / "saved"
    known = backup.backup(path, saved)
    node.rpc.call("plugin", ["stop", devnet.METER.name])
    assert backup.about(path).events >= known.events
    lose(path)
    node.rpc.call("plugin", ["start", str(devnet.METER)])
    with sqlite3.connect(saved) as db:
        (name,) = db.execute("SELECT value FROM satmeter_about WHERE name = 'name'").fetchone()
    said = error_of(shop.rpc, "meter-status", {})["message"]
    assert f"invoices of journal {name}" in said and f"meter-forget-journal={name}" in said
    node.rpc.call("plugin", ["stop", devnet.METER.name])
    backup.restore(saved, path)
    node.rpc.call("plugin", ["start", str(devnet.METER)])
    assert until(lambda: board.report()["grant"]) == 100


def test_a_journal_that_is_lost_for_good_may_be_forgotten(net, shop, tmp_path):
    node, board = net["seller"], shop.add()
    shop.rpc.call("meter-invoice", {"name": board.name})
    path = node.lightning_dir / "satmeter-meter.sqlite3"
    node.rpc.call("plugin", ["stop", devnet.METER.name])
    backup.backup(path, tmp_path / "saved")
    with sqlite3.connect(tmp_path / "saved") as db:
        (name,) = db.execute("SELECT value FROM satmeter_about WHERE name = 'name'").fetchone()
    lose(path)
    node.rpc.call("plugin", {"subcommand": "start", "plugin": str(devnet.METER), "meter-forget-journal": name})
    assert node.rpc.call("meter-list") == {"meters": []}
    node.rpc.call("plugin", ["stop", devnet.METER.name])
    lose(path)
    backup.restore(tmp_path / "saved", path)
    node.rpc.call("plugin", ["start", str(devnet.METER)])
    assert board.report()["state"] == "standby"


def test_a_journal_that_is_removed_while_it_runs_grants_nothing_until_it_is_put_back(net, shop):
    node, board = net["seller"], shop.add()
    invoice = shop.rpc.call("meter-invoice", {"name": board.name})
    path = node.lightning_dir / "satmeter-meter.sqlite3"
    aside = path.with_name("aside")
    path.rename(aside)
    error = until(lambda: error_of(shop.rpc, "meter-invoice", {"name": board.name}))
    assert "JournalTrouble" in error["message"] and str(path) in error["message"]
    assert error_of(net["buyer"].rpc, "xpay", {"invstring": invoice["bolt11"]})["code"] == 203
    assert not path.exists()
    aside.rename(path)

    assert until(board.tried)["grant"] == 0
    net["buyer"].rpc.call("xpay", {"invstring": invoice["bolt11"]})
    until(lambda: board.report()["grant"] == 100)


def test_an_older_copy_is_known_and_gives_nothing_back_again(net, shop, tmp_path):
    node, buyer, board = net["seller"], net["buyer"], shop.add()
    path, older, newest = node.lightning_dir / "satmeter-meter.sqlite3", tmp_path / "older", tmp_path / "newest"
    session = open_stream(buyer, shop, board)
    board.use_all(30)
    copied = backup.backup(path, older)
    close(buyer, session)
    assert shop.receipt(session)["refunded_msat"] == 7_000
    with sqlite3.connect(older) as db:
        (name,) = db.execute("SELECT value FROM satmeter_about WHERE name = 'name'").fetchone()

    def reached():
        rows = node.rpc.call("listdatastore", {"key": ["satmeter", "meter", name]})["datastore"]
        return rows and json.loads(rows[0]["string"])["last"] > copied.events

    until(reached)
    node.rpc.call("plugin", ["stop", devnet.METER.name])
    backup.backup(path, newest)
    lose(path)
    backup.restore(older, path)
    node.rpc.call("plugin", ["start", str(devnet.METER)])
    said = error_of(shop.rpc, "meter-status", {})
    assert said["code"] == 2110 and f"meter-older-journal={name}" in said["message"], said
    node.rpc.call("plugin", ["stop", devnet.METER.name])
    given = {"subcommand": "start", "plugin": str(devnet.METER), "meter-older-journal": name}
    node.rpc.call("plugin", given)

    def ended():
        board.tried()
        rows = shop.rpc.call("meter-status", [board.name])["sessions"]
        return next((s for s in rows if s["session"] == session and s["phase"] == "closed"), None)

    held = until(ended)
    assert held["owed_msat"] == 7_000 and "older copy" in held["owed_why"] and held["alarm"] == held["owed_why"]
    assert error_of(shop.rpc, "meter-attend", [session, "gone"])["code"] == 2101
    answer = shop.rpc.call("meter-attend", [session, "paid", "the buyer has it"])
    assert answer["owed_msat"] == 0
    until(lambda: not shop.rpc.call("meter-status", [board.name])["sessions"])  # its receipt is signed
    node.rpc.call("plugin", ["stop", devnet.METER.name])
    lose(path)
    backup.restore(newest, path)
    node.rpc.call("plugin", ["start", str(devnet.METER)])
    assert "older copy" in error_of(shop.rpc, "meter-status", {})["message"]  # the node knows what the other came to
    node.rpc.call("plugin", ["stop", devnet.METER.name])
    node.rpc.call("plugin", given)
    assert shop.receipt(session)["refunded_msat"] == 7_000
