"""Preview of unfinished frames as a small animated GIF, sent with progress events."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

COLORS = 128
MILLISECONDS = 160
"""Duration of each frame; close to the usual 6 frames per second."""


def preview_gif(frames: NDArray[np.uint8]) -> bytes:
    """Encode frames (T, h, w, 3) as a GIF that loops forever."""
    # Sampling waits for this; twenty times as fast as the most accurate method.
    images = [Image.fromarray(frame).quantize(COLORS, method=Image.Quantize.FASTOCTREE) for frame in frames]
    buffer = io.BytesIO()
    images[0].save(
        buffer,
        format="GIF",
        save_all=True,
        append_images=images[1:],
        duration=MILLISECONDS,
        loop=0,
        disposal=1,
        optimize=False,
    )
    return buffer.getvalue()
