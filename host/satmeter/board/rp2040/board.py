"""An emulated Pico with the firmware on it, used in the same way as a virtual board.

It has the calls of `Board` (board/virtual.py). Register, grant, flow and fault are read from the frames
that it sends on its serial line."""

from pathlib import Path

from .. import flash
from ..virtual import FULL_SCALE
from . import IMAGE, EmulatedPico

RELAY, LED, PLUG = 2, 15, 3


class EmulatedBoard:
    """Flashed when it is made; runs until close()."""

    def __init__(self, key: bytes, name: str = "rp2040", full_scale: int = FULL_SCALE, image: Path = IMAGE):
        display = {"type": "ssd1306"}
        config = {"key": key.hex(), "board": name[:16], "full_scale": full_scale, "display": display}
        self._percent, self._is_plugged = 0, True
        self.pico = EmulatedPico(image, inputs={PLUG: 0}, watch=[])
        try:
            flash.flash(self.pico.port, {**config, "pins": {"plug": PLUG}})
        except BaseException:
            self.pico.close()
            raise
        self.port = self.pico.port

    def turn(self, percent: int) -> None:
        """Turn the potentiometer: 0 to 100 per cent of the full flow, with the noise that an ADC has."""
        self._percent = max(0, min(100, percent))
        self.pico.turn(self._percent, noise=3)

    def plug(self) -> None:
        """Plugs in: drives the plug pin low."""
        self._is_plugged = True
        self.pico.put(PLUG, 0)

    def unplug(self) -> None:
        """Unplugs: drives the plug pin high."""
        self._is_plugged = False
        self.pico.put(PLUG, 1)

    def reboot(self) -> None:
        """Cut the power for a moment."""
        self.pico.power()

    @property
    def percent(self) -> int:
        """The position of the potentiometer in per cent, as turn() has set it."""
        return self._percent

    @property
    def is_plugged(self) -> bool:
        """Whether the plug is in, as plug() or unplug() has set it; True at the start."""
        return self._is_plugged

    @property
    def register(self) -> int:
        """The register (ticks) in the board's last reading; 0 before the first one."""
        return int(self.pico.heard.get("register", 0))

    @property
    def grant(self) -> int:
        """The grant (a register value in ticks) in the board's last reading; 0 before the first one."""
        return int(self.pico.heard.get("grant", 0))

    @property
    def flow(self) -> int:
        """Ticks an hour."""
        return int(self.pico.heard.get("flow", 0))

    @property
    def flowing(self) -> bool:
        """Whether the relay is closed now, by the level of its pin."""
        return self.pico.pin(RELAY)

    @property
    def lamp(self) -> str:
        """What the LED does at this moment: on or off."""
        return "on" if self.pico.pin(LED) else "off"

    @property
    def lines(self) -> list[str]:
        """What is wrong, if anything; its page is on its display."""
        return [str(self.pico.heard.get("fault", ""))]

    def close(self) -> None:
        """Ends the emulated board; its port goes away."""
        self.pico.close()
