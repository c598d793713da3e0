"""The licences of the Python packages in a directory, a line each, as the packages say themselves.

Example: python3 contrib/release/licences.py .venv/lib/python3.11/site-packages
"""

import sys
from importlib.metadata import Distribution, distributions

CLASSIFIER = "License :: OSI Approved :: "


def licence(package: Distribution) -> str:
    """Return what a package says of its licence: the SPDX expression, else its classifiers, else the first line."""
    said = package.metadata
    expression = said.get("License-Expression")
    named = [value.removeprefix(CLASSIFIER) for value in said.get_all("Classifier") or [] if CLASSIFIER in value]
    lines = (said.get("License") or "").strip().splitlines()
    return expression or ", ".join(sorted(named)) or (lines[0] if lines else "not stated")


def main(directory: str) -> None:
    """Print a line a package of a site-packages directory."""
    found = {package.name.lower(): package for package in distributions(path=[directory])}
    for name in sorted(found):
        print(f"{name} {found[name].version}: {licence(found[name])}")


if __name__ == "__main__":
    main(sys.argv[1])
