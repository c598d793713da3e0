"""A database that takes connections and answers nothing holds nobody for ever: not the plugin's start, not a commit."""

import socket
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from role import Role, ready

from satmeter.core.errors import JournalTrouble
from satmeter.core.seller import events as selling
from satmeter.journal import engine as engine_module
from satmeter.journal import stalls
from satmeter.journal.store import Journal
from satmeter.plugin import runtime as service_module
from satmeter.plugin.runtime import Runtime

NODE = "02" + "aa" * 32


class Proxy:
    """A PostgreSQL server's socket with somebody in between who may stop carrying."""

    def __init__(self, folder, to=None):
        self.to, self.carries = to, threading.Event()
        self.carries.set()
        self.url = f"postgresql://satmeter@/postgres?host={folder}"
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(str(folder / ".s.PGSQL.5432"))
        self.server.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        self.lines = []
        while True:
            try:
                line, _ = self.server.accept()
            except OSError:
                return
            self.lines.append(line)
            if self.to is not None:
                there = socket.socket(socket.AF_UNIX)
                there.connect(self.to)
                for a, b in ((line, there), (there, line)):
                    threading.Thread(target=self._carry, args=(a, b), daemon=True).start()

    def _carry(self, a, b):
        try:
            while data := a.recv(65_536):
                self.carries.wait()
                b.sendall(data)
        except OSError:
            pass
        finally:
            b.close()


@pytest.fixture
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("s")  # a short path: a socket's name has 107 characters


def test_one_that_never_answers_is_trouble_after_some_seconds(folder, monkeypatch):
    monkeypatch.setattr(stalls, "CONNECT_S", 2)
    with pytest.raises(JournalTrouble, match="timeout"):
        Journal(Proxy(folder).url, "meter", NODE)


def test_what_the_url_says_itself_holds():
    url = "postgresql://u@/d?connect_timeout=30&options=-csearch_path%3Dx"
    assert "connect_timeout" not in stalls.arguments(url) and "options" not in stalls.arguments(url)
    assert stalls.arguments("postgresql://u@/d")["connect_timeout"] == stalls.CONNECT_S


def test_a_start_does_not_wait_for_the_journal(tmp_path, monkeypatch):
    monkeypatch.setattr(service_module, "START_S", 0.1)
    answers, role = threading.Event(), Role(tmp_path / "j.sqlite3")
    opened = role.open_journal
    role.open_journal = lambda: answers.wait() and opened()
    service = Runtime(role, "test")
    service.start()
    assert service.core is None and service.trouble
    answers.set()
    ready(service)
    service.stop()


def test_a_commit_that_hangs_is_trouble_and_the_next_one_works(folder, postgresql, monkeypatch):
    monkeypatch.setattr(engine_module.engine, "__defaults__", (2, 2.0))
    base = Path(sa.make_url(postgresql).query["host"])
    name = "stalls"
    import psycopg

    with psycopg.connect(postgresql, autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name}")
    proxy = Proxy(folder, str(base / ".s.PGSQL.5432"))
    journal = Journal(proxy.url.replace("/postgres?", f"/{name}?"), "meter", NODE)
    event = selling.Counted(at=1, subject="meter/m", count=1)
    journal.commit([event])
    proxy.carries.clear()
    with pytest.raises(JournalTrouble):
        journal.commit([event])
    proxy.carries.set()
    again = Journal(proxy.url.replace("/postgres?", f"/{name}?"), "meter", NODE)
    assert len(again.load()[1]) in (1, 2)  # what was on its way may have been recorded
    again.commit([event])
