"""Draws docs/wiring-*.svg: what is connected to which pin, from the defaults in firmware/settings.py.

python docs/draw_wiring.py
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "firmware"))

import settings  # noqa: E402

ROW, TOP, WIDTH = 30, 70, 760
BOARD_X, BOARD_W, PART_X, PART_W = 40, 190, 460, 260
PLUG, BUTTON, PULSE = 3, 7, 6
"""Suggested pins of inputs that are off by default."""

Part = tuple[str, list[tuple[str, str, str]]]


def parts(display: str) -> list[Part]:
    """Return (part, [(its end, the Pico's pin, colour of the wire)])."""
    p = {**settings.PINS, **settings.BUS, **settings.SPI}
    gp = {name: f"GP{pin}" for name, pin in p.items()}
    red, black, blue, green = "#c33", "#333", "#27c", "#2a7"
    pot = [("end", "3V3 OUT", red), ("wiper", f"{gp['pot']} (ADC0)", blue), ("end", "AGND", black)]
    lamp = [("anode, over 330 ohm", gp["led"], blue), ("cathode", "GND", black)]
    relay = [("VCC (3.3 V opto module)", "3V3 OUT", red), ("IN, 10 k to GND", gp["relay"], blue), ("GND", "GND", black)]
    plug = [("contact", f"GP{PLUG}", blue), ("contact", "GND", black)]
    button = [("contact", f"GP{BUTTON}", blue), ("contact", "GND", black)]
    pulse = [("optocoupler's collector", f"GP{PULSE}", blue), ("emitter", "GND", black)]
    found: list[Part] = [
        ("potentiometer, 10 k linear", pot),
        ("LED (lamp)", lamp),
        ("relay module", relay),
        ("plug sense (microswitch)", plug),
        ("button", button),
        ("S0 or flow meter, pulses", pulse),
    ]
    if display == "st7789":
        ends = [("SCL", gp["sck"]), ("SDA", gp["mosi"]), ("CS", gp["cs"]), ("DC", gp["dc"]), ("RES", gp["reset"])]
        wires = [(end, pin, green) for end, pin in [*ends, ("BLK", gp["light"])]]
        found.append(("ST7789, 240x240", [("VCC", "3V3 OUT", red), *wires, ("GND", "GND", black)]))
    else:
        wires = [("SDA", gp["sda"], green), ("SCL", gp["scl"], green)]
        found.append(("SSD1306, SH1106 or SH1107", [("VCC", "3V3 OUT", red), *wires, ("GND", "GND", black)]))
    return found


def drawn(display: str) -> str:
    """Return the picture: the Pico on the left, a part after the other on the right, a wire a line."""
    out, y = [], TOP
    for part, ends in parts(display):
        height = ROW * len(ends)
        out.append(f'<rect x="{PART_X}" y="{y}" width="{PART_W}" height="{height}" rx="6" fill="#eef" stroke="#557"/>')
        out.append(f'<text x="{PART_X + PART_W - 8}" y="{y - 6}" text-anchor="end" font-weight="bold">{part}</text>')
        for n, (end, pin, colour) in enumerate(ends):
            at = y + ROW * n + ROW // 2
            x1, x2 = BOARD_X + BOARD_W, PART_X
            out.append(f'<line x1="{x1}" y1="{at}" x2="{x2}" y2="{at}" stroke="{colour}" stroke-width="3"/>')
            out.append(f'<text x="{BOARD_X + BOARD_W - 8}" y="{at + 5}" text-anchor="end">{pin}</text>')
            out.append(f'<text x="{PART_X + 8}" y="{at + 5}">{end}</text>')
        y += height + ROW
    board = (
        f'<rect x="{BOARD_X}" y="{TOP - 20}" width="{BOARD_W}" height="{y - TOP}" rx="8" fill="#dfd" stroke="#484"/>'
    )
    name = f'<text x="{BOARD_X + 10}" y="{TOP - 30}" font-weight="bold">Raspberry Pi Pico</text>'
    body = "\n".join([board, name, *out])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" font-family="sans-serif" font-size="15">\n'
        f'<rect width="{WIDTH}" height="{y}" fill="#fff"/>\n{body}\n</svg>\n'
    )


if __name__ == "__main__":
    for kind in ("oled", "st7789"):
        (HERE / f"wiring-{kind}.svg").write_text(drawn(kind))
