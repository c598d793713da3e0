"""What a board does at power-up: it opens the relay, then runs one loop of a few tasks.

A watchdog is fed only while all tasks are alive. Whatever ends the loop, the relay is opened. A locked
board then starts again and gives no prompt. A board that is half flashed (it has the file `flashing`)
runs nothing."""

import os
import sys

import machine
import micropython

SOON_MS = 3
AGAIN_MS = 2000  # a locked board that fails starts again after so long
COLLECT_MS, COLLECT_EVERY_MS = 16, 300


def _exists(path) -> bool:  # type: ignore[no-untyped-def]
    try:
        os.stat(path)
        return True
    except OSError:
        return False


def _config():  # type: ignore[no-untyped-def]
    import json

    try:
        with open("config.json") as f:
            config = json.load(f)
        return config if isinstance(config, dict) else {"config": "is not a table"}
    except (OSError, ValueError) as error:
        return {"config": str(error)}


def _pin_of(config, name, default):  # type: ignore[no-untyped-def]
    """Return a pin of a config that may be wrong in anything else."""
    pins = config.get("pins", {})
    return pins.get(name, default) if isinstance(pins, dict) else default


def _relay_off(config) -> None:  # type: ignore[no-untyped-def]
    """Open the relay, before anything else is read or loaded: one that a low level closes would be closed till then."""
    if "config" in config:
        return  # nothing of it can be read: the resistor at the relay's input says what is off
    on = _pin_of(config, "relay_on", 1)
    try:
        machine.Pin(_pin_of(config, "relay", 2), machine.Pin.OUT, value=0 if on else 1)
    except (ValueError, TypeError):
        pass


def _held(pin) -> bool:  # type: ignore[no-untyped-def]
    """Whether a button is down, and not just slow: the pull-up needs a moment where there is a capacitor or a cable."""
    import time

    for _ in range(5):
        time.sleep_ms(5)  # type: ignore[attr-defined]
        if pin.value():
            return False
    return True


def _locked(config) -> bool:  # type: ignore[no-untyped-def]
    """Returns whether the board must give no prompt.

    True where the key is good (32 bytes), unless the config has `locked` false or the button is held. A
    board without a good key is never locked, since no host could ask it to leave; nor is a board whose
    button pin does not exist."""
    import binascii

    try:
        key = binascii.unhexlify(config.get("key", ""))
        button = _pin_of(config, "button", -1)
        held = button != -1 and _held(machine.Pin(button, machine.Pin.IN, machine.Pin.PULL_UP))
    except (ValueError, TypeError):
        return False
    return len(key) == 32 and config.get("locked", True) is not False and not held


def _forget_key(config, key: bytes) -> None:  # type: ignore[no-untyped-def]
    """Removes the key from the config, the flash and the memory before a prompt is given.

    The host that flashes the board brings a key again; any other program on the line finds none. A
    board without a key delivers nothing."""
    import binascii
    import json

    import chip

    text = binascii.hexlify(key)
    config = {name: config[name] for name in config if name != "key"}
    with open("config.json", "w") as f:
        json.dump(config, f)
    for left in ("config.json.new", "churn"):
        if _exists(left):
            os.remove(left)
    chip.forget_flash(text, _churn)
    chip.forget_memory([text, key, bytes(k ^ 0x36 for k in key), bytes(k ^ 0x5C for k in key)])  # link.mac's pads


def _churn() -> None:
    """Have the file system write, so that it frees what was deleted: as much at once as it keeps beside a name."""
    with open("churn", "w") as f:
        f.write("0" * 400)
    os.remove("churn")


def run(config, locked: bool) -> None:  # type: ignore[no-untyped-def]
    """Runs the board until it is asked to leave or to restart, or until a task fails.

    Then it opens the relay. A board that is asked to leave forgets its key; a board that is asked to
    restart resets the chip. Raises the exception that ended a task.

    locked: the watchdog is armed only where this is True, the config is good, and its `watchdog_ms` is
    not 0."""
    import asyncio
    import gc

    import chip
    import settings
    from app import App
    from hal import Hal

    chip.disarm()
    good = not settings.problems(config)
    filled = settings.filled(config)
    hal = Hal(filled, good)
    board = App(hal, config, chip.kept())
    watchdog = machine.WDT(timeout=filled["watchdog_ms"]) if good and locked and filled["watchdog_ms"] else None
    beats = {}

    async def sampling():  # type: ignore[no-untyped-def]
        collect_at = 0
        while True:
            board.sample()
            beats["sampling"] = True
            if hal.now_ms() >= collect_at and board.due_ms() > COLLECT_MS:
                gc.collect()  # takes 12 ms, which are here between two samples, and anywhere else in the way of one
                collect_at = hal.now_ms() + COLLECT_EVERY_MS
            await asyncio.sleep_ms(board.due_ms())

    async def yielding():  # type: ignore[no-untyped-def]
        """A sample that is due before a piece of work would be done goes first."""
        if board.due_ms() <= SOON_MS:
            await asyncio.sleep_ms(board.due_ms())
            board.sample()

    async def talking():  # type: ignore[no-untyped-def]
        while True:
            await yielding()
            more = board.talk()
            beats["talking"] = True
            await asyncio.sleep_ms(0 if more else 3)

    async def showing():  # type: ignore[no-untyped-def]
        while True:
            await yielding()
            more = board.show()
            beats["showing"] = True
            await asyncio.sleep_ms(0 if more else 40)

    async def guarding():  # type: ignore[no-untyped-def]
        tasks = [asyncio.create_task(job()) for job in (sampling, talking, showing)]
        while not (board.leaving or board.restarting) and not any(task.done() for task in tasks):
            if watchdog is not None and len(beats) == len(tasks):
                watchdog.feed()
                beats.clear()
            await asyncio.sleep_ms(100)
        for task in tasks:
            if task.done():
                await task  # raises what ended it

    try:
        asyncio.run(guarding())
    finally:
        board.off()
        chip.disarm()
    if board.leaving:
        micropython.kbd_intr(-1)
        try:
            _forget_key(config, board.link.key)
        except BaseException:
            machine.reset()  # rather than a prompt with the key behind it
        micropython.kbd_intr(3)
    if board.restarting:
        machine.reset()


def begin() -> None:
    """Called by main.py, with Ctrl-C off."""
    config = _config()
    _relay_off(config)
    if _exists("flashing"):
        print("half flashed: run satmeter flash again")
        return
    locked = _locked(config)
    if not locked:
        micropython.kbd_intr(3)
    try:
        run(config, locked)
    except BaseException as error:
        _relay_off(config)
        if not locked:
            raise
        import time

        sys.print_exception(error)  # type: ignore[attr-defined]
        time.sleep_ms(AGAIN_MS)  # type: ignore[attr-defined]
        machine.reset()
