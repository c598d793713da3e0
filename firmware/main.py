"""What a board runs at power-up: one loop of a few tasks, and a watchdog that is fed only while all of them are alive.

Whatever ends it, the relay goes off. A board that is being flashed (the file `flashing` is there) runs nothing.
"""

import os
import sys

SOON_MS = 3
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
            return json.load(f)
    except (OSError, ValueError) as e:
        return {"config": str(e)}


def _forget_key(config, key: bytes) -> None:  # type: ignore[no-untyped-def]
    """Make the board forget its key before anybody gets a prompt: who flashes brings a key, and others who are on the
    line by then find none. A board without a key delivers nothing."""
    import binascii
    import json

    import chip

    text = binascii.hexlify(key)
    config = {name: config[name] for name in config if name != "key"} if isinstance(config, dict) else {}
    with open("config.json", "w") as f:
        json.dump(config, f)
    for left in ("config.json.new", "churn"):
        if _exists(left):
            os.remove(left)
    chip.forget_flash(text, _churn)
    chip.forget_memory([text, key, bytes(k ^ 0x36 for k in key), bytes(k ^ 0x5C for k in key)])  # link.mac's pads


def _churn() -> None:
    open("churn", "w").close()
    os.remove("churn")


def run() -> None:
    import asyncio
    import gc

    import machine
    import micropython

    import chip
    import settings
    from app import App
    from hal import Hal

    chip.disarm()
    config = _config()
    good = not settings.problems(config)
    filled = settings.filled(config)
    hal = Hal(filled, good)
    board = App(hal, config, chip.kept())
    locked = good and filled["locked"] and not hal.button()
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
        if locked:
            micropython.kbd_intr(-1)  # a byte on the line that looks like Ctrl-C is no reason to stop
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


if _exists("flashing"):
    print("half flashed: run satmeter flash again")
elif sys.implementation.name == "micropython":
    run()
