"""What is plugged into a device: while the device is on, its energy rises."""

import threading
import time
from typing import Protocol

EVERY_S = 0.02


class Metered(Protocol):
    """A device without hardware: `energy` in Wh, `power` in W."""

    energy: float
    power: float

    @property
    def on(self) -> bool:
        """Whether it lets anything flow."""
        ...


class Load:
    """Takes `watts` of a device while that is on; `flowed` Wh did so far."""

    def __init__(self, device: Metered, watts: float) -> None:
        self._device, self.watts, self.flowed = device, watts, 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._flow, daemon=True)
        self._thread.start()

    @property
    def on(self) -> bool:
        """Whether the device lets anything flow."""
        return self._device.on

    def _flow(self) -> None:
        last = time.monotonic()
        while not self._stop.wait(EVERY_S):
            now = time.monotonic()
            on, watts = self._device.on, self.watts
            if on:
                step = watts / 3600 * (now - last)
                self._device.energy += step
                self.flowed += step
            self._device.power = watts if on else 0.0
            last = now

    def stop(self) -> None:
        """Nothing is plugged in any more."""
        self._stop.set()
        self._thread.join()
