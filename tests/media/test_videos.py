"""Video output: playable everywhere, equal when read back, written completely or not at all."""

import errno
import io
import math
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from img2vid.errors import BadInput, Cancelled, MediaError
from img2vid.media.exports import write_still
from img2vid.media.pictures import frame_picture, load_picture
from img2vid.media.videos import read_frames, read_metadata, write_json, write_video
from img2vid.paths import PROJECT

Frames = npt.NDArray[np.uint8]


@cache
def _photo() -> Image.Image:
    return load_picture(PROJECT / "assets" / "dandelion.jpg")


def moving(num_frames: int = 5, width: int = 64, height: int = 48) -> Frames:
    """Return a window moving over a photo."""
    picture = np.asarray(frame_picture(_photo(), width + 4 * num_frames, height))
    return np.stack([picture[:, 4 * t : 4 * t + width] for t in range(num_frames)])


def plain(color: tuple[int, int, int]) -> Frames:
    return np.full((2, 32, 32, 3), color, np.uint8)


def psnr(one: Frames, other: Frames) -> float:
    error = np.mean((one.astype(float) - other.astype(float)) ** 2)
    return 10 * math.log10(255**2 / error)


def test_frames_come_back_as_they_went_in(tmp_path: Path) -> None:
    frames = moving(14, 128, 72)
    path = write_video(tmp_path / "video.mp4", frames, fps=6, metadata={})
    assert path == tmp_path / "video.mp4"
    back = read_frames(path)
    assert (back.shape, back.dtype) == (frames.shape, np.uint8)
    assert psnr(back, frames) > 36
    assert np.abs(np.mean(back.astype(float) - frames, axis=(0, 1, 2))).max() < 0.5


@pytest.mark.parametrize(
    "color",
    [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 255, 255), (0, 0, 0), (128, 128, 128), (200, 30, 90)],
)
def test_colors_survive(tmp_path: Path, color: tuple[int, int, int]) -> None:
    """With the matrix of one standard and the tag of another, pure green is off by 20 levels or more."""
    path = write_video(tmp_path / "video.mp4", plain(color), fps=6, metadata={})
    np.testing.assert_allclose(read_frames(path), plain(color), atol=3)


def test_the_file_is_what_browsers_play(tmp_path: Path) -> None:
    path = write_video(tmp_path / "video.mp4", moving(), fps=6, metadata={})
    with cast(Any, av.open(str(path))) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt, context.profile) == ("h264", "yuv420p", "High")
        tags = (context.colorspace, context.color_primaries, context.color_trc, context.color_range)
        assert tags == (1, 1, 1, 1)  # BT.709 three times, and limited range
        assert [stream.type for stream in container.streams] == ["video"]
    data = path.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("num_frames", [1, 2, 7])
@pytest.mark.parametrize("fps", [1, 6, 7.5, 23.976, 30000 / 1001, 60])
def test_frame_rate_and_length(tmp_path: Path, num_frames: int, fps: float) -> None:
    path = write_video(tmp_path / "video.mp4", moving(num_frames), fps=fps, metadata={})
    with cast(Any, av.open(str(path))) as container:
        stream = container.streams.video[0]
        assert stream.frames == num_frames
        assert float(stream.average_rate) == pytest.approx(fps, rel=1e-6)
        # The container stores its duration in milliseconds.
        assert float(stream.duration * stream.time_base) == pytest.approx(num_frames / fps, abs=1e-3)
    assert len(read_frames(path)) == num_frames


@pytest.mark.parametrize(("width", "height"), [(63, 48), (64, 47), (63, 47), (1, 1)])
def test_odd_sides_grow_by_a_copy_of_the_edge(tmp_path: Path, width: int, height: int) -> None:
    frames = np.full((2, height, width, 3), 128, np.uint8)
    frames[:, -1, :] = frames[:, :, -1] = (200, 180, 160)
    back = read_frames(write_video(tmp_path / "video.mp4", frames, fps=6, metadata={}))
    assert back.shape == (2, height + height % 2, width + width % 2, 3)
    np.testing.assert_allclose(back[:, -1, -1], np.broadcast_to((200, 180, 160), (2, 3)), atol=12)


def test_same_frames_and_settings_same_bytes(tmp_path: Path) -> None:
    paths = [write_video(tmp_path / "video.mp4", moving(14, 256, 144), fps=6, metadata={"seed": 23}) for _ in range(3)]
    assert [path.name for path in paths] == ["video.mp4", "video_2.mp4", "video_3.mp4"]
    assert len({path.read_bytes() for path in paths}) == 1


