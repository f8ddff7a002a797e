"""Pictures are loaded with the colors that the browser draws on a canvas."""

import base64
import json
from pathlib import Path

import numpy as np
from color_files import color_files
from made_pictures import centers
from playwright.sync_api import Browser

from img2vid.media.pictures import load_picture

DRAW = """async (files) => {
    const found = [];
    for (const [type, data] of files) {
        const image = new Image();
        image.src = `data:image/${type};base64,${data}`;
        await image.decode();
        const [width, height] = [image.naturalWidth, image.naturalHeight];
        const pen = new OffscreenCanvas(width, height).getContext('2d', {colorSpace: 'srgb'});
        pen.fillStyle = 'white';
        pen.fillRect(0, 0, width, height);
        pen.drawImage(image, 0, 0);
        found.push([0.25, 0.75].flatMap((y) => [0.25, 0.75].map((x) =>
            [...pen.getImageData(Math.floor(x * width), Math.floor(y * height), 1, 1).data].slice(0, 3))));
    }
    return found;
}"""


def image_type(data: bytes) -> str:
    if data[4:8] == b"ftyp":
        return "avif"
    return {b"\x89": "png", b"\xff": "jpeg", b"R": "webp", b"B": "bmp"}[data[:1]]


def test_colors_are_those_of_this_browser(browser: Browser, screenshots: Path) -> None:
    """Write what was drawn to browser_colors.json among the screenshots, to renew tests/data with."""
    files = color_files()
    page = browser.new_page()
    drawn = page.evaluate(DRAW, [[image_type(data), base64.b64encode(data).decode()] for data in files.values()])
    page.close()
    lines = [f"  {json.dumps(name)}: {json.dumps(colors)}" for name, colors in zip(files, drawn, strict=True)]
    (screenshots / "browser_colors.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    wrong = [
        f"{name}: loaded {ours}, browser {theirs}"
        for (name, data), theirs in zip(files.items(), drawn, strict=True)
        if np.abs(np.subtract(ours := centers(load_picture(data)), theirs)).max() > 2
    ]
    assert not wrong, "\n".join(wrong)
