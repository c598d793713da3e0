"""ST7789, 240x240 pixels in colour on SPI: white on black, a row of 8 lines at a time. Facts are from its datasheet."""

import time

import framebuf

WIDTH = HEIGHT = 240
MADCTL = {0: 0x00, 90: 0x60, 180: 0xC0, 270: 0xA0}
# The chip has 320 lines, the panel shows 240: where its picture begins, by rotation.
START = {0: (0, 0), 90: (0, 0), 180: (0, 80), 270: (80, 0)}


class St7789:
    """An ST7789 display of 240x240 pixels on SPI.

    cs, dc, reset and light: output pins; reset and light are None where they are not wired. rotation:
    0, 90, 180 or 270 degrees; offset: lines."""

    def __init__(self, spi, cs, dc, reset, light, rotation: int, offset: int):  # type: ignore[no-untyped-def]
        self.width, self.height = WIDTH, HEIGHT
        self._spi, self._cs, self._dc, self._reset, self._light = spi, cs, dc, reset, light
        self._madctl = MADCTL[rotation]
        x, y = START[rotation]
        self._x, self._y = x, y + offset
        self._strip = bytearray(WIDTH * 8 * 2)
        self._colour = framebuf.FrameBuffer(self._strip, WIDTH, 8, framebuf.RGB565)
        self._palette = framebuf.FrameBuffer(bytearray(b"\x00\x00\xff\xff"), 2, 1, framebuf.RGB565)

    def _send(self, command: int, data: bytes = b"") -> None:
        self._cs(0)
        self._dc(0)
        self._spi.write(bytes((command,)))
        if data:
            self._dc(1)
            self._spi.write(data)
        self._cs(1)

    def start(self) -> None:
        """Reset and switch on; takes a third of a second, before the loop runs or after a fault."""
        if self._reset is not None:
            self._reset(0)
            time.sleep_ms(1)  # type: ignore[attr-defined]
            self._reset(1)
            time.sleep_ms(120)  # type: ignore[attr-defined]
        self._send(0x11)  # out of sleep
        time.sleep_ms(120)  # type: ignore[attr-defined]
        self._send(0x3A, b"\x55")  # 16 bits a pixel
        self._send(0x36, bytes((self._madctl,)))
        self._send(0x21)  # these panels show colours as sent with inversion on
        self._send(0x29)  # on
        if self._light is not None:
            self._light(1)

    def _span(self, command: int, first: int, last: int) -> None:
        self._send(command, bytes((first >> 8, first & 255, last >> 8, last & 255)))

    def row(self, n: int, data: bytes) -> None:
        """Send a row: the colours are made by framebuf, whose loops are in C."""
        mono = framebuf.FrameBuffer(bytearray(data), WIDTH, 8, framebuf.MONO_VLSB)
        self._colour.blit(mono, 0, 0, -1, self._palette)
        y = self._y + 8 * n
        self._span(0x2A, self._x, self._x + WIDTH - 1)
        self._span(0x2B, y, y + 7)
        self._send(0x2C, self._strip)
