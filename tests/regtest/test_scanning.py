"""A scanned code is paid or opened by the node, within the caps, or refused with the reason."""

import pytest
from typer.testing import CliRunner

from pictures import invoice, saved
from satmeter.cli.main import app
from shop import balance, close, settled, status


@pytest.fixture
def scanned(net, tmp_path):
    """Scan the codes of some texts with the buyer's node; returns exit code and output."""

    def run(texts, *args, typed=None):
        picture = saved(tmp_path, *texts)
        rpc = str(net["buyer"].lightning_dir / "lightning-rpc")
        result = CliRunner().invoke(app, ["scan", picture, "--rpc", rpc, *args], input=typed)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.output

    return run


def test_an_invoice_is_paid_once(net, shop, scanned):
    board = shop.add()
    made = shop.rpc.call("meter-invoice", [board.name, 10_000])
    bolt11, before = made["bolt11"].upper(), balance(net["buyer"])
    code, out = scanned([bolt11], "--pay", "--max-amount", "10sat", "--yes")
    assert code == 0 and "paid: 10 sat with fees" in out, out
    board.use_all(100)
    code, out = scanned([bolt11], "--pay", "--max-amount", "10sat", "--yes")
    assert before - settled(net["buyer"]) == 10_000, out
    assert shop.rpc.call("listinvoices", {"label": made["label"]})["invoices"][0]["status"] == "paid"


def test_an_address_is_opened(net, shop, scanned):
    board = shop.add()
    code, out = scanned([shop.address(board)], "--open", "--max-price", "1sat/unit", "--budget", "500sat", "--yes")
    assert code == 0 and "open: stream" in out, out
    session = out.split("open: stream ")[1].split()[0]
    assert status(net["buyer"], session)["policy"]["budget_msat"] == 500_000
    board.use_all(50)
    close(net["buyer"], session)


def test_nothing_is_paid_unless_it_is_confirmed(net, shop, scanned):
    board = shop.add()
    made = shop.rpc.call("meter-invoice", [board.name, 10_000])
    code, out = scanned([made["bolt11"].upper()], "--pay", "--max-amount", "10sat", typed="n\n")
    assert code == 1 and "at most 1 sat of fees" in out and "not confirmed" in out
    assert shop.rpc.call("listinvoices", {"label": made["label"]})["invoices"][0]["status"] == "unpaid"


def test_what_must_not_be_paid_is_refused_with_the_reason(net, shop, scanned):
    board = shop.add()
    bolt11 = shop.rpc.call("meter-invoice", [board.name, 10_000])["bolt11"].upper()
    pay = ["--pay", "--yes", "--max-amount"]

    def refused(texts, *args):
        code, out = scanned(texts, *args)
        assert code == 1, out
        return " ".join(out.split())

    assert "the cap 9000 msat" in refused([bolt11], *pay, "9sat")
    assert "another node" in refused([bolt11], *pay, "10sat", "--node", net["hop"].id)
    assert "expired" in refused([invoice(now=1_700_000_000).upper()], *pay, "20sat")
    assert "no amount" in refused([invoice(amount=None).upper()], *pay, "20sat")
    assert "open it with --open" in refused([shop.address(board)], *pay, "20sat")
    stream = ["--open", "--yes", "--max-price", "1sat/unit", "--budget", "10sat"]
    assert "pay it with --pay" in refused([bolt11], *stream)
    assert "another node than the one named" in refused([shop.address(board)], *stream, "--node", net["hop"].id)
    assert "not opened" in refused([shop.address(board)], *stream[:3], "1msat/unit", "--budget", "10sat")
    assert "needs its unit" in refused([shop.address(board)], *stream[:3], "1msat", "--budget", "10sat")
    # of two codes the user says which; and an invoice beside another node's address is not paid
    assert "--pick 1 to 2" in refused([shop.address(board), bolt11], *pay, "10sat")
    theirs = invoice().upper()
    assert "another node" in refused([shop.address(board), theirs], *pay, "20sat", "--pick", "2")


def test_of_two_codes_the_one_picked_is_paid(net, shop, scanned):
    board = shop.add()
    bolt11 = shop.rpc.call("meter-invoice", [board.name, 10_000])["bolt11"].upper()
    code, out = scanned([shop.address(board), bolt11], "--pay", "--yes", "--max-amount", "10sat", "--pick", "2")
    assert code == 0 and "paid: 10 sat" in out, out
    board.use_all(100)


def test_a_node_that_is_not_there_is_said(tmp_path):
    args = [
        "scan",
        saved(tmp_path, invoice().upper()),
        "--pay",
        "--yes",
        "--max-amount",
        "20sat",
        "--rpc",
        str(tmp_path / "none"),
    ]
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 1 and "does not answer" in result.output
