"""Lanes, and the report of which ran: one whose system parts are missing is skipped loudly, with what brings them."""

import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The same inputs at each run, so that a change is judged by what it changed; other ones, for the search for faults, by
# `pytest --hypothesis-profile=search`.
settings.register_profile("search", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", settings.get_profile("search"), derandomize=True, database=None)
settings.load_profile("same")

sys.path.insert(0, str(Path(__file__).parent))

from audit import Accountant  # noqa: E402
from lanes import LANES, RAN, lane, version  # noqa: E402

# A shell starts what runs in its background with SIGINT ignored, and so are all that we start: Ctrl-C would end none.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["browsing", "openid_provider", "served"]


def pytest_addoption(parser):
    parser.addoption("--seeds", type=int, default=800, help="how many seeds of the simulation to run")
    parser.addoption("--seed", type=int, help="the one seed of the simulation to run, with its shortest trace")


LONGEST = ("rp2040_flashing", "rp2040_displays", "rp2040", "debian_packages", "simulation", "kills", "read", "guide")
"""Test files that take minutes: begun first, so that at the end no process waits for another's."""


def pytest_collection_modifyitems(items):
    names = [f"test_{name}" for name in LONGEST]
    items.sort(key=lambda item: names.index(item.path.stem) if item.path.stem in names else len(names))


def pytest_sessionfinish(session):
    """Where tests run in several processes, each tells the first which lanes it ran."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["ran"] = RAN


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    for name, count in getattr(node, "workeroutput", {}).get("ran", {}).items():
        RAN[name] = RAN.get(name, 0) + count


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter):
    terminalreporter.section("lanes")
    for name, missing in LANES.items():
        if missing():
            terminalreporter.write_line(f"SKIPPED  {name}: {missing()}", yellow=True, bold=True)
        else:
            terminalreporter.write_line(f"ran      {name}: {RAN.get(name, 0)} tests{version(name)}")


@pytest.fixture(autouse=True)
def _audited(request):
    """After every test on a devnet, its accountant looks at all wallets and journals of it."""
    net = request.getfixturevalue("net") if "net" in request.fixturenames else None
    yield
    if net is not None:
        if not hasattr(net, "accountant"):
            net.accountant = Accountant(net)
        net.accountant.audit()


@pytest.fixture(scope="session")
def postgresql():
    """A PostgreSQL server of its own on a unix socket; as root it runs as the user postgres."""
    lane("PostgreSQL")
    tools = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"))), None)
    tools = tools or Path(shutil.which("postgres")).resolve().parent
    home = Path(tempfile.mkdtemp(prefix="satmeter-pg-"))
    as_user = []
    if subprocess.run(["id", "-u"], capture_output=True, text=True).stdout.strip() == "0":
        shutil.chown(home, "postgres")
        as_user = ["runuser", "-u", "postgres", "--"]
    subprocess.run(
        [*as_user, tools / "initdb", "-D", home / "db", "-A", "trust", "-U", "satmeter"],
        check=True,
        capture_output=True,
    )
    options = f"-k {home} -c listen_addresses='' -c fsync=off"
    log = ["-l", str(home / "log")]
    subprocess.run(
        [*as_user, tools / "pg_ctl", "-D", home / "db", "-o", options, *log, "-w", "start"],
        check=True,
        capture_output=True,
    )
    yield f"postgresql://satmeter@/postgres?host={home}"
    subprocess.run([*as_user, tools / "pg_ctl", "-D", home / "db", "-m", "immediate", "stop"], capture_output=True)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def database(postgresql):
    """A new database of the server, by its URL."""
    import psycopg

    with psycopg.connect(postgresql, autocommit=True) as db:
        name = f"new{db.execute('SELECT max(oid::bigint) FROM pg_database').fetchone()[0]}"
        db.execute(f"CREATE DATABASE {name}")
    return postgresql.replace("/postgres?", f"/{name}?")