def test_nothing_depends_on_the_encoders_look_ahead(tmp_path: Path) -> None:
    """x264's look-ahead reads uninitialized memory, which changes a few in a hundred videos at random.

    The effect cannot be reproduced on demand, so this checks the options that x264 records in its streams.
    """
    data = write_video(tmp_path / "video.mp4", moving(5, 64, 64), fps=6, metadata={}).read_bytes()
    assert b"x264 - core" in data
    for option in (b"mbtree=0", b"b_adapt=0", b"scenecut=0"):
        assert b" " + option + b" " in data


# Settings in the file

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=15, deadline=None)
@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_any_settings_come_back(tmp_path_factory: pytest.TempPathFactory, metadata: dict[str, object]) -> None:
    path = tmp_path_factory.mktemp("any") / "video.mp4"
    assert read_metadata(write_video(path, plain((9, 9, 9)), fps=6, metadata=metadata)) == metadata


@pytest.mark.parametrize(
    "text", ["\"quotes\" and 'more'", ";#=\\", "line\nbreak\ttab\0nul", "Zürich 東京 😀", "x" * 100_000]
)
def test_awkward_texts_come_back(tmp_path: Path, text: str) -> None:
    path = write_video(tmp_path / "video.mp4", plain((9, 9, 9)), fps=6, metadata={text: text})
    assert read_metadata(path) == {text: text}


def test_videos_of_others_carry_no_settings(tmp_path: Path) -> None:
    path = write_video(tmp_path / "video.mp4", plain((9, 9, 9)), fps=6, metadata={"seed": 1})
    for comment in (b'"one words"', b"one words: "):
        (tmp_path / "other.mp4").write_bytes(path.read_bytes().replace(b'{"seed": 1}', comment))
        with pytest.raises(BadInput, match=r"'other\.mp4' has no settings"):
            read_metadata(tmp_path / "other.mp4")


@pytest.mark.parametrize("read", [read_frames, read_metadata])
def test_files_that_are_no_videos_get_one_clear_sentence(tmp_path: Path, read: Any) -> None:
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile other.mp4\n", encoding="utf-8")
    (tmp_path / "empty.mp4").touch()
    for name in ("list.mp4", "empty.mp4", "missing.mp4", "."):
        with pytest.raises(BadInput, match=r"cannot read .* as a video.*choose an MP4"):
            read(tmp_path / name)


# Atomic writes


@pytest.mark.parametrize("error", [Cancelled, KeyboardInterrupt, ZeroDivisionError, MemoryError])
def test_an_error_on_the_way_leaves_nothing_and_passes_through(tmp_path: Path, error: type[BaseException]) -> None:
    def frames() -> Iterator[Frames]:
        yield from moving(3)
        raise error

    with pytest.raises(error):
        write_video(tmp_path / "video.mp4", frames(), fps=6, metadata={})
    assert list(tmp_path.iterdir()) == []


WRITER = """
import sys, time
from pathlib import Path
import numpy as np
from img2vid.media.exports import write_still
from img2vid.media.videos import write_video

def frames():
    for _ in range(60):
        yield np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    print("half way", flush=True)
    time.sleep(60)

write_video(Path(sys.argv[1]), frames(), fps=6, metadata={})
"""


def test_a_killed_writer_leaves_no_video(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path / "video.mp4")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=PROJECT) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "half way\n"
        writer.kill()
    left = [path.name for path in tmp_path.iterdir()]
    assert all(name.startswith(".") and name.endswith(".part") for name in left)
    write_video(tmp_path / "video.mp4", moving(), fps=6, metadata={})
    assert (tmp_path / "video.mp4").is_file()


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from img2vid.errors import MediaError
from img2vid.media.exports import write_still
from img2vid.media.videos import write_video

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
frames = np.random.default_rng(0).integers(0, 255, (9, 64, 64, 3), dtype=np.uint8)
try:
    write_video(Path(sys.argv[1]), frames, fps=6, metadata={})
except MediaError as error:
    print(error)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="this system cannot limit the size of files")
def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "video.mp4")]
    said = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, check=True).stdout
    assert said.startswith(f"cannot write '{tmp_path / 'video.mp4'}' (File too large)")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_a_media_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for write in (
        lambda path: write_video(path, moving(), fps=6, metadata={}),
        lambda path: write_still(path, moving()[0]),
        lambda path: write_json(path, {}),
    ):
        with pytest.raises(MediaError, match=r"cannot write .*"):
            write(tmp_path / "file" / "result")


