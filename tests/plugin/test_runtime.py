"""The thread that owns a core: commits before it acts, fails closed, and mends itself."""

import threading
import time

import pytest
from role import TARIFF, Role, ready

from satmeter.core import commands as cmd
from satmeter.core import effects as do
from satmeter.core.errors import BadParam, JournalTrouble
from satmeter.plugin import runtime as module
from satmeter.plugin.runtime import Runtime
from waiting import until


def test_it_commits_before_it_acts(service):
    ready(service)
    before = service.journal.last
    service.ask(cmd.MakeWalletInvoice(meter="m", amount_msat=0))
    deadline = time.monotonic() + 5
    while not service.role.done and time.monotonic() < deadline:
        time.sleep(0.01)
    assert isinstance(service.role.done[0], do.MakeInvoice)
    assert service.role.committed_at_action[0] == before + 1


def test_without_the_journal_nothing_is_done_and_everybody_is_told(service):
    ready(service)
    service.role.broken = True
    with pytest.raises(JournalTrouble, match="disk is full"):
        service.ask(cmd.MakeWalletInvoice(meter="m", amount_msat=0))
    assert not service.role.done and service.role.failures
    with pytest.raises(JournalTrouble):
        service.ask(lambda core: core.state.meters)
    service.role.broken = False
    deadline = time.monotonic() + 5
    while True:
        try:
            offers = service.ask(lambda core: dict(core.state.meter("m").wallet_invoices))
            break
        except JournalTrouble:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert offers == {}  # what was folded but never committed is gone


def test_trouble_that_lasts_is_written_once_and_not_each_second(service, monkeypatch, caplog):
    monkeypatch.setattr(module, "RETRY_S", 0.02)
    ready(service)
    service.role.broken = True
    opened, openings = service.role.open_journal, []

    def open_journal():
        openings.append(1)
        raise JournalTrouble(service.trouble if len(openings) < 6 else "something else")

    service.role.open_journal = open_journal
    with pytest.raises(JournalTrouble):
        service.ask(cmd.MakeWalletInvoice(meter="m", amount_msat=0))
    until(lambda: len(openings) > 8)
    service.role.open_journal, service.role.broken = opened, False
    said = [each.getMessage() for each in caplog.records if "until it works again" in each.getMessage()]
    assert ["something else" in each for each in said] == [False, True]


def test_a_bug_in_one_question_spoils_no_other(service):
    ready(service)
    answers = []
    service.run(lambda core: core.nonsense, answers.append)
    service.post(cmd.MakeWalletInvoice(meter="m", amount_msat=0), answers.append)
    service.post(cmd.SetMeter(meter="m", tariff={"window": "x"}), answers.append)
    service.ask(lambda core: None)
    assert [type(a) for a in answers] == [AttributeError, tuple, BadParam]


def test_a_stop_leaves_a_snapshot_and_the_next_start_reads_only_that(tmp_path):
    path = tmp_path / "j.sqlite3"
    first = Runtime(Role(path), "one")
    first.start()
    ready(first)
    first.stop()
    role = Role(path)
    snapshot, events = role.open_journal().load()
    assert snapshot["meters"][0]["name"] == "m" and events == []
    assert role.build(snapshot, events, False).state.meter("m").boot == "b1"


def test_inputs_of_many_threads_are_committed_together(service):
    ready(service)
    commits = []
    original = service.journal.commit
    service.journal.commit = lambda *a, **k: (commits.append(len(a[0])), time.sleep(0.01), original(*a, **k))
    threads = [
        threading.Thread(target=service.ask, args=(cmd.AddMeter(meter=f"m{i}", tariff=TARIFF),)) for i in range(30)
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sum(commits) == 30 and len(commits) < 20
