"""What the displays of an emulated RP2040 show, pixel by pixel."""

import numpy as np
import pytest

from lanes import lane
from pico import CONFIG, Host, flashed
from satmeter.qr.make import fitted
from waiting import until

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(autouse=True)
def _lane():
    lane("RP2040 (emulated)")


def dark_on_light(rows):
    """A picture of a display as a camera has it: pixels eight times as large, a border of the display's dark."""

    pixels = np.array([[255 if c == "1" else 0 for c in row] for row in rows], dtype=np.uint8)
    return np.kron(np.pad(pixels, 4), np.ones((8, 8), dtype=np.uint8))


INVOICE = "LNBCRT10N1P4SQAFRSP5VNPH35LAA9MGU9KLEGMNEQXR5K4N4FKQ2M3L3944M3KTRWMGJ28ZQPP5Q67M2ZVGPLAUPA5J4UNFDYAK5J4CFYKR"
INVOICE += (
    "44G5930LRF5DT5LAEX0SDQZWQXQYJW5QCQP99QXPQYSGQLPW76H8EM3SE3CC58MX995PVFX7TQYVNUSCYCP3VZGC6RMC8YFNPWJ67NQG35620"
)
INVOICE += "235J5JKUXH234T5RMF3W0M6WLE0K5N7QCK57H9GQCWJKXM"


@pytest.mark.parametrize("kind", ["ssd1306", "sh1107", "st7789"])
def test_the_code_of_an_invoice_is_read_from_the_displays_pixels(image_path, kind):
    import zxingcpp

    lane("zbar")
    from pyzbar import pyzbar

    size = {"ssd1306": (128, 64), "sh1106": (128, 64), "sh1107": (128, 128), "st7789": (240, 240)}[kind]
    turned = 180 if kind == "ssd1306" else 0  # a module that hangs upside down
    with flashed(image_path, display={"type": kind, "rotation": turned}) as pico, Host(pico) as host:
        assert host.hello["display"] == f"{size[0]}x{size[1]}"
        host.show(fitted(INVOICE, *size))
        host.send("lamp", lamp="slow")

        def read():
            picture = dark_on_light(pico.picture("st7789" if kind == "st7789" else "oled"))
            found = zxingcpp.read_barcodes(picture)
            if [r.text for r in found] != [INVOICE]:
                return False
            begins = found[0].position.top_left.x < picture.shape[1] // 2  # where the code has its beginning
            return begins == (turned == 0) and [r.data.decode() for r in pyzbar.decode(picture)] == [INVOICE]

        until(read)


def test_a_display_that_does_not_answer_is_said_and_the_board_meters_on(image_path):
    with flashed(image_path, display={"type": "ssd1306"}) as pico, Host(pico) as host:
        host.grant(10**6)
        pico.turn(50)
        pico.ask("missing", value=True)
        assert host.reading(lambda r: r["fault"])["fault"] == "display"
        register = host.reading()["register"]
        assert host.reading(lambda r: r["register"] > register)
        pico.ask("missing", value=False)
        host.reading(lambda r: not r["fault"])


def test_a_relay_on_a_pin_that_the_displays_bus_would_take_switches(image_path):
    """SPI takes its default MISO, GP16, where none is named."""
    with (
        flashed(image_path, display={"type": "st7789"}, pins={**CONFIG["pins"], "relay": 16}) as pico,
        Host(pico) as host,
    ):
        pico.turn(50)
        assert not pico.pin(16)
        host.grant(10**6)
        until(lambda: pico.pin(16))
        host.grant(0)
        until(lambda: not pico.pin(16))
