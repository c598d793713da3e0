"""A seller's role without a node, for tests of what owns a core."""

from satmeter.core import commands as cmd
from satmeter.core.errors import JournalTrouble
from satmeter.core.reading import Reading
from satmeter.core.seller.seller import Seller
from satmeter.core.seller.state import SellerState
from satmeter.journal.store import Journal
from satmeter.journal.url import sqlite_url

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


def ready(service):
    service.ask(cmd.AddMeter(meter="m", tariff=TARIFF))
    service.ask(cmd.Report(meter="m", reading=Reading("b1", 0)))
