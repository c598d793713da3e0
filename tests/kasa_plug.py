"""A Kasa plug with energy monitoring, as its protocol over TCP shows it: JSON under the cipher that it has."""

import asyncio
import json
from contextlib import asynccontextmanager

from kasa.transports.basetransport import BaseTransport


def disguised(text, key=171):
    made = bytearray()
    for each in text.encode():
        key ^= each
        made.append(key)
    return bytes(made)


def plain(payload, key=171):
    made = bytearray()
    for each in payload:
        made.append(key ^ each)
        key = each
    return made.decode()


class KasaPlug:
    """`energy` in Wh is its count, which it tells in whole ones; `on`, whether it is switched on."""

    def __init__(self, metered=True, stubborn=False, v1=False):
        self.energy, self.power, self.on, self.metered, self.stubborn, self.v1 = (
            1_000,
            0.0,
            False,
            metered,
            stubborn,
            v1,
        )

    def _system(self):
        info = {"alias": "plug", "deviceId": "8006", "model": "HS110(EU)", "mac": "50:C7:BF:00:00:01", "err_code": 0}
        more = {"sw_ver": "1.2.5", "hw_ver": "4.0", "type": "IOT.SMARTPLUGSWITCH", "dev_name": "Smart Plug"}
        feature = "TIM:ENE" if self.metered else "TIM"
        return {**info, **more, "feature": feature, "relay_state": int(self.on), "rssi": -50, "on_time": 0}

    def answer(self, asked):
        said = {}
        for part, commands in asked.items():
            said[part] = {}
            for command, values in commands.items():
                said[part][command] = {"err_code": 0, **self._one(part, command, values or {})}
        return said

    def _one(self, part, command, values):
        if (part, command) == ("system", "get_sysinfo"):
            return self._system()
        if (part, command) == ("system", "set_relay_state"):
            self.on = self.on if self.stubborn else bool(values["state"])
            return {}
        if (part, command) == ("emeter", "get_realtime"):
            if self.v1:
                return {"total": self.energy / 1000, "power": self.power, "voltage": 230.0, "current": 0.0}
            return {
                "total_wh": int(self.energy),
                "power_mw": int(self.power * 1000),
                "voltage_mv": 230_000,
                "current_ma": 0,
            }
        if (part, command) == ("time", "get_timezone"):
            return {"index": 38}
        if (part, command) == ("time", "get_time"):
            return {"year": 2026, "month": 1, "mday": 31, "hour": 12, "min": 0, "sec": 0}
        lists = {"get_daystat": "day_list", "get_monthstat": "month_list", "get_rules": "rule_list"}
        if command in lists:
            return {lists[command]: []}
        return {"err_code": -1, "err_msg": "module not support"}

    @asynccontextmanager
    async def served(self):
        async def serve(reader, writer):
            try:
                while True:
                    size = int.from_bytes(await reader.readexactly(4), "big")
                    answer = disguised(json.dumps(self.answer(json.loads(plain(await reader.readexactly(size))))))
                    writer.write(len(answer).to_bytes(4, "big") + answer)
                    await writer.drain()
            except (asyncio.IncompleteReadError, ConnectionError):
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        try:
            yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()


class TapoPlug(BaseTransport):
    """What a Tapo P110 answers, in the place of its encrypted connection."""

    def __init__(self, config):
        super().__init__(config=config)
        self.today, self.on, self.day = 1_000, False, "2026-01-31"

    @property
    def default_port(self):
        return 80

    @property
    def credentials_hash(self):
        return "hash"

    async def close(self):
        pass

    async def reset(self):
        pass

    async def send(self, request):
        asked = json.loads(request)
        if asked["method"] == "multipleRequest":
            rows = [{"method": each["method"], **self._one(each)} for each in asked["params"]["requests"]]
            return {"error_code": 0, "result": {"responses": rows}}
        return self._one(asked)

    def _one(self, asked):
        found = self._found(asked["method"], asked.get("params") or {})
        return {"error_code": -1008} if found is None else {"error_code": 0, "result": found}

    def _found(self, method, params):
        if method == "component_nego":
            parts = {"device": 2, "time": 1, "energy_monitoring": 1}
            return {"component_list": [{"id": name, "ver_code": number} for name, number in parts.items()]}
        if method == "get_device_info":
            info = {"device_id": "0" * 40, "device_on": self.on, "model": "P110", "type": "SMART.TAPOPLUG"}
            more = {"mac": "34-60-F9-00-00-01", "nickname": "cGx1Zw==", "ssid": "", "fw_ver": "1.3.1", "hw_ver": "1.0"}
            return {
                **info,
                **more,
                "region": "Europe/Lisbon",
                "time_diff": 0,
                "specs": "",
                "rssi": -50,
                "signal_level": 2,
            }
        if method == "set_device_info":
            self.on = params["device_on"]
            return {}
        if method == "get_device_time":
            return {"region": "Europe/Lisbon", "time_diff": 0, "timestamp": 1_769_900_000}
        if method == "get_energy_usage":
            when = f"{self.day} 12:00:00"
            return {"current_power": 60_000, "local_time": when, "today_energy": self.today, "month_energy": self.today}
        return None
