"""`satmeter audit` on what real plugins answer: the receipt, its signature and its events, and what was changed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from shop import close, open_stream
from waiting import until

CHECK = Path(__file__).parents[2] / "contrib" / "check_receipt.py"


@pytest.fixture
def sold(net, shop):
    board = shop.add()
    session = open_stream(net["buyer"], shop, board)
    until(lambda: board.report()["grant"] > 0)
    board.use_all(137)
    close(net["buyer"], session)
    until(lambda: shop.receipt(session)["owed_msat"] == 0)
    return board, session


def audited(tmp_path, receipt, events=None):
    given = {"receipt.json": receipt, "events.json": events}
    for name, what in given.items():
        (tmp_path / name).write_text(json.dumps(what))
    more = [] if events is None else ["--events", str(tmp_path / "events.json")]
    command = [sys.executable, "-m", "satmeter.cli", "audit", str(tmp_path / "receipt.json"), *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def checked(tmp_path, *names):
    """The script of contrib/, by Python alone: its exit code, and the word of each line."""
    command = [sys.executable, "-I", "-S", str(CHECK), *(str(tmp_path / name) for name in names)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert not done.stderr
    return done.returncode, [line.split()[0] for line in done.stdout.splitlines()]


def test_a_receipt_is_proved_without_its_node(net, shop, sold, tmp_path):
    board, session = sold
    sessions = shop.rpc.call("meter-sessions", [board.name])
    events = shop.rpc.call("meter-history", {"stream": session, "limit": 1000})
    code, said = audited(tmp_path, sessions, events)
    assert code == 0 and net["seller"].id in said and "137 ticks" in said and "NO" not in said
    assert "those that it was made of" in said

    assert checked(tmp_path, "receipt.json", "events.json") == (0, ["yes", "yes", "yes", "yes", "yes"])
    mine = net["buyer"].rpc.call("stream-receipts")["receipts"][0]
    assert audited(tmp_path, mine)[0] == 0
    stated = json.loads(mine["receipt"])
    forged = {**mine, "receipt": mine["receipt"].replace(str(stated["charged_msat"]), "13000")}
    code, said = audited(tmp_path, forged)
    assert checked(tmp_path, "receipt.json")[0] == 1
    assert code == 1 and ("nobody signed it" in said or "signed it, and it names" in said)
    code, said = audited(tmp_path, {"receipt": 5})
    assert code == 1 and "holds no receipt" in said
