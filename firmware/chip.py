"""What only the chip can do: keep a number over a reset, and let go of an armed watchdog. RP2040 and RP2350 by their
datasheets; on others nothing is kept, and the watchdog stays."""

import sys

import machine

_RP2 = sys.platform == "rp2"
_RP2350 = _RP2 and "RP2350" in sys.implementation._machine  # type: ignore[attr-defined]
_WATCHDOG = 0x400D8000 if _RP2350 else 0x40058000
_CLEAR = 0x3000  # the alias of a register in which ones clear bits
_ENABLE = 1 << 30
_SCRATCH = _WATCHDOG + 0x0C
_MAGIC = 0x5A7E7E12


def keep(register: int) -> None:
    """Keep a register (up to 2**60) in the watchdog's scratch memory, which only a power cut clears."""
    if not _RP2:
        return
    low, high = register & 0x3FFFFFFF, register >> 30
    mem = machine.mem32
    mem[_SCRATCH + 8] = 0  # torn by a reset in between, it does not count
    mem[_SCRATCH] = low
    mem[_SCRATCH + 4] = high
    mem[_SCRATCH + 8] = _MAGIC ^ low ^ high


def kept() -> int:
    """Return what was kept, 0 after a power cut."""
    if not _RP2:
        return 0
    low, high, check = (machine.mem32[_SCRATCH + 4 * n] & 0xFFFFFFFF for n in range(3))
    if check != _MAGIC ^ low ^ high:
        return 0
    return high << 30 | low


def disarm() -> None:
    """Stop an armed watchdog: it would reset the board in the middle of what comes next."""
    if _RP2:
        machine.mem32[_WATCHDOG + _CLEAR] = _ENABLE
