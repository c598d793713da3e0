"""The list of survivors that are accepted, each with its reason: survivors.toml."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

PATH = Path(__file__).with_name("survivors.toml")


@dataclass(frozen=True)
class Survivor:
    id: str
    code: str
    change: str
    reason: str


def read(path=PATH) -> dict[str, Survivor]:
    """Return the list by id; an entry without a reason, or a second one of the same id, is an error."""
    found = {}
    for entry in tomllib.loads(path.read_text()).get("survivor", []):
        survivor = Survivor(**entry)
        if not survivor.reason.strip():
            raise SystemExit(f"{path.name}: {survivor.id} has no reason")
        if survivor.id in found:
            raise SystemExit(f"{path.name}: {survivor.id} is there twice")
        found[survivor.id] = survivor
    return found


def stale(listed, mutants):
    """Return what the list says of code that is no longer so, as id -> why."""
    there = {m.id: m for m in mutants}
    wrong = {}
    for survivor in listed.values():
        mutant = there.get(survivor.id)
        if mutant is None:
            wrong[survivor.id] = "there is no such mutant any more"
        elif (mutant.code, mutant.change) != (survivor.code, survivor.change):
            wrong[survivor.id] = f"the code is another now ({mutant.code}): judge it again"
    return wrong


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def entry(mutant):
    """Return a mutant as an entry of the list, for a reason to be added."""
    fields = (("id", mutant.id), ("code", mutant.code), ("change", mutant.change), ("reason", ""))
    return "\n".join(["[[survivor]]", *(f"{name} = {quoted(value)}" for name, value in fields)])
