"""What MicroPython runs at power-up. It is source, which has to be compiled first, so it is short."""

import micropython

micropython.kbd_intr(-1)  # before anything that Ctrl-C could end in a prompt; start.py allows it where that is wanted

import start  # noqa: E402

start.begin()
