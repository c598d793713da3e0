"""The thread that owns a core: commits before it acts, fails closed, and mends itself."""

import threading
import time

import pytest

from satmeter.core import commands as cmd
from satmeter.core import effects as do
from satmeter.core.errors import BadParam, JournalTrouble
from satmeter.core.seller.seller import Seller
from satmeter.core.seller.state import SellerState
from satmeter.journal.store import Journal, sqlite_url
from satmeter.plugin import runtime as service_module
from satmeter.plugin.runtime import Service

NODE = "02" + "aa" * 32
TARIFF = {"price_msat": 1000, "ticks_per_unit": 10, "quantum_msat": 10_000}


class Role:
    """A seller without a node: keeps what it was told to do, and when."""

    patient = ()

    def __init__(self, path):
        self.path = path
        self.block = 0
        self.done = []
        self.broken = False
        self.committed_at_action = []
        self.failures = []

    def open_journal(self):
        role = self

        class Tender(Journal):
            def commit(self, *args, **kwargs):
                if role.broken:
                    raise JournalTrouble("the disk is full")
                super().commit(*args, **kwargs)

        self.journal = Tender(sqlite_url(self.path), "meter", NODE)
        return self.journal

    def is_older(self, journal):
        return False

    def reached(self, journal):
        pass

    def build(self, snapshot, events, older):
        books = SellerState()
        if snapshot:
            books.load(snapshot)
        for e in events:
            books.apply(e)
        return Seller(NODE, state=books)

    def dump(self, core):
        return core.state.dump()

    def reload(self, core, state):
        core.reload(state)

    def block_at(self):
        return self.block

    def rows(self, core, events):
        return []

    def perform(self, action):
        self.done.append(action)
        self.committed_at_action.append(self.journal.last)

    def changed(self, core, streams):
        pass

    def failed(self, trouble):
        self.failures.append(trouble)


@pytest.fixture
def service(tmp_path, monkeypatch):
    monkeypatch.setattr(service_module, "RETRY_S", 0.05)
    made = Service(Role(tmp_path / "j.sqlite3"), "test")
    made.start()
    yield made
    made.stop()


def ready(service):
    service.ask(cmd.AddMeter("m", TARIFF))
    service.ask(cmd.Reading("m", "b1", 0))


def test_it_commits_before_it_acts(service):
    ready(service)
    before = service.journal.last
    service.ask(cmd.MakeWalletInvoice("m", 0))
    deadline = time.monotonic() + 5
    while not service.role.done and time.monotonic() < deadline:
        time.sleep(0.01)
    assert isinstance(service.role.done[0], do.MakeInvoice)
    assert service.role.committed_at_action[0] == before + 1


def test_without_the_journal_nothing_is_done_and_everybody_is_told(service):
    ready(service)
    service.role.broken = True
    with pytest.raises(JournalTrouble, match="disk is full"):
        service.ask(cmd.MakeWalletInvoice("m", 0))
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


def test_a_bug_in_one_question_spoils_no_other(service):
    ready(service)
    answers = []
    service.run(lambda core: core.nonsense, answers.append)
    service.post(cmd.MakeWalletInvoice("m", 0), answers.append)
    service.post(cmd.SetMeter("m", {"window": "x"}), answers.append)
    service.ask(lambda core: None)
    assert [type(a) for a in answers] == [AttributeError, tuple, BadParam]


def test_a_stop_leaves_a_snapshot_and_the_next_start_reads_only_that(tmp_path):
    path = tmp_path / "j.sqlite3"
    first = Service(Role(path), "one")
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
    threads = [threading.Thread(target=service.ask, args=(cmd.AddMeter(f"m{i}", TARIFF),)) for i in range(30)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sum(commits) == 30 and len(commits) < 20
