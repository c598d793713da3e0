"""Which serial port a board is on."""

from pathlib import Path

from serial.tools import list_ports

from ..core.errors import BoardTrouble

VENDOR = 0x2E8A  # Raspberry Pi
NO_BOARD = (
    "no board found: connect it by USB. A Pico that has no MicroPython yet: hold BOOTSEL while you plug it in, and "
    "copy the official .uf2 (https://micropython.org/download/RPI_PICO) onto the drive RPI-RP2; then run this again"
)


def find(port: str = "") -> str:
    """Return the board's port: the given one, or the only one that looks like a board; BoardTrouble otherwise."""
    if port:
        if not Path(port).exists():
            raise BoardTrouble(f"{port}: no such port; {NO_BOARD}")
        return port
    found = [p.device for p in list_ports.comports() if p.vid == VENDOR]
    if not found:
        raise BoardTrouble(NO_BOARD)
    if len(found) > 1:
        raise BoardTrouble(f"{len(found)} boards are connected ({', '.join(found)}); say which by --port")
    return str(found[0])
