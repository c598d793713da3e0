#!/usr/bin/env python3
"""Checks a receipt of satmeter, with Python alone: no node, no seller, and no package of ours has to be trusted.

    python3 check_receipt.py RECEIPT.json [EVENTS.json ...]

RECEIPT.json is {"receipt": TEXT, "signature": ZBASE}, or an answer that has such rows (meter-sessions, stream-receipts,
a webhook's body); EVENTS.json is what meter-history SESSION answers, in pages. Each line says yes, NO or ? (this can't
show it). Exit code 1: something that the receipt states is not so; 2: there is no receipt in it.

What a receipt proves is in docs/metering.md. The signature is that of lightningd's signmessage: ECDSA on secp256k1 over
SHA-256 twice of a prefix and the text, one byte (31 and the recovery id) and 64 of signature, written in zbase32.
"""

import hashlib
import json
import os
import sys

P = 2**256 - 2**32 - 977
N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
G = (
    0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
    0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
)
LETTERS = "ybndrfg8ejkmcpqxot1uwisza345h769"
WHOLE = (
    *("paid_msat", "charged_msat", "refunded_msat", "lapsed_msat", "owed_msat", "debt_msat", "spent_msat"),
    *("revision", "ticks", "payments", "carried_in_msat", "opened_at", "closed_at"),
)
MAY_BE, MOST, MOST_MSAT = ("refund_fee_msat", "carried_on_msat"), 2**53, 21 * 10**17
TEXTS = ("session", "seller", "buyer", "meter", "reason", "head")
PREFIX = b"Lightning Signed Message:"


def add(a, b):
    """Adds two points of the curve; None is the point at infinity."""
    if a is None or b is None:
        return b if a is None else a
    if a[0] == b[0]:
        if (a[1] + b[1]) % P == 0:
            return None
        slope = 3 * a[0] * a[0] * pow(2 * a[1], -1, P)
    else:
        slope = (b[1] - a[1]) * pow(b[0] - a[0], -1, P)
    x = (slope * slope - a[0] - b[0]) % P
    return x, (slope * (a[0] - x) - a[1]) % P


def times(number, point):
    """Multiplies a point of the curve."""
    found = None
    while number:
        if number & 1:
            found = add(found, point)
        point, number = add(point, point), number >> 1
    return found


