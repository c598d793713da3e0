"""Which serial port a board is on."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import serial
from serial.tools import list_ports

from ..core.errors import BoardTrouble

RASPBERRY_PI = 0x2E8A
VENDORS = {
    RASPBERRY_PI: "Raspberry Pi",
    0x239A: "Adafruit",
    0x303A: "Espressif",
    0x1B4F: "SparkFun",
    0x2341: "Arduino",
}
"""Whose boards run MicroPython with a USB port of their own, by USB vendor id."""
NO_BOARD = (
    "no board found: connect it by USB. A Pico that has no MicroPython yet: hold BOOTSEL while you plug it in, and "
    "copy the official .uf2 (https://micropython.org/download/RPI_PICO) onto the drive RPI-RP2; then run this again"
)


ERASE = (
    "Hold BOOTSEL while you plug it in, copy flash_nuke.uf2 "
    "(https://www.raspberrypi.com/documentation/microcontrollers/pico-series.html) onto the drive RPI-RP2, which "
    "erases the board, then the official .uf2 (https://micropython.org/download/RPI_PICO), and run this again. (An "
    "ESP32-S3: hold BOOT, `esptool erase-flash`, then MicroPython anew.)"
)
OTHER_KEY = (
    "{port}: the board has another key than this one (give the file of its own by --key), or none yet (satmeter "
    "flash). Where its key is lost: hold its button while you plug it in, and flash it. A board without a button: "
    + ERASE
)


@contextlib.contextmanager
def troubles(port: str) -> Iterator[None]:
    """Say in words why a port can't be opened."""
    try:
        yield
    except (serial.SerialException, OSError) as error:
        code = error.errno or next((each for each in _CODES if os.strerror(each) in str(error)), 0)
        if "exclusively lock" in str(error):
            code = errno.EBUSY
        if code not in _CODES:
            raise
        raise BoardTrouble(f"{port}: {_CODES[code]}") from error


_CODES = {
    errno.EACCES: "no permission: add yourself to the group dialout (sudo usermod -aG dialout $USER), and log in again",
    errno.EBUSY: "another program has it open; close that (a serial monitor, Thonny, ModemManager)",
    errno.ENOENT: "no such port; is the board connected?",
    errno.EISDIR: "is a folder, not a serial port",
    errno.ENOTTY: "is no serial port",
}


def find(port: str = "") -> str:
    """Returns the serial port of the board: the given one, or the only one that looks like a board's.

    Of several it takes the only one with Raspberry Pi's USB vendor id. Raises BoardTrouble where the
    given port does not exist, or where none or more than one is found."""
    if port:
        if not Path(port).exists():
            raise BoardTrouble(f"{port}: no such port; {NO_BOARD}")
        return port
    found = {str(comport.device): comport.vid for comport in list_ports.comports() if comport.vid in VENDORS}
    best = [device for device, vendor in found.items() if vendor == RASPBERRY_PI] or list(found)
    if not best:
        raise BoardTrouble(NO_BOARD)
    if len(best) > 1:
        named = ", ".join(f"{device} ({VENDORS[found[device]]})" for device in best)
        raise BoardTrouble(f"{len(best)} boards are connected ({named}); say which by --port")
    return best[0]
