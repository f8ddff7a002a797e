"""Objects cut out of their pictures and centered on white, as models of objects expect them.

The outline is the picture's own transparency. An opaque picture goes through the package rembg if it is installed, else
through OpenCV's grabCut (Rother et al. 2004).
"""

import importlib
import importlib.util
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from img2vid.errors import BadInput

MODEL = "u2netp"
"""Network of rembg, 4.6 MB; rembg downloads it to U2NET_HOME, by default ~/.u2net, when it is first used."""
FAINT = 8
"""Opacity of 255 below which a pixel is not part of the object."""
SIDE, MARGIN, ITERATIONS = 320, 0.03, 3
"""Pixels of the longer side for grabCut, share of each side that it takes as background, and its iterations."""
Mask = NDArray[np.uint8]


def outline_source(image: Image.Image) -> str:
    """Return what gives the outline of an image of `load_picture`: "transparency", "rembg" or "grabCut"."""
    if "alpha" in image.info:
        return "transparency"
    return "rembg" if importlib.util.find_spec("rembg") else "grabCut"


def center_object(image: Image.Image, width: int, height: int, share: float) -> Image.Image:
    """Return a white frame with the object of an image of `load_picture` in its center.

    The object's longer side takes `share` of the frame's shorter side. Raise BadInput if no object is found.
    """
    source = outline_source(image)
    find = {"transparency": _own_alpha, "rembg": _by_rembg, "grabCut": _by_grabcut}[source]
    opacity = find(image)
    rows, columns = (np.flatnonzero((opacity >= FAINT).any(axis)) for axis in (1, 0))
    if not len(rows):
        raise BadInput(
            f"no object was found in the picture by {source}; choose another fitting, or give a picture with a "
            "transparent background"
        )
    box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    white = Image.new("RGB", image.size, "white")
    cut = Image.composite(image, white, Image.fromarray(opacity)).crop(box)
    scale = share * min(width, height) / max(cut.size)
    size = (min(max(round(side * scale), 1), most) for side, most in zip(cut.size, (width, height), strict=True))
    cut = cut.resize((next(size), next(size)), Image.Resampling.LANCZOS)
    frame = Image.new("RGB", (width, height), "white")
    frame.paste(cut, ((width - cut.width) // 2, (height - cut.height) // 2))
    return frame


def _own_alpha(image: Image.Image) -> Mask:
    return np.asarray(image.info["alpha"])


def _by_rembg(image: Image.Image) -> Mask:
    try:
        rembg: Any = importlib.import_module("rembg")
        mask: Image.Image = rembg.remove(image, session=_session(), only_mask=True)
    except Exception as error:  # a download or one of its many packages may fail
        text = " ".join(str(error).split())[:200]
        raise BadInput(
            f"rembg cannot find the object ({type(error).__name__}: {text}); repair it, or uninstall it to use grabCut"
        ) from error
    return np.asarray(mask.convert("L"))


@lru_cache(maxsize=1)
def _session() -> Any:
    rembg: Any = importlib.import_module("rembg")
    return rembg.new_session(MODEL)


def _by_grabcut(image: Image.Image) -> Mask:
    """Return the largest connected part that differs from the picture's edges."""
    small = image.copy()
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    pixels = np.ascontiguousarray(np.asarray(small)[..., ::-1])
    width, height = small.size
    left, top = (max(round(MARGIN * side), 1) for side in small.size)
    mask = np.zeros((height, width), np.uint8)
    if min(width - 2 * left, height - 2 * top) < 1 or not pixels.std():
        return np.zeros((image.height, image.width), np.uint8)
    import cv2  # only here: the page and most runs do without it

    cv2.setRNGSeed(0)  # grabCut's clustering is random; every process must find the same outline
    models = np.zeros((2, 1, 65))
    rectangle = (left, top, width - 2 * left, height - 2 * top)
    cv2.grabCut(pixels, mask, rectangle, models[0], models[1], ITERATIONS, cv2.GC_INIT_WITH_RECT)
    object_mask = np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    count, parts, facts, _ = cv2.connectedComponentsWithStats(object_mask)
    if count < 2:
        return np.zeros((image.height, image.width), np.uint8)
    largest = 1 + int(facts[1:, cv2.CC_STAT_AREA].argmax())
    opacity = Image.fromarray((parts == largest).astype(np.uint8) * 255)
    return np.asarray(opacity.resize(image.size, Image.Resampling.BILINEAR))
