"""Figures of reading codes: the chain against each decoder alone, on the pictures of the simulated camera."""

import os
import random
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

import cv2
import zxingcpp
from ground import Figure, interleaved
from pyzbar import pyzbar

import camera
from satmeter.qr.meaning import plausible
from satmeter.qr.read import read

PICTURES, SEED, PARTS = 2400, 77_000, 16
FULL_HD = (1920, 1080)


def _zxing(picture):
    return [b.text for b in zxingcpp.read_barcodes(picture)]


def _pyzbar(picture):
    return [d.data.decode("utf-8", "replace") for d in pyzbar.decode(picture, symbols=[pyzbar.ZBarSymbol.QRCODE])]


def _opencv(detector):
    def decode(picture):
        try:
            return [detector().detectAndDecode(picture)[0]]
        except cv2.error:
            return []

    return decode


PLAIN = {
    "zxing-cpp": _zxing,
    "pyzbar": _pyzbar,
    "OpenCV": _opencv(cv2.QRCodeDetector),
    "OpenCV's Aruco": _opencv(cv2.QRCodeDetectorAruco),
}


def _chain(picture):
    return [f.text for f in read(picture, plausible)]


def _part(seed):
    found = Counter()
    for kind, text, picture in camera.corpus(PICTURES // PARTS, seed):
        found[kind] += 1
        for name, decode in {"chain": _chain, **PLAIN}.items():
            texts = [t for t in decode(picture) if t]
            found[name, kind] += text in texts
            if name == "chain":
                found["wrong"] += bool(texts) and texts != [text]
    return found


def codes():
    """All figures of reading."""
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        found = sum(pool.map(_part, range(SEED, SEED + PARTS)), Counter())

    def share(name, *kinds):
        return sum(found[name, k] for k in kinds) / sum(found[k] for k in kinds)

    both = ("mild", "hard")
    shares = {name: share(name, *both) for name in PLAIN}
    best = max(shares, key=lambda name: shares[name])
    if not 0.4 <= shares[best] <= 0.8:
        raise SystemExit(f"the pictures are not fair: {best} alone reads {shares[best]:.1%} of them")
    each = ", ".join(f"{name} {100 * share(name, 'mild'):.0f}/{100 * share(name, 'hard'):.0f}" for name in PLAIN)
    note = f"of {PICTURES} pictures; alone, % of mild/hard: {each}"
    yield Figure("codes read, against the best alone", share("chain", *both) / shares[best], 1.3, least=True, note=note)
    yield Figure("codes read, % of the mild half", 100 * share("chain", "mild"), 99, least=True)
    yield Figure("codes read, % of the hard half", 100 * share("chain", "hard"), 80, least=True)
    yield Figure("wrong texts", found["wrong"], 0)
    yield full_hd()


def full_hd():
    """A frame of a good camera, time to text, against pyzbar alone."""
    rng = random.Random(SEED)
    what = camera.shows()
    frames = [camera.picture(p, s, camera.mild(rng), FULL_HD) for _, p, s in rng.sample(what, 8)]

    def took(reader):
        def run():
            began = time.perf_counter()
            for frame in frames:
                reader(frame)
            return (time.perf_counter() - began) / len(frames) * 1000

        return run

    ours, theirs, ratio = interleaved(took(_chain), took(_pyzbar), 7)
    return Figure("1080p frame to text, against pyzbar", ratio, 0.5, note=f"{ours:.0f} ms against {theirs:.0f}")
