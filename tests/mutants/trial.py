"""One trial: a process of its own runs the tests that reach a mutant, quickest first, until one of them fails.

The process is forked from one that has loaded pytest and all libraries, and nothing of ours: it starts in no time, and
each trial loads the mutated module afresh.
"""

import contextlib
import json
import os
import signal
import sys
import time
from dataclasses import dataclass, field

from tree import BUILD, HOOK, NOT_HERE, ROOT

QUIET = "-q -x --tb=no --assert=plain --no-header --no-summary -p no:cacheprovider -o timeout=0 -o addopts=".split()
PATIENCE_S = 20
SLOWER = 5
"""A mutant that takes so many times as long as its tests do without it hangs, and is noticed by that."""
SERVICE_S = 90
SLOW_S = 2
"""Tests that take longer come after the seeds of the simulation."""
RUN = BUILD / f"run-{os.getpid()}"
"""Scratch of this run, with a log for each worker; it stays where something went wrong."""


@dataclass
class Plan:
    """What is run: quick tests, seeds of the simulation, slow tests, then files whose tests start processes."""

    tests: dict[str, float] = field(default_factory=dict)
    seeds: dict[int, float] = field(default_factory=dict)
    served: list[str] = field(default_factory=list)

    def part(self, slow):
        return {name: took for name, took in self.tests.items() if (took > SLOW_S) == slow}

    @property
    def limit_s(self):
        return (
            PATIENCE_S + SLOWER * (sum(self.tests.values()) + sum(self.seeds.values())) + SERVICE_S * len(self.served)
        )


class Chosen:
    """A plugin of pytest's: only the chosen tests, the quickest first; hypothesis always tries the same."""

    def __init__(self, tests=None):
        self.tests, self.failed = tests, ""

    def pytest_configure(self):
        from hypothesis import Phase, settings

        phases = (Phase.explicit, Phase.generate)
        settings.register_profile(
            "mutants", settings.default, derandomize=True, database=None, phases=phases, report_multiple_bugs=False
        )
        settings.load_profile("mutants")

    def pytest_collection_modifyitems(self, items):
        items[:] = [i for i in items if not any(mark in i.nodeid for mark in NOT_HERE)]
        if self.tests is not None:
            items[:] = sorted((i for i in items if i.nodeid in self.tests), key=lambda i: self.tests[i.nodeid])

    def pytest_runtest_logreport(self, report):
        if report.failed and not self.failed:
            self.failed = report.nodeid


def tested(files, tests=None):
    """Run tests; return what failed, "" if nothing."""
    import pytest

    chosen = Chosen(tests)
    code = pytest.main([*QUIET, *files], plugins=[chosen])
    return "" if code in (0, 5) else chosen.failed or f"loading: pytest's exit code {int(code)}"


def simulated(seeds):
    sys.path.insert(0, str(ROOT / "tests" / "simulation"))
    from test_simulation import failure, make

    return next((f"seed {seed}: {wrong}" for seed in seeds if (wrong := failure(make(seed)))), "")


def noticed(plan):
    """Run a plan; return what noticed something, "" if nothing did."""
    found = chosen_tested(plan.part(slow=False))
    if not found and plan.seeds:
        try:
            found = simulated(plan.seeds)
        except Exception as e:  # a mutant may break the loading of the simulation
            found = f"simulation: {e!r}"
    found = found or chosen_tested(plan.part(slow=True))
    return found or (tested(plan.served) if plan.served else "")


def chosen_tested(tests):
    return tested(sorted({name.split("::")[0] for name in tests}), tests) if tests else ""


def stand_in(mutant, text, place):
    """Put the mutant in place of its module, in this process and in all that it starts."""
    (place / "mutant.py").write_text(mutant.applied(text))
    os.environ.update(SATMETER_MUTANT=mutant.name, SATMETER_MUTANT_TEXT=str(place / "mutant.py"))
    os.environ["PYTHONPATH"] = f"{HOOK}{os.pathsep}{ROOT / 'host'}"
    sys.modules.pop("sitecustomize", None)
    sys.path.insert(0, str(HOOK))
    import sitecustomize  # noqa: F401


class Fork:
    """A job in a process of its own, which answers in JSON."""

    def __init__(self, name, job, limit_s):
        self.place = RUN / name
        self.place.mkdir(parents=True, exist_ok=True)
        self.answer = self.place / "answer.json"
        self.answer.unlink(missing_ok=True)
        self.began, self.limit_s = time.monotonic(), limit_s
        sys.stdout.flush()
        self.pid = os.fork()
        if not self.pid:
            self._child(job)

    def _child(self, job):
        try:
            os.setsid()
            with open(self.place / "log", "w") as log:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
            os.chdir(ROOT)
            sys.dont_write_bytecode, sys.pycache_prefix = False, str(BUILD / "bytecode")
            self.answer.write_text(json.dumps(job(self.place)))
        except BaseException as e:
            self.answer.write_text(json.dumps({"trouble": repr(e)}))
        finally:
            os._exit(0)

    def end(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def done(self):
        """Return the answer once there is one; a job that takes too long is ended."""
        late = time.monotonic() - self.began > self.limit_s
        if not late and os.waitpid(self.pid, os.WNOHANG) == (0, 0):
            return None
        self.end()
        if late:
            os.waitpid(self.pid, 0)
            return {"found": f"longer than {self.limit_s:.0f} s"}
        try:
            return json.loads(self.answer.read_text())
        except (OSError, ValueError):
            return {"found": "the process died"}


def side_by_side(jobs, workers):
    """Run jobs of (key, job, seconds at most), so many at once; yield (key, answer, seconds) as they end."""
    waiting, running = list(jobs)[::-1], {}
    try:
        while waiting or running:
            for slot in range(workers):
                if slot not in running and waiting:
                    key, job, limit_s = waiting.pop()
                    running[slot] = (key, Fork(f"worker-{slot}", job, limit_s))
            for slot, (key, fork) in list(running.items()):
                if (answer := fork.done()) is not None:
                    del running[slot]
                    yield key, answer, time.monotonic() - fork.began
            time.sleep(0.01)
    finally:
        for _, fork in running.values():
            fork.end()
