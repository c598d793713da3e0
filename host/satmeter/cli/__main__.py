"""Runs the `satmeter` command by `python -m satmeter.cli`."""

from .main import main

main()
