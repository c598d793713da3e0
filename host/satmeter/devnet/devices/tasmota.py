"""A plug that runs Tasmota, as far as it is asked."""

import json
import time
from collections.abc import Callable

import aiomqtt

from ...core.plain import JsonObject


class TasmotaPlug:
    """Answers what the kind asks, as Tasmota 14 does; goes off by itself after its PulseTime.

    `energy` in Wh. `client` makes a connection to its broker."""

    def __init__(
        self, client: Callable[[], aiomqtt.Client], topic: str, metered: bool = True, stubborn: bool = False
    ) -> None:
        self._client, self.topic, self.metered, self.stubborn = client, topic, metered, stubborn
        self.energy, self.power, self.pulse, self.power_on_state, self.off_at = 1_000.0, 0.0, 0, 3, 0.0
        self.silent, self.takes_pulse = False, True

    @property
    def on(self) -> bool:
        """Whether it is switched on, by its own timer."""
        return time.monotonic() < self.off_at

    async def run(self) -> None:
        """Runs until it is cancelled."""
        async with self._client() as client:
            await client.subscribe(f"cmnd/{self.topic}/#")
            async for message in client.messages:
                payload = message.payload.decode() if isinstance(message.payload, bytes) else ""
                answer = self._answer(str(message.topic).rpartition("/")[2].lower(), payload)
                if answer is not None and not self.silent:
                    name, said = answer
                    await client.publish(f"stat/{self.topic}/{name}", json.dumps(said))

    def _answer(self, command: str, payload: str) -> tuple[str, JsonObject] | None:
        if command == "status" and payload == "10":
            energy = {"Total": round(self.energy / 1000, 3), "Power": self.power, "Voltage": 231}
            found = {"Time": "2026-01-01T00:00:00", **({"ENERGY": energy} if self.metered else {})}
            return "STATUS10", {"StatusSNS": found}
        if command == "power1":
            lasts = self.pulse - 100 if self.pulse > 111 else self.pulse / 10 if self.pulse else 10**6
            if not self.stubborn:
                self.off_at = time.monotonic() + lasts if payload == "ON" else 0.0
            return "RESULT", {"POWER": "ON" if self.on else "OFF"}
        if command == "pulsetime1":
            self.pulse = int(payload) if self.takes_pulse else 0
            return "RESULT", {"PulseTime1": {"Set": self.pulse, "Remaining": self.pulse}}
        if command == "poweronstate":
            self.power_on_state = int(payload)
            return "RESULT", {"PowerOnState": self.power_on_state}
        return None
