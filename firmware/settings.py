"""The board's config.json: its fields, their defaults, and the check of their values.

The host checks a config before it is written to a board (satmeter flash), and the board checks it when
it starts. A board whose config is wrong delivers nothing."""

MCUS = {
    "pico": {"pins": tuple(range(0, 23)) + (25, 26, 27, 28), "adc": (26, 27, 28), "rp2": True},
    "pico-w": {"pins": tuple(range(0, 23)) + ("LED", 26, 27, 28), "adc": (26, 27, 28), "rp2": True},
    "pico2": {"pins": tuple(range(0, 23)) + (25, 26, 27, 28), "adc": (26, 27, 28), "rp2": True},
    "esp32-s3": {
        "pins": tuple(range(0, 19)) + (21,) + tuple(range(38, 43)) + (47, 48),
        "adc": tuple(range(1, 11)),
        "rp2": False,
    },
}
"""The pins that a maker may use, by what the board is. GP23, GP24 and GP29 of a Pico are its own; of an ESP32-S3 19 and
20 are the USB line, 26 to 37 the flash and the PSRAM, 43 and 44 the serial console, 45 and 46 are read at its start."""

DISPLAYS = {"none": (0, 0), "ssd1306": (128, 64), "sh1106": (128, 64), "sh1107": (128, 128), "st7789": (240, 240)}
"""Width and height in pixels."""

I2C = ("ssd1306", "sh1106", "sh1107")
ROTATIONS = {"st7789": (0, 90, 180, 270)}

DEFAULTS = {
    "board": "pico",
    "mcu": "pico",
    "source": "pot",
    "full_scale": 3600,
    "dead_zone": 600,
    "calibration": [],
    "ticks_per_pulse": 1,
    "pulse_sensor": "contact",
    "pulse_debounce_ms": 20,
    "plug_debounce_ms": 30,
    "rail_s": 0,
    "locked": True,
    "watchdog_ms": 4000,
}
SENSORS = {"contact": 20, "s0": 10, "hall": 1}
"""By what gives the pulses: for how many ms the line has to be low, and then high, for a pulse to count. A contact
bounces; an S0 pulse is 30 ms or longer; a Hall sensor in a flow meter does not bounce."""
PINS = {"pot": 26, "led": 15, "relay": 2, "plug": -1, "pulse": -1, "button": -1, "relay_on": 1, "plug_on": 0}
DISPLAY = {"type": "none", "rotation": 0, "address": 0x3C, "offset": 0, "contrast": 128, "hz": 400000}
SPI_HZ = 40000000
BUS = {"sda": 4, "scl": 5}
SPI = {"sck": 18, "mosi": 19, "cs": 17, "dc": 20, "reset": 21, "light": 22}

RANGES = {
    "full_scale": (1, 10**9),
    "dead_zone": (0, 20000),
    "ticks_per_pulse": (1, 10**6),
    "pulse_debounce_ms": (0, 1000),
    "plug_debounce_ms": (0, 1000),
    "rail_s": (0, 86400),
    "watchdog_ms": (0, 8000),
}
"""full_scale: ticks an hour with the potentiometer at its end; dead_zone: raw readings (of 65,535) that are nothing;
rail_s: seconds at an end of the ADC's range that are a fault, 0 for never; watchdog_ms: 0 for none."""


WATCHDOG_LEAST_MS = 1000


def filled(config):  # type: ignore[no-untyped-def]
    """Return a config with the defaults in it; what is not a table stays as it is, for problems() to name."""
    out = dict(DEFAULTS)
    kind = config.get("pulse_sensor")
    if isinstance(kind, str) and kind in SENSORS:
        out["pulse_debounce_ms"] = SENSORS[kind]
    out.update(config)
    display = config.get("display", {})
    if isinstance(display, dict):
        out["display"] = dict(DISPLAY)
        if display.get("type") == "st7789":
            out["display"]["hz"] = SPI_HZ
        out["display"].update(display)
    pins = config.get("pins", {})
    if isinstance(pins, dict):
        kind = out["display"].get("type") if isinstance(display, dict) else "none"
        out["pins"] = dict(PINS)
        out["pins"].update(BUS if kind in I2C else SPI if kind == "st7789" else {})
        out["pins"].update(pins)
    return out


def problems(config) -> list:  # type: ignore[no-untyped-def, type-arg]
    """Return (field, what is wrong with it) of a config, the worst first; nothing if it is good."""
    if not isinstance(config, dict):
        return [("config", "is not a table")]
    c = filled(config)
    found = []
    found += _key(c["key"] if "key" in c else "")
    found += _names(c)
    for name, (low, high) in RANGES.items():
        found += _whole(name, c[name], low, high)
    if not found and 0 < c["watchdog_ms"] < WATCHDOG_LEAST_MS:
        found.append(("watchdog_ms", "0 for none, or at least %d: a start takes that long" % WATCHDOG_LEAST_MS))
    if c["source"] not in ("pot", "pulses"):
        found.append(("source", "pot or pulses, not %r" % (c["source"],)))
    if not isinstance(c["pulse_sensor"], str) or c["pulse_sensor"] not in SENSORS:
        found.append(("pulse_sensor", "one of " + ", ".join(sorted(SENSORS))))
    if not found and c["source"] == "pulses":
        found += _carries(c)
    if not isinstance(c["locked"], bool):
        found.append(("locked", "true or false"))
    found += _calibration(c["calibration"])
    found += _display(c["display"])
    found += _pins(c)
    return found


