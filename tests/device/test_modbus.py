"""Modbus meters against the simulator that comes with pymodbus, over TCP."""

import asyncio

import pytest

from satmeter.core.errors import BadParam
from satmeter.device.boundary import DeviceTrouble
from satmeter.device.fields import Fields
from satmeter.device.modbus import Modbus, registers
from satmeter.devnet.devices.modbus import simulated, words


def meter(port, **more):
    return Modbus(Fields("source", {"registers": "sdm120", "host": "127.0.0.1", "port": port, **more}))


def test_an_sdm120_counts_in_wh():
    async def act():
        async with simulated({12: words(230.5), 342: words(1.5)}) as port:
            made = meter(port)
            count = await made.read()
            await made.close()
        assert (float(count.value), float(count.power)) == (1_500.0, 230.5)

    asyncio.run(act())


def test_a_pzem_has_its_lower_word_first():
    async def act():
        async with simulated({3: [2305, 0], 5: [0x0001, 0x0002]}) as port:
            made = meter(port, registers="pzem004t")
            count = await made.read()
            await made.close()
        assert (int(count.value), float(count.power)) == (0x0002_0001, 230.5)

    asyncio.run(act())


@pytest.mark.parametrize(
    ("values", "more", "why"),
    [
        ({12: words(1.0), 342: [0x7FC0, 0]}, {}, "holds no number"),
        ({12: words(1.0)}, {}, "no register 342|does not answer"),
        ({12: words(1.0), 342: words(1.0)}, {"unit": 7}, "unit 7"),
    ],
)
def test_another_meter_or_unit_is_said(values, more, why):
    async def act():
        async with simulated(values) as port:
            with pytest.raises(DeviceTrouble, match=why):
                await meter(port, **more).read()

    asyncio.run(act())


def test_a_port_where_nobody_answers_is_said():
    async def act():
        with pytest.raises(DeviceTrouble, match="can't be reached"):
            await meter(1).read()

    asyncio.run(act())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "energy: is missing"),
        ("[energy]\naddress = 70000\ntype = 'uint16'", "from 0 to 65535"),
        ("[energy]\naddress = 1\ntype = 'float16'", "must be one of"),
        ("[energy]\naddress = 1\ntype = 'uint16'\n[volts]\naddress = 2", "volts: is no field"),
        ("not toml", "own.toml: "),
    ],
)
def test_a_map_names_what_is_wrong(tmp_path, text, why):
    (tmp_path / "own.toml").write_text(text)
    with pytest.raises(BadParam, match=why):
        registers(str(tmp_path / "own.toml"))


def test_an_unknown_map_names_those_that_there_are():
    with pytest.raises(BadParam, match="pzem004t, sdm120, sdm230"):
        registers("sdm999")


def test_meters_at_one_serial_line_ask_in_turn():
    async def act():
        def at(unit, baud=9_600):
            return Modbus(
                Fields("source", {"registers": "sdm120", "serial": "/dev/ttyUSB9", "unit": unit, "baud": baud})
            )

        first, second = at(1), at(2)
        assert first._turn is second._turn and first._client is second._client
        with pytest.raises(BadParam, match="another meter at /dev/ttyUSB9 has 9600"):
            at(3, 19_200)

    asyncio.run(act())


def test_a_unit_that_does_not_answer_leaves_the_line_to_the_others(monkeypatch):
    async def act():
        dead = Modbus(Fields("source", {"registers": "sdm120", "serial": "/dev/null", "unit": 2}))
        asked = []

        async def none(register):
            asked.append(register)
            raise DeviceTrouble("unit 2 does not answer")

        monkeypatch.setattr(dead, "_value", none)
        for _ in range(50):
            with pytest.raises(DeviceTrouble, match="unit 2 does not answer"):
                await dead.read()
        assert len(asked) == 1
        dead._again_at = 0.0
        with pytest.raises(DeviceTrouble):
            await dead.read()
        assert len(asked) == 2 and dead._again_at > 0

    asyncio.run(act())


def test_a_unit_that_is_off_for_a_day_is_asked_as_seldom_as_ever(monkeypatch):
    async def act():
        dead = Modbus(Fields("source", {"registers": "sdm120", "serial": "/dev/null", "unit": 3}))

        async def none(register):
            raise DeviceTrouble("unit 3 does not answer")

        monkeypatch.setattr(dead, "_value", none)
        for _ in range(2_000):
            dead._again_at = 0.0
            with pytest.raises(DeviceTrouble):
                await dead.read()

    asyncio.run(act())


class Answer:
    """What a unit answers, as pymodbus has it."""

    def __init__(self, registers=(), exception_code=0):
        self.registers, self.exception_code = list(registers), exception_code

    def isError(self):
        return bool(self.exception_code)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Answer(exception_code=1), "does not know this function"),
        (Answer(exception_code=2), "has no register 342: another meter"),
        (Answer(exception_code=4), r"refuses register 342 \(exception 4\)"),
        (Answer(exception_code=6), "is busy"),
        (Answer(exception_code=10), "can't be reached by its gateway"),
        (Answer(exception_code=11), "does not answer its gateway"),
        (Answer([1]), "answers 1 registers where 2 were asked for"),
        (Answer([]), "answers 0 registers"),
        (Answer([1, 2, 3]), "answers 3 registers"),
    ],
)
def test_what_a_unit_refuses_is_said_as_it_says_it(answer, why, monkeypatch):
    async def act():
        async with simulated({12: words(1.0), 342: words(1.0)}) as port:
            made = meter(port)

            async def read(*given, **more):
                return answer

            monkeypatch.setattr(made._client, "read_input_registers", read)
            with pytest.raises(DeviceTrouble, match=why):
                await made.read()
            await made.close()

    asyncio.run(act())
