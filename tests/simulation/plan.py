"""What is to happen in a simulation, drawn from its seed: the terms, who is hostile, and a list of happenings.

A plan is data: a failing one is made shorter by leaving happenings out, and what remains runs just as before, because
each thing that is left to chance draws from a generator of its own.
"""

import random
from dataclasses import dataclass, field, replace

PLAN_MS = 30_000
"""Everything that goes wrong begins within this time; then the weather is fine, and all has to come to its end."""


@dataclass(frozen=True)
class Happening:
    at: int
    kind: str
    args: dict = field(default_factory=dict)

    def __str__(self):
        return f"{self.at:>6} ms  {self.kind} " + " ".join(f"{k}={v}" for k, v in self.args.items())


@dataclass(frozen=True)
class Plan:
    seed: int
    tariff: dict
    policy: dict
    hostile: str
    sensor: bool
    happenings: tuple
    refund_fee: int = 0
    """What the way of a refund costs (msat)."""
    neighbour: bool = False
    """Whether there is another meter and another buyer, who uses both."""

    def without(self, left_out):
        return replace(self, happenings=tuple(h for h in self.happenings if h not in left_out))

    def chance(self, *what):
        """Return the generator of one thing that is left to chance."""
        return random.Random(f"{self.seed}/{'/'.join(map(str, what))}")


def _tariff(r):
    window = r.choice([1, 1, 2, 4])
    tariff = {
        "price_msat": r.choice([977, 1000, 60_000, 7]),
        "ticks_per_unit": r.choice([10, 3]),
        "window": window,
        "low_water_msat": r.choice([-1, 0]),
        "allowance_ticks": r.choice([0, 0, 15]),
        "grace_s": r.choice([4, 10]),
        "lockout_s": r.choice([0, 5]),
        "invoice_expiry_s": r.choice([10, 60]),
        "remainder_s": r.choice([5, 3600]),
        "rating_ticks_per_s": r.choice([0, 200]),
    }
    tariff["quantum_msat"] = window * tariff["price_msat"] * r.choice([1, 10, 50])
    if r.random() < 0.3:
        tariff |= {"mode": "arrears", "limit_msat": tariff["quantum_msat"] * r.choice([1, 2])}
    if r.random() < 0.15:
        tariff["session_max_msat"] = tariff["quantum_msat"] * 3
    return tariff


def _weather(r):
    kind = r.choice(["messages", "line", "pays", "refunds", "node"])
    lasts = r.choice([500, 3_000, 12_000])
    if kind == "messages":
        return {"on": kind, "lasts": lasts, "lose": r.choice([0, 30, 100]), "double": r.choice([0, 50]), "late": 1500}
    if kind == "line":
        how = r.choice(["lose", "garble", "cut down", "cut up", "cut"])
        return {"on": kind, "lasts": lasts, "how": how}
    if kind in ("pays", "refunds"):
        return {"on": kind, "lasts": lasts, "how": r.choice(["fail", "hang", "late", "parts", "parts"])}
    return {"on": kind, "lasts": lasts, "how": "fail"}


def _onchain(tariff, r):
    """The same terms, settled on-chain: whole sat, and steps over the dust limit."""
    slice_sat = r.choice([1_200, 5_000])
    tariff |= {
        "settlement": "onchain",
        "window": 1,
        "quantum_msat": slice_sat * 1000,
        "low_water_msat": r.choice([0, 500_000]),
    }
    tariff["price_msat"] = tariff["ticks_per_unit"] * r.choice([1, 3, 40]) * 1000 + r.choice([0, 7])
    tariff |= {"hold_msat": slice_sat * 1000 * r.choice([1, 3, 20]), "hold_s": r.choice([6, 3600])}
    tariff["confirmations"] = r.choice([1, 3])
    if tariff.get("mode") == "arrears":
        tariff["limit_msat"] = tariff["quantum_msat"] * r.choice([1, 2])
    if "session_max_msat" in tariff:
        tariff["session_max_msat"] = tariff["quantum_msat"] * 3