def _carries(c) -> list:  # type: ignore[no-untyped-def, type-arg]
    """Whether pulses as fast as full_scale says are slow enough to be counted."""
    ms, most = c["pulse_debounce_ms"], c["full_scale"] // c["ticks_per_pulse"] // 3600
    if 2 * ms * c["full_scale"] <= c["ticks_per_pulse"] * 3600 * 1000:
        return []
    return [("pulse_debounce_ms", "%d ms carries %d pulses a second; full_scale is %d" % (ms, 500 // ms, most))]


def _key(key) -> list:  # type: ignore[no-untyped-def, type-arg]
    good = isinstance(key, str) and len(key) == 64 and all(x in "0123456789abcdef" for x in key)
    return [] if good else [("key", "64 hex digits")]


def _names(c) -> list:  # type: ignore[no-untyped-def, type-arg]
    found = []
    board = c["board"]
    if not isinstance(board, str) or not 1 <= len(board) <= 16 or not all(" " < x <= "~" for x in board):
        found.append(("board", "1 to 16 characters of ASCII without spaces"))
    if not isinstance(c["mcu"], str) or c["mcu"] not in MCUS:
        found.append(("mcu", "one of " + ", ".join(sorted(MCUS))))
    for name in c:
        if name not in DEFAULTS and name not in ("key", "pins", "display"):
            found.append((str(name), "is not a field"))
    return found


def _whole(name, value, low, high) -> list:  # type: ignore[no-untyped-def, type-arg]
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        return [(name, "a whole number from %d to %d" % (low, high))]
    return []


def _calibration(points) -> list:  # type: ignore[no-untyped-def, type-arg]
    """[[raw, permille of full scale], ...], rising; an empty list is a straight line."""
    wrong = [("calibration", "two to ten [raw, permille] that rise, up to 65535 and 1000")]
    if points == []:
        return []
    if not isinstance(points, list) or not 2 <= len(points) <= 10:
        return wrong
    last = (-1, -1)
    for p in points:
        if not isinstance(p, list) or len(p) != 2 or _whole("", p[0], 0, 65535) or _whole("", p[1], 0, 1000):
            return wrong
        if p[0] <= last[0] or p[1] < last[1]:
            return wrong
        last = p
    return []


def _display(d) -> list:  # type: ignore[no-untyped-def, type-arg]
    if not isinstance(d, dict):
        return [("display", "a table with a type")]
    kind = d["type"]
    if not isinstance(kind, str) or kind not in DISPLAYS:
        return [("display.type", "one of " + ", ".join(sorted(DISPLAYS)))]
    found = []
    for name in d:
        if name not in DISPLAY:
            found.append(("display.%s" % name, "is not a field"))
    if d["rotation"] not in ROTATIONS.get(kind, (0, 180)):
        found.append(("display.rotation", "one of %s" % ", ".join(str(r) for r in ROTATIONS.get(kind, (0, 180)))))
    found += _whole("display.address", d["address"], 0x08, 0x77)
    found += _whole("display.offset", d["offset"], 0, 80)
    found += _whole("display.contrast", d["contrast"], 0, 255)
    found += _whole("display.hz", d["hz"], 10000, 62500000)
    return found


def _pins(c) -> list:  # type: ignore[no-untyped-def, type-arg]
    pins, mcu = c["pins"], MCUS.get(c["mcu"]) if isinstance(c["mcu"], str) else None
    if not isinstance(pins, dict):
        return [("pins", "a table of names and numbers")]
    if mcu is None or not isinstance(c["display"], dict):
        return []
    found, used = [], {}
    known = dict(PINS)
    known.update(BUS)
    known.update(SPI)
    for name in ("relay_on", "plug_on"):
        if pins[name] not in (0, 1) or isinstance(pins[name], bool):
            found.append(("pins." + name, "0 or 1"))
    for name in sorted(pins):
        if name not in known:
            found.append(("pins.%s" % name, "is not a field"))
        if name in ("relay_on", "plug_on") or name not in known:
            continue
        pin = pins[name]
        if pin == -1 and not isinstance(pin, bool) and name in ("plug", "pulse", "button", "reset", "light"):
            continue
        # A display and its reset need a number: LED is behind the radio's chip.
        kinds = (int,) if name in BUS or name in SPI else (int, str)
        if isinstance(pin, bool) or not isinstance(pin, kinds) or pin not in mcu["pins"]:
            found.append(("pins.%s" % name, "%r is no pin of a %s" % (pin, c["mcu"])))
        elif pin in used:
            found.append(("pins.%s" % name, "%s is used by %s too" % (pin, used[pin])))
        else:
            used[pin] = name
    if not found:
        found += _functions(c, pins, mcu)
    return found


def _functions(c, pins, mcu) -> list:  # type: ignore[no-untyped-def, type-arg]
    """What a pin has to be able to do."""
    found = []
    if pins["pot"] not in mcu["adc"]:
        found.append(("pins.pot", "an ADC pin: one of %s" % ", ".join(str(p) for p in mcu["adc"])))
    if c["source"] == "pulses" and pins["pulse"] == -1:
        found.append(("pins.pulse", "is needed where pulses are the source"))
    kind = c["display"]["type"]
    if mcu["rp2"] and kind in I2C and (pins["sda"] % 2 or pins["scl"] != pins["sda"] + 1):
        found.append(("pins.scl", "the pin after sda, which is an even one"))
    if mcu["rp2"] and kind == "st7789":
        sck, mosi = pins["sck"], pins["mosi"]
        if sck % 4 != 2 or mosi % 4 != 3 or sck // 8 % 2 != mosi // 8 % 2:
            found.append(("pins.sck", "a clock and a mosi pin of one SPI, such as 18 and 19"))
    return found
