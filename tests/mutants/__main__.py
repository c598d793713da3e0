"""`make mutants`: change money code in small ways, one at a time; each change has to fail a test.

python tests/mutants [--all | --sample N] [--seed S] [--module core/money.py] [--only ID] [--seeds N] [--tests FILE ...]
    [--workers N]
"""

import argparse
import hashlib
import json
import shutil
import sys
import time

import listed
from mutations import mutants
from tree import BUILD, QUICK, ROOT, SOURCE, money
from trial import RUN, noticed, side_by_side, stand_in

sys.path.insert(0, str(ROOT / "host"))

SAMPLE = 100


def arguments(given=None):
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__.partition("\n")[0])
    parser.add_argument("--all", action="store_true", help="try every mutant")
    parser.add_argument("--sample", type=int, default=SAMPLE, help="how many to try, %(default)s by default")
    parser.add_argument("--seed", type=int, default=0, help="which sample")
    parser.add_argument("--module", action="append", default=[], help="only of this file, such as core/money.py")
    parser.add_argument("--only", action="append", default=[], help="only mutants whose id begins so; all of these")
    parser.add_argument("--seeds", type=int, default=60, help="how many seeds of the simulation may notice one")
    parser.add_argument("--tests", nargs="+", default=list(QUICK), help="files under tests/ instead of all quick ones")
    parser.add_argument("--workers", type=int, default=2)
    return parser.parse_args(given)


def everything():
    return [m for file in money() for m in mutants(file, (SOURCE / file).read_text())]


def chosen(found, options):
    """Return the sample: which mutants are in it does not hang on which others there are."""
    if options.module:
        unknown = set(options.module) - set(money())
        if unknown:
            raise SystemExit(f"--module: {', '.join(sorted(unknown))} is no money code, as tree.py names it")
        found = [m for m in found if m.file in options.module]
    if options.only:
        return [m for m in found if m.id.startswith(tuple(options.only))]
    if options.all:
        return found
    return sorted(found, key=lambda m: hashlib.sha256(f"{options.seed} {m.id}".encode()).digest())[: options.sample]


def trials(found, reach):
    for mutant in found:
        plan = reach.plan(mutant)

        def job(place, mutant=mutant, plan=plan):
            stand_in(mutant, (SOURCE / mutant.file).read_text(), place)
            return {"found": noticed(plan)}

        yield (mutant, plan), job, plan.limit_s


def tell(n, of, mutant, plan, found, took):
    ran = len(plan.tests) + len(plan.seeds) + len(plan.served)
    by = f"noticed by {found}" if found else "SURVIVED" + ("" if ran else ": no test reaches it")
    print(f"{n:>5}/{of} {took:5.1f} s  {mutant.id}  {by[:150]}", flush=True)
    if not found:
        print(f"{'':>15}{mutant.file}:{mutant.first}: {mutant.change}", flush=True)


def run(found, reach, workers):
    """Try mutants; return the survivors and all results."""
    survivors, results = [], []
    for (mutant, plan), answer, took in side_by_side(trials(found, reach), workers):
        if "trouble" in answer:
            raise SystemExit(f"{mutant.id}: {answer['trouble']}")
        survivors += [] if answer["found"] else [mutant]
        results.append({"id": mutant.id, "change": mutant.change, "found": answer["found"], "seconds": round(took, 2)})
        tell(len(results), len(found), mutant, plan, answer["found"], took)
    return survivors, results


def judge(tried, survivors, known, wrong):
    """Say what the list and the run do not agree on; return whether they agree."""
    alive = {m.id for m in survivors}
    wrong |= {m.id: "a test notices it now: take it off" for m in tried if m.id in known and m.id not in alive}
    new = [m for m in survivors if m.id not in known]
    for mutant in new:
        print(listed.entry(mutant), end="\n\n")
    for name, why in sorted(wrong.items()):
        print(f"STALE {name}: {why}")
    print(
        f"{len(tried)} mutants, {len(tried) - len(survivors)} noticed, {len(survivors)} survived"
        f" ({len(survivors) - len(new)} of them listed), {len(wrong)} stale entries"
    )
    return not new and not wrong


def main(given=None) -> int:
    from reach import Reach

    options = arguments(given)
    RUN.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    known, every = listed.read(), everything()
    tried = chosen(every, options)
    reach = Reach([f"tests/{test}" for test in options.tests], options.seeds, options.workers)
    reach.load_libraries()
    ready = time.monotonic()
    survivors, results = run(tried, reach, options.workers)
    took = time.monotonic() - ready
    (BUILD / "results.json").write_text(json.dumps(results, indent=1))
    shutil.rmtree(RUN)
    good = judge(tried, survivors, known, listed.stale(known, every))
    pace = len(tried) * 60 / max(took, 1)
    print(f"of {len(every)} in {len(money())} files; {ready - began:.0f} s to get ready, {pace:.0f} a minute")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
