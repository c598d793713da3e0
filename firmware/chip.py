"""What only the chip can do: keep a number over a reset, stop a watchdog, erase flash and memory.

For RP2040 and RP2350, by their datasheets. On other chips nothing is kept, an armed watchdog stays
armed, and deleted data may still be found in the flash."""

import gc
import sys

import machine

_RP2 = sys.platform == "rp2"
_RP2350 = _RP2 and "RP2350" in sys.implementation._machine  # type: ignore[attr-defined]
_WATCHDOG = 0x400D8000 if _RP2350 else 0x40058000
_CLEAR = 0x3000  # the alias of a register in which ones clear bits
_ENABLE = 1 << 30
_SCRATCH = _WATCHDOG + 0x0C
_MAGIC = 0x5A7E7E12
_RAM, _RAM_SIZE = 0x20000000, 0x82000 if _RP2350 else 0x42000
_WINDOW = 1024
_BLOCKS, _BLOCK_SIZE, _ERASE = 4, 5, 6  # what a block device is asked for
_ROOT = (0, 1)  # the blocks in which littlefs keeps the directory, and small files within it
_CHURNS = 200


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


def forget_flash(text: bytes, churn) -> None:  # type: ignore[no-untyped-def]
    """Erases what is left in the flash of a text (bytes) that is no longer in any file.

    churn: a function that changes the directory a little. It is called until littlefs has written the
    directory anew, 200 times at most, since the blocks of the directory can't be erased while they are
    in use. All other blocks that hold the text are free, and are erased. On other chips than RP2040 and
    RP2350 nothing is done."""
    if not _RP2:
        return
    import rp2

    flash = rp2.Flash()
    block = bytearray(flash.ioctl(_BLOCK_SIZE, 0))

    def holds(n):  # type: ignore[no-untyped-def]
        flash.readblocks(n, block)
        return text in block

    for _ in range(_CHURNS):
        if not any(holds(n) for n in _ROOT):
            break
        churn()
    for n in range(len(_ROOT), flash.ioctl(_BLOCKS, 0)):
        if holds(n):
            flash.ioctl(_ERASE, n)
    block[:] = bytes(len(block))


def forget_memory(texts) -> None:  # type: ignore[no-untyped-def]
    """Overwrite every copy of some texts (bytes) in memory, these themselves at last, and all memory that is free."""
    if _RP2:
        import uctypes

        own = [uctypes.addressof(text) for text in texts]
        for text in texts:
            for at in range(_RAM, _RAM + _RAM_SIZE - len(text), _WINDOW):
                size = min(_WINDOW + len(text), _RAM + _RAM_SIZE - at)
                window = uctypes.bytearray_at(at, size)
                if text in window:
                    _overwrite(window, at, text, own)
        for text, at in zip(texts, own):
            window = uctypes.bytearray_at(at, len(text))
            for n in range(len(text)):
                window[n] = 0
    _fill_free_memory()


def _overwrite(window, at: int, text: bytes, own) -> None:  # type: ignore[no-untyped-def]
    """Byte by byte, since a slice would be one more copy."""
    size = len(text)
    for start in range(len(window) - size + 1):
        n = 0
        while n < size and window[start + n] == text[n]:
            n += 1
        if n == size and at + start not in own:
            for n in range(size):
                window[start + n] = 0


def _fill_free_memory() -> None:
    """New memory is all zeros; a chain of pieces needs no list that would have to grow."""
    gc.collect()
    pieces, size = None, 4096
    while size >= 16:
        try:
            pieces = (pieces, bytearray(size))
        except MemoryError:
            size //= 2
    del pieces
    gc.collect()
