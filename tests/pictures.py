"""Pictures of codes as files, for tests that scan them."""

import time

import cv2
import numpy as np

from satmeter.devnet.emulated.invoices import sign
from satmeter.qr import draw
from satmeter.qr.make import make

KEY = "4f" * 32


def invoice(amount=20_000, now=None, description="m"):
    """A regtest invoice of nobody's node."""
    return sign(KEY, amount, "ab" * 32, "cd" * 32, description, 600, int(now or time.time()))


def saved(directory, *texts):
    """Write a picture with the codes of some texts, one above the other; returns its path."""
    rows = [cv2.imdecode(np.frombuffer(draw.png(make(t), 4), np.uint8), cv2.IMREAD_GRAYSCALE) for t in texts]
    width = max(r.shape[1] for r in rows)
    path = directory / f"{len(list(directory.iterdir()))}.png"
    padded = [np.pad(r, ((9, 9), (9, 9 + width - r.shape[1])), constant_values=255) for r in rows]
    cv2.imwrite(str(path), np.vstack(padded))
    return str(path)