def signer(text, zbase):
    """Returns the id (hex) of the node that signed a text, "" where it is no signature."""
    if len(zbase) != 104 or not set(LETTERS) >= set(zbase):
        return ""
    number = 0
    for letter in zbase:
        number = number << 5 | LETTERS.index(letter)
    raw = number.to_bytes(65, "big")
    recovery, r, s = raw[0] - 31, int.from_bytes(raw[1:33], "big"), int.from_bytes(raw[33:], "big")
    x = r + N * (recovery >> 1)
    if not 0 <= recovery <= 3 or not 0 < r < N or not 0 < s < N or x >= P:
        return ""
    y = pow(x**3 + 7, (P + 1) // 4, P)
    if (y * y - x**3 - 7) % P:
        return ""
    point = x, y if y % 2 == recovery & 1 else P - y
    # lightningd signs the text as it stands between the quotes of a JSON request.
    said = PREFIX + json.dumps(text, ensure_ascii=False)[1:-1].encode()
    digest = int.from_bytes(hashlib.sha256(hashlib.sha256(said).digest()).digest(), "big")
    inverse = pow(r, -1, N)
    key = add(times(s * inverse % N, point), times(-digest * inverse % N, G))
    return "" if key is None else f"{2 + key[1] % 2:02x}{key[0]:064x}"


def fields(stated):
    """Yields the name of each field that a receipt has to have, and whether it is good."""
    yield "format", stated.get("format") == "satmeter-receipt-1"
    for name in (*WHOLE, *(each for each in MAY_BE if each in stated)):
        most = MOST_MSAT if name.endswith("_msat") else MOST
        yield name, type(stated.get(name)) is int and 0 <= stated[name] <= most
    for name in TEXTS:
        yield name, type(stated.get(name)) is str and stated[name].isprintable() and len(stated[name]) <= 500
    for name, value in stated["tariff"].items():
        yield f"tariff.{name}", type(value) is str or (type(value) is int and 0 <= value <= MOST_MSAT)
    for name in ("price_msat", "ticks_per_unit", "quantum_msat"):
        yield f"tariff.{name}", type(stated["tariff"].get(name)) is int and stated["tariff"][name] > 0
    yield "onchain or payers", type(stated.get("onchain", {})) is dict and type(stated.get("payers", [])) is list


def once(pairs):
    """Returns a JSON object whose names all differ: of two equal ones readers may take either."""
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a field stands there twice")
    return dict(pairs)


def proofs(text, zbase, events):
    """Yields (True, False or None, sentence) for each thing that a receipt states."""
    stated = json.loads(text, object_pairs_hook=once)
    wrong = [name for name, good in fields(stated) if not good]
    if wrong:
        yield False, f"it is no receipt of satmeter: {', '.join(wrong)}"
        return
    who = signer(text, zbase)
    yield who == stated["seller"], f"{stated['seller']} is its seller, and {who or 'nobody'} signed it as it stands"
    paid, charged, debt = stated["paid_msat"], stated["charged_msat"], stated["debt_msat"]
    back, lapsed, owed = stated["refunded_msat"], stated["lapsed_msat"], stated["owed_msat"]
    words = f"{paid} paid + {debt} to be paid = {charged} charged + {back} given back + {lapsed} lapsed + {owed} owed"
    yield paid + debt == charged + back + lapsed + owed, words
    tariff, spent = stated["tariff"], stated["spent_msat"]
    cost = stated["ticks"] * tariff["price_msat"] // tariff["ticks_per_unit"]  # rounded down
    words = f"{stated['ticks']} ticks cost {cost} msat, and {charged - spent} were charged for them"
    yield 0 <= charged - spent <= cost, words
    boots, registers = zip(*((each.get("boot"), each.get("register")) for each in (stated["start"], stated["stop"])))
    if boots[0] and boots[0] == boots[1] and all(type(each) is int for each in registers):
        counted = registers[1] - registers[0]
        yield counted == stated["ticks"] or None, f"the board counted {counted} ticks from start to stop"
    else:
        yield None, "the board began anew meanwhile: its registers alone do not show the count"
    if events is None:
        yield None, "the events behind it were not given"
        return
    head, found = "00" * 32, 0
    for number, event in enumerate(events, 1):
        head = hashlib.sha256(f"{head}\n{event['kind']}\n{event['at']}\n{event['data']}".encode()).hexdigest()
        found = number if head == stated["head"] else found
    more = ": whole pages of meter-history; are there more?" if events and len(events) % 1000 == 0 else ""
    yield bool(found) or (None if more else False), f"{found} of {len(events)} events make the chain it ends with{more}"


def receipts(given):
    """Yields each receipt with its signature, from whatever holds them."""
    if isinstance(given, dict):
        if isinstance(given.get("receipt"), str):
            if given["receipt"]:
                yield given["receipt"], str(given.get("signature", ""))
            return
        given = list(given.values())
    for each in given if isinstance(given, list) else ():
        yield from receipts(each)


def read(path):
    """Returns the text of a file, or of standard input for -."""
    if path == "-":
        return sys.stdin.read()
    with open(path, encoding="utf-8-sig") as file:  # an editor may have put a mark in front
        return file.read()


def main(paths):
    """Prints what the receipts of a file prove; returns the exit code."""
    if not paths:
        print(__doc__)
        return 2
    try:
        given = [json.loads(read(path)) for path in paths]
    except (OSError, ValueError, RecursionError) as e:
        print("it can't be read:", e)
        return 2
    events = None
    for page in given[1:]:
        rows = page.get("events") if isinstance(page, dict) else page
        if not isinstance(rows, list) or not all(
            isinstance(e, dict) and {"kind", "at", "data"} <= e.keys() for e in rows
        ):
            print("EVENTS can't be read: it must be an answer of meter-history")
            return 2
        events = (events or []) + rows
    found = list(receipts(given[0]))
    if not found:
        print("there is no receipt with its signature")
        return 2
    good = True
    for text, zbase in found:
        print(f"receipt {found.index((text, zbase)) + 1} of {len(found)}:") if len(found) > 1 else None
        try:
            for holds, words in proofs(text, zbase, events):
                print({True: "yes", False: "NO ", None: "?  "}[holds], words)
                good &= holds is not False
        except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as e:
            print("NO  it is no receipt:", repr(e))
            good = False
    return 0 if good else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except BrokenPipeError:  # who read it has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(1)
