"""Makes the journals of a release, for every later one to open: python tests/upgrade/make.py VERSION

Run it once for each release, with its code, and commit what it makes: the journals of a seller with prepaid, arrears
and wallet sessions (one of each ended, one running) and of its buyer; beside them what is known of them.
"""

import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from balances import balances
from satmeter import devnet
from satmeter.core.buyer.state import BuyerState
from satmeter.core.seller.state import SellerState
from satmeter.devnet import ChannelSpec, NodeSpec
from satmeter.journal.backup import about, backup
from satmeter.journal.store import Journal
from satmeter.journal.url import sqlite_url
from shop import Shop, close, open_stream
from waiting import until

HERE = Path(__file__).parent
NODES = (NodeSpec("seller", (devnet.METER,)), NodeSpec("buyer", (devnet.STREAM,)))
STATES = {"meter": SellerState, "stream": BuyerState}


def sell(seller, buyer):
    with Shop(seller) as shop:
        for terms in ({}, {"mode": "arrears", "limit_msat": 20_000}):
            board = shop.add(**terms)
            for ends in (True, False):
                session = open_stream(buyer, shop, board)
                board.use_all(60)
                if ends:
                    close(buyer, session)
                    until(lambda session=session: shop.receipt(session)["owed_msat"] == 0)
        board = shop.add()
        for _ in range(2):
            invoice = shop.rpc.call("meter-invoice", {"name": board.name})
            buyer.rpc.call("xpay", {"invstring": invoice["bolt11"], "maxfee": 5_000})
            until(lambda: board.report()["grant"] > board.register)
            board.use_all(20)


def known(path):
    """What a journal comes to: balances by session and meter, its receipts, and how many events it has."""
    said = about(path)
    journal = Journal(sqlite_url(path), said.role, said.node_id)
    state, events = STATES[said.role](), journal.between(0, journal.last)
    for event in events:
        state.apply(event)
    receipts = {row["id"]: row["receipt"] for row in journal.sessions(limit=1_000)}
    journal.close()
    comes_to = {name: [str(each) for each in balance] for name, balance in balances(state).items()}
    return {"node_id": said.node_id, "events": len(events), "balances": comes_to, "receipts": receipts}


def main(version):
    folder = HERE / version
    folder.mkdir()
    with tempfile.TemporaryDirectory() as directory:
        with devnet.start("emulated", Path(directory), NODES, (ChannelSpec("buyer", "seller"),)) as net:
            sell(net["seller"], net["buyer"])
            for name, role in (("seller", "meter"), ("buyer", "stream")):
                (found,) = net[name].lightning_dir.rglob(f"satmeter-{role}.sqlite3")
                backup(found, folder / f"{role}.sqlite3")
    for role in STATES:
        said = known(folder / f"{role}.sqlite3")
        (folder / f"{role}.json").write_text(json.dumps(said, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
