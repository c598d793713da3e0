"""`satmeter journal audit` on the journals of running plugins, and on copies in which something was changed."""

import json
import sqlite3

import pytest
from typer.testing import CliRunner

from satmeter.cli.main import app
from satmeter.journal.backup import backup
from shop import close, open_stream
from waiting import until


def journal_of(dev, role):
    (found,) = dev.lightning_dir.rglob(f"satmeter-{role}.sqlite3")
    return found


def audited(path, dev=None):
    more = ["--rpc", str(dev.lightning_dir / "lightning-rpc")] if dev is not None else []
    found = CliRunner().invoke(app, ["journal", "audit", str(path), *more], env={"COLUMNS": "300"})
    assert found.exception is None or isinstance(found.exception, SystemExit), found.output
    return found.exit_code, found.output


@pytest.fixture
def sold(net, shop):
    """A stream that used a part of what it paid, so that there is a refund; and a wallet's payment."""
    board = shop.add()
    session = open_stream(net["buyer"], shop, board)
    board.use_all(137)
    close(net["buyer"], session)
    until(lambda: shop.receipt(session)["owed_msat"] == 0)
    invoice = shop.rpc.call("meter-invoice", {"name": board.name})
    net["buyer"].rpc.call("xpay", {"invstring": invoice["bolt11"], "maxfee": 5_000})
    until(lambda: board.report()["grant"] > board.register)
    return session


def test_journals_of_running_plugins_are_whole(net, shop, sold):
    code, said = audited(journal_of(net["seller"], "meter"), net["seller"])
    assert code == 0 and "NO" not in said, said
    assert "fold without a gap" in said and "each once" in said and "refunds were sent by the node" in said
    code, said = audited(journal_of(net["buyer"], "stream"), net["buyer"])
    assert code == 0 and "receipts of" in said, said


def changed(data, **fields):
    return json.dumps({**json.loads(data), **fields}, sort_keys=True, separators=(",", ":"))


def event(db, session, kind):
    query = "SELECT id, data FROM satmeter_event WHERE stream=? AND kind=?"
    return db.execute(query, (session, kind)).fetchone()


def more_paid(db, session):
    row = db.execute(
        "SELECT id, data FROM satmeter_event WHERE stream=? AND kind='invoice_paid'", (session,)
    ).fetchone()
    db.execute("UPDATE satmeter_event SET data=? WHERE id=?", (changed(row[1], amount_msat=1), row[0]))


def an_event_less(db, session):
    db.execute("DELETE FROM satmeter_event WHERE id=(SELECT min(id) FROM satmeter_event WHERE stream=?)", (session,))


def another_hash(db, session):
    row = db.execute(
        "SELECT id, data FROM satmeter_event WHERE stream=? AND kind='invoice_paid'", (session,)
    ).fetchone()
    db.execute("UPDATE satmeter_event SET data=? WHERE id=?", (changed(row[1], payment_hash="ab" * 32), row[0]))


def another_refund(db, session):
    row = event(db, session, "refund_paid")
    amount = json.loads(row[1])["amount_msat"]
    db.execute("UPDATE satmeter_event SET data=? WHERE id=?", (changed(row[1], amount_msat=amount - 1), row[0]))


def another_receipt(db, session):
    (text,) = db.execute("SELECT receipt FROM satmeter_session WHERE id=?", (session,)).fetchone()
    paid = json.loads(text)["paid_msat"]
    db.execute("UPDATE satmeter_session SET receipt=? WHERE id=?", (changed(text, paid_msat=paid + 1), session))


def a_receipt_less(db, session):
    db.execute("UPDATE satmeter_session SET receipt='', signature='' WHERE id=?", (session,))


def a_session_less(db, session):
    db.execute("DELETE FROM satmeter_session WHERE id=?", (session,))


def an_event_of_a_meter_less(db, session):
    """Of the board's: what it says is said again, so that the sums come out the same."""
    kind = "SELECT max(id) FROM satmeter_event WHERE stream LIKE 'meter/%' AND kind LIKE 'board%'"
    assert db.execute(f"DELETE FROM satmeter_event WHERE id=({kind})").rowcount == 1


def no_signature(db, session):
    another_receipt(db, session)
    db.execute("UPDATE satmeter_session SET signature='' WHERE id=?", (session,))


def cut_short(db, session):
    """The end of the journal is gone, and what was made of it: only the list of sessions still has the receipt."""
    first = "(SELECT min(id) FROM satmeter_event WHERE stream=? AND kind='receipt_signed')"
    db.execute(f"DELETE FROM satmeter_snapshot WHERE upto >= {first}", (session,))
    db.execute(f"DELETE FROM satmeter_event WHERE id >= {first}", (session,))


def broken_snapshot(db, session):
    assert db.execute("UPDATE satmeter_snapshot SET state='{'").rowcount


def no_name(db, session):
    assert db.execute("DELETE FROM satmeter_about WHERE name='name'").rowcount


def no_schema(db, session):
    assert db.execute("UPDATE satmeter_about SET value='six' WHERE name='schema'").rowcount


def indexed(column, value):
    def change(db, session):
        assert db.execute(f"UPDATE satmeter_session SET {column}={value} WHERE id=?", (session,)).rowcount == 1

    change.__name__ = f"indexed_{column}"
    return change