def _happening(r, hostile, onchain, neighbour):
    kinds = ["flow"] * 4 + ["plug", "unplug"] + ["weather"] * 4 + ["crash"] * 4 + ["reboot", "disconnect"]
    if onchain:
        kinds += ["weather", "reorganise", "fees"] + ["steal"] * (4 if hostile == "buyer" else 0)
    kinds += ["open", "close", "pause", "resume", "shut", "wallet", "gate", "gate", "retariff"]
    kinds += ["sensor", "journal", "clean", "flood", "third", "away", "open", "clock", "blackout", "stale", "upgrade"]
    kinds += ["older"]
    if not onchain:
        kinds += ["offer", "offer", "back", "back"]
    if neighbour:
        kinds += ["neighbour"] * 12
    if hostile:
        kinds += [hostile] * 8
    kind = r.choice(kinds)
    args = {}
    if kind == "flow":
        args = {"percent": r.choice([0, 3, 20, 100])}
    elif kind == "weather":
        args = _weather(r)
    elif kind == "crash":
        # `left`: how many more steps (commits, actions) the process takes before it is gone, in the middle of things
        args = {
            "who": r.choice(["seller", "buyer", "bridge"]),
            "left": r.randrange(6),
            "down": r.choice([50, 2000, 8000]),
        }
    elif kind == "sensor":
        args = {"down": r.choice([2_000, 20_000]), "reboot": r.random() < 0.3}
    elif kind == "journal":
        args = {"who": r.choice(["seller", "buyer"]), "lasts": r.choice([10, 1_500])}
    elif kind == "clock":
        args = {"who": r.choice(["seller", "buyer"]), "by": r.choice([-60_000, -5_000, 5_000, 60_000])}
    elif kind == "blackout":
        args = {"down": r.choice([50, 8_000]), "keep": r.random() < 0.8}
    elif kind == "upgrade":
        args = {"who": r.choice(["seller", "buyer"])}
    elif kind == "older":
        args = {"keep": r.choice([30, 70, 95])}
    elif kind == "fees":
        args = {"times": r.choice([2, 4, 10]), "lasts": r.choice([3_000, 30_000])}
    elif kind == "flood":
        args = {"many": r.choice([1, 30])}
    elif kind in ("third", "away", "steal", "stale"):
        args = {"dice": r.randrange(10**6)}
    elif kind == "reboot":
        args = {"keep": r.random() < 0.5}
    elif kind == "offer":
        args = {"share": r.choice([10, 50, 100, 150])}
    elif kind == "back":
        args = {"whole": r.random() < 0.5}
    elif kind == "wallet":
        args = {"share": r.choice([10, 50, 100])}
    elif kind == "gate":
        args = {
            "step": r.choice(["reserve", "reserve", "settle", "release"]),
            "share": r.choice([10, 60]),
            "id": r.randrange(2),
        }
    elif kind == "neighbour":
        args = {"what": r.choice(["open", "open", "close", "flow", "shut", "crash"]), "meter": r.choice("mmn")}
    elif kind in ("seller", "buyer"):
        args = {"trick": r.randrange(10), "dice": r.randrange(10**6)}
    return kind, args


def make(seed):
    r = random.Random(seed)
    tariff = _tariff(r)
    onchain = r.random() < 0.35
    if onchain:
        _onchain(tariff, r)
    hostile = r.choice(["", "", "", "seller", "buyer"])
    budget = tariff["quantum_msat"] * r.choice([3, 1000])
    fee = r.choice([0, tariff["quantum_msat"] // 50])
    policy = {"max_price_msat": tariff["price_msat"], "budget_msat": budget + 2 * fee, "max_fee_msat": fee}
    policy["unit"] = "unit"
    if onchain:
        policy["budget_msat"] += 3_000_000  # the fees of some transactions
    policy["max_spend_msat"] = tariff["quantum_msat"] * 1000  # gates of our own making are agreed to
    begin = [Happening(0, "plug"), Happening(300, "open"), Happening(600, "flow", {"percent": r.choice([20, 100])})]
    neighbour = r.random() < 0.3
    if neighbour:
        begin += [
            Happening(400 * n, "neighbour", {"what": what, "meter": "n"}) for n, what in enumerate(("flow", "open"))
        ]
    many = r.choice([3, 8, 20])
    drawn = [Happening(r.randrange(PLAN_MS), *_happening(r, hostile, onchain, neighbour)) for _ in range(many)]
    happenings = (*begin, *sorted(drawn, key=lambda h: h.at))
    sensor = r.random() < 0.3 and not neighbour  # which would measure the neighbour's use, too
    return Plan(seed, tariff, policy, hostile, sensor, happenings, r.choice([0, 0, 1, 700, 1_700]), neighbour)
