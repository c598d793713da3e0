"""Where pictures come from: a camera, a film, a picture's file."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ..core.errors import BadParam, NoCamera
from .read import Picture, load

FILMS = (".mp4", ".mkv", ".mov", ".avi", ".webm", ".m4v", ".mjpeg")
DEAD_S = 5
"""A camera that gives no frame for so long is gone."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture and its name. `moving`: another one of the same follows."""

    name: str
    picture: Picture
    moving: bool = False


def frames(source: str) -> Iterator[Frame]:
    """Yields the pictures of a source: a camera (its number or device), a film, or a picture's file.

    Raises NoCamera where the camera is not there or stops, BadParam for a source that is none of these."""
    path = Path(source).expanduser()
    if source.isdecimal():
        yield from _camera(int(source), f"camera {source}")
    elif path.is_char_device():
        yield from _camera(str(path), str(path))
    elif path.suffix.lower() in FILMS and path.is_file():
        yield from _film(path)
    elif path.is_file():
        yield Frame(path.name, load(path.read_bytes(), path.name))
    elif str(path).startswith("/dev/"):
        raise NoCamera(f"no camera at {source}: plug it in, or look with `v4l2-ctl --list-devices` what it is called")
    else:
        raise BadParam(f"source: {source} is neither a camera (0, /dev/video0), a picture nor a film")


def _film(path: Path) -> Iterator[Frame]:
    film = cv2.VideoCapture(str(path))
    try:
        n = 0
        while True:
            good, picture = film.read()
            if not good:
                break
            n += 1
            yield Frame(f"{path.name}, frame {n}", _grey(picture), moving=True)
        if not n:
            raise BadParam(f"{path.name}: is no film that can be read", param="source")
    finally:
        film.release()


def _camera(which: int | str, name: str) -> Iterator[Frame]:
    cv2.utils.logging.setLogLevel(0)  # it would fill the terminal with its own view of a camera that is not there
    camera = cv2.VideoCapture(which)
    try:
        if not camera.isOpened():
            raise NoCamera(f"no camera: {name} can't be opened; is it plugged in, free, and may this user read it?")
        heard = time.monotonic()
        while True:
            good, picture = camera.read()
            if good:
                heard = time.monotonic()
                yield Frame(name, _grey(picture), moving=True)
            elif time.monotonic() > heard + DEAD_S:
                raise NoCamera(f"{name} gives no picture any more")
            else:
                time.sleep(0.05)
    finally:
        camera.release()


def _grey(picture: Picture) -> Picture:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) if picture.ndim == 3 else picture)