def made_up(db, session):
    columns = "opened_at, meter, peer, closed_at, reason, receipt, signature"
    row = f"'{'77' * 16}', {columns.replace('receipt, signature', repr('') + ', ' + repr(''))}"
    db.execute(
        f"INSERT INTO satmeter_session (id, {columns}) SELECT {row} FROM satmeter_session WHERE id=?", (session,)
    )


def another_journal(db, session):
    assert db.execute("UPDATE satmeter_about SET value='5e5e5e5e' WHERE name='name'").rowcount == 1


CHANGES = [
    *(indexed("meter", "'tap'"), indexed("opened_at", "opened_at-86400000"), indexed("closed_at", "closed_at+1")),
    *(indexed("reason", "'other'"), indexed("peer", "'02' || substr(peer, 3, 62) || 'ff'"), made_up),
    another_journal,
    *(more_paid, an_event_less, another_hash, another_refund, another_receipt),
    *(a_receipt_less, a_session_less, an_event_of_a_meter_less, no_signature),
    *(cut_short, broken_snapshot),
]


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_changed_is_found(net, shop, sold, tmp_path, change):
    copy = tmp_path / "copy"
    backup(journal_of(net["seller"], "meter"), copy)
    assert audited(copy, net["seller"])[0] == 0
    with sqlite3.connect(copy) as db:
        change(db, sold)
    db.close()
    code, said = audited(copy, net["seller"])
    assert code == 1 and "NO" in said, said


def test_a_receipt_that_states_other_than_its_events_come_to_is_found(net, shop, sold, tmp_path):
    """The node itself has signed it: a fault in the making of receipts would look like this."""
    copy = tmp_path / "copy"
    backup(journal_of(net["seller"], "meter"), copy)
    with sqlite3.connect(copy) as db:
        (text,) = db.execute("SELECT receipt FROM satmeter_session WHERE id=?", (sold,)).fetchone()
        stated = json.loads(text)
        less = {name: stated[name] - 1_000 for name in ("paid_msat", "refunded_msat")}
        other = changed(text, **less)
        signature = net["seller"].rpc.call("signmessage", [other])["zbase"]
        number, data = db.execute(
            "SELECT id, data FROM satmeter_event WHERE stream=? AND kind='receipt_signed' ORDER BY id DESC", (sold,)
        ).fetchone()
        db.execute(
            "UPDATE satmeter_event SET data=? WHERE id=?", (changed(data, text=other, signature=signature), number)
        )
        db.execute("UPDATE satmeter_session SET receipt=?, signature=? WHERE id=?", (other, signature, sold))
        db.execute("DELETE FROM satmeter_snapshot")
    db.close()
    code, said = audited(copy, net["seller"])
    assert code == 1 and f"states paid_msat {stated['paid_msat'] - 1_000}, and its events come to" in said, said


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM satmeter_session",
        "UPDATE satmeter_session SET receipt='', signature=''",
        "UPDATE satmeter_session SET meter='tap'",
    ],
)
def test_what_was_changed_in_the_buyers_index_is_found(net, shop, sold, tmp_path, change):
    copy = tmp_path / "copy"
    backup(journal_of(net["buyer"], "stream"), copy)
    assert audited(copy)[0] == 0
    with sqlite3.connect(copy) as db:
        assert db.execute(change).rowcount
    db.close()
    code, said = audited(copy)
    assert code == 1 and "NO" in said, said


@pytest.mark.parametrize("change", [no_name, no_schema])
def test_a_journal_that_does_not_say_what_it_is_is_damaged(net, shop, sold, tmp_path, change):
    copy = tmp_path / "copy"
    backup(journal_of(net["seller"], "meter"), copy)
    with sqlite3.connect(copy) as db:
        change(db, sold)
    db.close()
    code, said = audited(copy, net["seller"])
    assert code == 1 and "the journal is damaged: " in said, said


def test_where_events_are_missing_no_payment_is_said_to_be_lost(net, shop, sold, tmp_path):
    copy = tmp_path / "copy"
    backup(journal_of(net["seller"], "meter"), copy)
    with sqlite3.connect(copy) as db:
        db.execute("DELETE FROM satmeter_event WHERE id=3")
    db.close()
    code, said = audited(copy, net["seller"])
    assert code == 1 and "events 3 to 3 are missing" in said and "never credited" not in said, said
    assert "not compared with the node's: not all events can be read" in said


def test_a_payment_after_the_copy_is_no_fault_and_another_node_is(net, shop, sold, tmp_path):
    copy = tmp_path / "copy"
    backup(journal_of(net["seller"], "meter"), copy)
    invoice = shop.rpc.call("meter-invoice", {"name": shop.boards[0].name})
    net["buyer"].rpc.call("xpay", {"invstring": invoice["bolt11"], "maxfee": 5_000})
    code, said = audited(copy, net["seller"])
    assert code == 0 and "payments of the last minute are not in it yet" in said, said
    code, said = audited(copy, net["hop"])
    assert code == 1 and "the node asked is" in said


def test_what_is_no_journal_is_said(tmp_path):
    (tmp_path / "none").write_text("nothing")
    code, said = audited(tmp_path / "none")
    assert code == 1 and "no journal" in said