def test_impossible_videos_are_refused_before_a_file_is_made(tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    good = moving(2)
    mixed = [good[0], good[1][:32]]
    for frames, fps, metadata, sentence in (
        ([], 6, {}, "at least one frame"),
        (good.astype(np.float32), 6, {}, r"must be uint8 of shape \(H, W, 3\), got float32"),
        (good[..., 0], 6, {}, r"got uint8 of shape \(48, 64\)"),
        (mixed, 6, {}, r"the same shape, got \(32, 64, 3\) after \(48, 64, 3\)"),
        (good, 0.5, {}, "between 1 and 1000 frames per second, got 0.5"),
        (good, math.nan, {}, "got nan"),
        (good, 6, {"path": Path("x")}, "stored as JSON .*PosixPath|WindowsPath"),
        (good, 6, {"scale": math.inf}, "finite numbers"),
    ):
        with pytest.raises(BadInput, match=sentence):
            write_video(path, cast(Any, frames), fps=fps, metadata=metadata)
    assert list(tmp_path.iterdir()) == []


def test_names_that_look_like_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_video(Path("a b") / "file 100%d 東京.mp4", moving(2), fps=6, metadata={"seed": 1})
    assert len(read_frames(path)) == 2
    assert read_metadata(path) == {"seed": 1}


def test_a_failing_disk_is_named_and_prints_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Regression: PyAV printed a traceback for each error of the file."""
    path = write_video(tmp_path / "a.mp4", moving(2), fps=6, metadata={"seed": 1})

    class Failing(io.BytesIO):
        def read(self, *_: object) -> Any:
            raise OSError(errno.EIO, "Input/output error")

    data = path.read_bytes()
    monkeypatch.setattr(Path, "open", lambda *_: Failing(data))
    for read in (read_frames, read_metadata):
        with pytest.raises(BadInput, match=r"cannot read '.*a\.mp4' as a video \(Input/output error\)"):
            read(path)
    assert capfd.readouterr() == ("", "")


def test_a_disk_that_fails_between_frames_does_not_shorten_the_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FFmpeg takes it for the end of the file."""
    path = write_video(tmp_path / "a.mp4", moving(4), fps=6, metadata={})
    with cast(Any, av.open(str(path))) as container:
        end = max(packet.pos for packet in container.demux() if packet.pos)

    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() == end:
                raise OSError(errno.EIO, "Input/output error")
            return super().read(min(size or 0, end - self.tell()))

    data = path.read_bytes()
    monkeypatch.setattr(Path, "open", lambda *_: Failing(data))
    with pytest.raises(BadInput, match=r"\(Input/output error\)"):
        read_frames(path)


# Files stored with a video


def test_still_is_the_frame_and_replaces_an_older_one(tmp_path: Path) -> None:
    for frame in moving(2):
        write_still(tmp_path / "video.png", frame)
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "video.png")), frame)
    with pytest.raises(BadInput, match="a frame must be uint8"):
        write_still(tmp_path / "other.png", moving(2))
    assert [path.name for path in tmp_path.iterdir()] == ["video.png"]


def test_metadata_that_is_no_text_does_not_hide_the_frames(tmp_path: Path) -> None:
    """Regression: UnicodeDecodeError, as other programs may write any bytes there."""
    video = write_video(tmp_path / "a.mp4", moving(), fps=6, metadata={"a": "12345678"})
    video.write_bytes(video.read_bytes().replace(b"12345678", b"\xe9\xff\xfe45678"))
    assert read_frames(video).shape == (5, 48, 64, 3)
    with suppress(BadInput):  # PyAV 19 reads no such metadata
        assert read_metadata(video) == {"a": "\ufffd\ufffd\ufffd45678"}
    assert np.array_equal(read_frames(video, most=2), read_frames(video)[:2])


@pytest.mark.parametrize("seed", range(3))
def test_a_damaged_video_is_read_or_bad_input(tmp_path: Path, seed: int) -> None:
    whole = (PROJECT / "tests" / "data" / "inputs" / "metadata" / "good.mp4").read_bytes()
    video, random = tmp_path / "a.mp4", np.random.default_rng(seed)
    for _ in range(30):
        damaged = np.frombuffer(whole, np.uint8).copy()
        damaged[random.integers(len(whole), size=20)] = random.integers(256, size=20)
        video.write_bytes(damaged.tobytes()[: random.integers(len(whole) // 2, 2 * len(whole))])
        for read in (read_frames, read_metadata):
            try:
                read(video)
            except BadInput as error:
                assert len(str(error)) < 1000


def test_json_is_readable_utf8(tmp_path: Path) -> None:
    write_json(tmp_path / "video.json", {"picture": "Zürich.jpg", "seed": 23})
    text = (tmp_path / "video.json").read_bytes().decode("utf-8")
    assert text == '{\n  "picture": "Zürich.jpg",\n  "seed": 23\n}\n'
