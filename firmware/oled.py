"""Monochrome displays on I2C: SSD1306 (128x64), SH1106 (128x64) and SH1107 (128x128). Facts: their datasheets."""

SIZES = {"ssd1306": (128, 64), "sh1106": (128, 64), "sh1107": (128, 128)}
OFFSETS = {"ssd1306": 0, "sh1106": 2, "sh1107": 0}  # the column in the chip's memory that is the first one seen


class Oled:
    """An SSD1306, SH1106 or SH1107 display on I2C.

    kind: one of SIZES; address: 7 bits; rotation: 0 or 180 degrees; offset: columns, added to those of
    the kind; contrast: 0 to 255."""

    def __init__(self, i2c, kind: str, address: int, rotation: int, offset: int, contrast: int):  # type: ignore[no-untyped-def]
        self.kind = kind
        self.width, self.height = SIZES[kind]
        self._i2c = i2c
        self._address = address
        self._offset = OFFSETS[kind] + offset
        self._setup = self._commands(rotation == 180, contrast)
        self._head = bytearray(2)

    def _commands(self, turned: bool, contrast: int) -> bytes:
        # Column and row order: modules are wired so that 0xA1 and 0xC8 are upright (SH1107: 0xA0 and 0xC0).
        order = (0xA0, 0xC0) if turned != (self.kind == "sh1107") else (0xA1, 0xC8)
        # 0xD5, 0xF0: the fastest oscillator, about 180 pictures a second in place of 105. A camera that exposes for
        # 1/125 s, as in bright light, catches whole ones then; of a slower display it sees bands.
        common = (0xAE, order[0], order[1], 0xA8, self.height - 1, 0xD3, 0, 0x81, contrast, 0xA4, 0xA6)
        if self.kind == "ssd1306":
            return bytes(common + (0x20, 2, 0x40, 0xDA, 0x12, 0xD5, 0xF0, 0xD9, 0xF1, 0xDB, 0x30, 0x8D, 0x14, 0xAF))
        if self.kind == "sh1106":
            return bytes(common + (0x40, 0xDA, 0x12, 0xD5, 0xF0, 0xD9, 0x22, 0xDB, 0x35, 0xAD, 0x8B, 0xAF))
        return bytes(common + (0xDC, 0, 0x20, 0xD5, 0x51, 0xD9, 0x22, 0xDB, 0x35, 0xAD, 0x8A, 0xAF))

    def start(self) -> None:
        """Set up and switch on; OSError where nothing answers. What the chip had in its memory is drawn over."""
        for command in self._setup:
            self._i2c.writeto(self._address, bytes((0x80, command)))

    def row(self, n: int, data: bytes) -> None:
        """Send a row of 8 pixels (all three know page addressing): about 3 ms at 400 kHz."""
        at = self._offset
        self._i2c.writeto(self._address, bytes((0x00, 0xB0 | n, at & 0x0F, 0x10 | at >> 4)))
        self._i2c.writevto(self._address, (b"\x40", data))
