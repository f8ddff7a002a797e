"""Text for sizes, times, devices and errors."""

import pytest

from img2vid.progress import Event
from img2vid.ui import formatting


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "1 MB"), (14_745_362, "15 MB"), (120_000_000, "0.1 GB"), (9_559_625_980, "9.6 GB")],
)
def test_sizes(count: int, text: str) -> None:
    assert formatting.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (8.4, "8 s"), (89.4, "89 s"), (130, "2 min"), (3600, "1 h 0 min"), (4800, "1 h 20 min")],
)
def test_spans(seconds: float, text: str) -> None:
    assert formatting.span(seconds) == text


@pytest.mark.parametrize(
    ("name", "text"),
    [("cpu", "CPU"), ("cuda", "GPU"), ("cuda:0", "GPU"), ("cuda:1", "GPU 1"), ("mps", "Apple GPU"), ("xpu:1", "xpu:1")],
)
def test_devices(name: str, text: str) -> None:
    assert formatting.device(name) == text


@pytest.mark.parametrize(
    ("error", "text"),
    [("no room; buy a disk", "No room; buy a disk."), ("Ready?", "Ready?"), ("  ", ""), (ValueError("odd"), "Odd.")],
)
def test_sentences(error: object, text: str) -> None:
    assert formatting.sentence(error) == text


def test_pages_write_sizes_with_a_times_sign() -> None:
    assert formatting.sentence("'2 x 3.png' has 160 x 96 pixels") == "'2 x 3.png' has 160 \u00d7 96 pixels."
    assert formatting.pixels(160, 96) == "160 \u00d7 96"


def test_file_names_are_escaped_for_markdown() -> None:
    assert formatting.plain("a_b*c [x](y) :red[z] <b> $1$") == (
        "a\\_b\\*c \\[x\\]\\(y\\) \\:red\\[z\\] \\<b\\> \\$1\\$"
    )


def test_commands_are_code_and_other_backticks_are_escaped() -> None:
    assert (
        formatting.message("run `img2vid models add a_b.safetensors`") == "Run `img2vid models add a_b.safetensors`\\."
    )
    assert formatting.plain("a`b_c`.png") == "a\\`b\\_c\\`\\.png"


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (Event("load", 7, 15, 1.0), "Loading the model"),
        (Event("sample", 3, 25, 1.0, 130.0, 8.5), "Sampling, step 3 of 25 · about 2 min left"),
        (Event("decode", 4, 14, 1.0, 0.2), "Decoding, frame 4 of 14"),
        (Event("write", 1, 1, 1.0, video=2, videos=3), "Writing the video · video 2 of 3"),
        (Event("upscale", 1, 4, 1.0), "upscale"),
    ],
)
def test_progress(event: Event, text: str) -> None:
    assert formatting.progress(event) == text
