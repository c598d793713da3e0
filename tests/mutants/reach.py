"""Which tests and which seeds of the simulation reach which line, measured once for each state of the tree."""

import contextlib
import hashlib
import importlib
import json
import os
import sys
import time
import warnings
from collections import defaultdict
from pathlib import Path

from tree import BUILD, ROOT, SOURCE, money, served
from trial import QUIET, RUN, Chosen, Plan, side_by_side, simulated

MEASURING_S = 1800
KEPT = 3
"""Measurements of other states of the tree, which someone may go back to."""
HERE = Path(__file__).resolve().parent
OURS = ("satmeter", "conftest", "sitecustomize", "__main__")


def state(tests, seeds: int) -> str:
    """Return a name of the tree as it is, and of what is run on it."""
    digest = hashlib.sha256(f"{tests} {seeds}".encode())
    for folder in (ROOT / "host", ROOT / "tests"):
        for path in sorted(p for p in folder.rglob("*.py") if p.parent != HERE):
            digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return digest.hexdigest()[:16]


class Timed(Chosen):
    """Runs every test in a context of its own."""

    def __init__(self, coverage):
        super().__init__()
        self.coverage, self.took, self.failures = coverage, {}, []

    def pytest_runtest_logstart(self, nodeid):
        self.coverage.switch_context(nodeid)

    def pytest_runtest_logfinish(self):
        self.coverage.switch_context("")

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.failures.append(report.nodeid)
        if not report.skipped:
            self.took[report.nodeid] = round(self.took.get(report.nodeid, 0) + report.duration, 4)


def measured(work):
    """Return a job that runs `work(coverage)` -> (seconds by name, failures) and says which lines each name reached."""

    def job(place):
        from coverage import Coverage

        files = {str(SOURCE / file): file for file in money()}
        coverage = Coverage(data_file=str(place / "coverage"), config_file=False, include=list(files))
        coverage.erase()
        coverage.start()
        took, failures = work(coverage)
        coverage.stop()
        data, lines = coverage.get_data(), {}
        for path in data.measured_files():
            found = data.contexts_by_lineno(path)
            lines[files[path]] = {line: [name for name in names if name] for line, names in found.items()}
        return {"took": took, "failures": failures, "lines": lines, "libraries": libraries()}

    return job


def libraries():
    """Return the names of what was loaded and is not of this tree."""
    names = []
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None) or ""
        if path and not path.startswith(str(ROOT / "host")) and not path.startswith(str(ROOT / "tests")):
            names.append(name)
    return [name for name in names if name.split(".")[0] not in OURS]


def by_tests(files):
    def work(coverage):
        import pytest

        timed = Timed(coverage)
        pytest.main([*(flag for flag in QUIET if flag != "-x"), *files], plugins=[timed])
        return timed.took, timed.failures

    return measured(work)


def by_seeds(seeds):
    def work(coverage):
        took, failures = {}, []
        simulated([])
        for seed in seeds:
            coverage.switch_context(f"seed {seed}")
            began = time.monotonic()
            failures += [wrong] if (wrong := simulated([seed])) else []
            took[f"seed {seed}"] = round(time.monotonic() - began, 4)
        return took, failures

    return measured(work)


def measure(tests, seeds, workers):
    works = [by_tests(tests[:1]), by_seeds(range(seeds)), by_tests(tests[1:])]
    works = [work for work, wanted in zip(works, (tests, seeds, tests[1:])) if wanted]
    took, lines, loaded = {}, defaultdict(lambda: defaultdict(list)), set()
    jobs = [(n, work, MEASURING_S) for n, work in enumerate(works)]
    for _, answer, _ in side_by_side(jobs, workers):
        if trouble := answer.get("trouble") or answer.get("found") or answer["failures"]:
            raise SystemExit(f"without a mutant the tests have to pass: {trouble}; see {RUN}")
        took.update(answer["took"])
        loaded |= set(answer["libraries"])
        for file, found in answer["lines"].items():
            for line, names in found.items():
                lines[file][line] += names
    return {"took": took, "lines": lines, "libraries": sorted(loaded)}


class Reach:
    """What reaches what."""

    def __init__(self, tests, seeds: int, workers: int):
        os.environ["COVERAGE_CORE"] = "ctrace"  # the one that knows contexts on every Python
        self.path = BUILD / f"reach-{state(tests, seeds)}.json"
        if not self.path.exists():
            print("measuring which test reaches which line ...", flush=True)
            found = measure(tests, seeds, workers)
            for old in sorted(BUILD.glob("reach-*.json"), key=lambda p: p.stat().st_mtime)[:-KEPT]:
                old.unlink()
            self.path.write_text(json.dumps(found))
        found = json.loads(self.path.read_text())
        self.took, self.lines, self.libraries = found["took"], found["lines"], found["libraries"]

    def load_libraries(self):
        """Load what trials need, so that they need not; what is written in C only as its whole loads it.

        Loaded before asyncio, _asyncio knows other tasks than asyncio does."""
        with warnings.catch_warnings(action="ignore"):
            for name in (each for each in self.libraries if not each.startswith("_")):
                with contextlib.suppress(Exception):  # a part that loads only through its whole
                    importlib.import_module(name)

    def plan(self, mutant) -> Plan:
        """Return what may notice a mutant; all that reaches its file, where its line is run once, when it is loaded."""
        lines = self.lines.get(mutant.file, {})
        names = {n for line in range(mutant.first, mutant.last + 1) for n in lines.get(str(line), [])}
        if not mutant.inside:
            names = {n for found in lines.values() for n in found}
        ordered = sorted(names, key=lambda n: (self.took[n], n))
        return Plan(
            {n: self.took[n] for n in ordered if not n.startswith("seed ")},
            {int(n[5:]): self.took[n] for n in ordered if n.startswith("seed ")},
            served(mutant.file),
        )
