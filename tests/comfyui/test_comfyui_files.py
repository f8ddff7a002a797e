"""Workflows in JSON, PNG, WebP and MP4 files, as ComfyUI and other programs store them."""

import io
import json
import struct
import zlib
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from workflows import image_to_video, plain

from img2vid.comfyui.export import export_workflow
from img2vid.comfyui.files import carried_workflow, workflow_of_file
from img2vid.errors import BadInput
from img2vid.media.carried_text import carried_texts
from img2vid.versions import find_version

SETTINGS = find_version("svd_xt").settings({"num_steps": 11, "decode_t": 5})
EXPORT = export_workflow(SETTINGS, "dogs.png")
TEXTS = {"prompt": json.dumps(plain(EXPORT.api)), "workflow": json.dumps(EXPORT.page)}


def saved(kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(file, kind, **options)
    return file.getvalue()


def png(texts: dict[str, str], method: str = "add_text") -> bytes:
    info = PngInfo()
    for name, text in texts.items():
        getattr(info, method)(name, text)
    return saved("PNG", pnginfo=info)


def animated_png() -> bytes:
    """Return a PNG with ComfyUI's own chunk, after the pixels."""
    data = saved("PNG")
    end = data.index(b"IEND") - 4
    chunks = b""
    for name, text in TEXTS.items():
        content = b"comf" + name.encode() + b"\0" + text.encode()
        chunks += struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
    return data[:end] + chunks + data[end:]


def webp() -> bytes:
    tags = Image.Exif()
    tags[0x0110], tags[0x010F] = f"prompt:{TEXTS['prompt']}", f"workflow:{TEXTS['workflow']}"
    return saved("WEBP", exif=tags)


def mp4(texts: dict[str, str], folder: Path) -> bytes:
    path = folder / "made.mp4"
    with cast(Any, av).open(str(path), "w", options={"movflags": "use_metadata_tags"}) as container:
        container.metadata.update(texts)
        stream = container.add_stream("libx264", rate=Fraction(6))
        stream.width = stream.height = 16
        stream.pix_fmt = "yuv420p"
        container.mux(stream.encode(VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode())
    return path.read_bytes()


KINDS = ("json", "png", "itxt", "apng", "webp", "mp4", "mp4_comment")


def file_of(kind: str, folder: Path) -> bytes:
    both = {"comment": json.dumps({"prompt": json.loads(TEXTS["prompt"]), "workflow": EXPORT.page})}
    made = {
        "json": lambda: TEXTS["workflow"].encode(),
        "png": lambda: png(TEXTS),
        "itxt": lambda: png(TEXTS, "add_itxt"),
        "apng": animated_png,
        "webp": webp,
        "mp4": lambda: mp4(TEXTS, folder),
        "mp4_comment": lambda: mp4(both, folder),
    }
    return made[kind]()


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_gives_all_settings_back(kind: str, tmp_path: Path) -> None:
    workflow = workflow_of_file(file_of(kind, tmp_path), "'a'")
    assert (workflow.settings, workflow.left_out) == (SETTINGS.model_dump(), ())


def test_a_picture_with_one_form_only() -> None:
    page = json.dumps(image_to_video())
    assert workflow_of_file(png({"workflow": page}), "'a'").settings["num_steps"] == 20
    assert workflow_of_file(png({"prompt": "a lighthouse", "workflow": page}), "'a'").settings["num_steps"] == 20


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG", "GIF"])
def test_a_picture_without_a_workflow(kind: str) -> None:
    data = saved(kind)
    assert carried_workflow(data) is None
    with pytest.raises(BadInput, match="'a' carries no ComfyUI workflow; choose its JSON file"):
        workflow_of_file(data, "'a'")


@pytest.mark.parametrize("text", ["{", "[1]", "[" * 100_000, '{"1": 5}', "x" * 11_000_000], ids=[*"abcde"])
def test_a_damaged_workflow_is_not_taken(text: str) -> None:
    assert carried_workflow(png({"prompt": text, "workflow": text})) is None


def test_deep_and_large_json_is_refused() -> None:
    for text in ('{"a":' * 90 + "1" + "}" * 90, '{"a": "' + "x" * 10_000_001 + '"}'):
        with pytest.raises(BadInput, match="is not valid JSON"):
            workflow_of_file(text.encode(), "'a'")


@pytest.mark.parametrize("kind", ["png", "webp", "mp4"])
def test_a_cut_file_is_read_or_left_out(kind: str, tmp_path: Path) -> None:
    data = file_of(kind, tmp_path)
    for size in range(0, len(data), max(len(data) // 40, 1)):
        assert isinstance(carried_texts(data[:size]), dict)
