"""Composites: sizes, frame rates, labels outside the images, memory limits."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from img2vid.errors import BadInput
from img2vid.media import composites
from img2vid.media.composites import EMPTY, Clip, Frames, aligned, grid, reduced, sheet, wipe
from img2vid.media.lettering import GROUND, INK
from img2vid.media.videos import read_frames, write_video

RED, GREEN, BLUE, WHITE = (220, 30, 30), (30, 220, 30), (30, 30, 220), (250, 250, 250)


def plain(color: tuple[int, int, int], frames: int = 3, height: int = 96, width: int = 160, fps: float = 6) -> Clip:
    """Return a clip of one color."""
    whole = np.empty((frames, height, width, 3), np.uint8)
    whole[:] = color
    return Clip(whole, fps)


def numbered(frames: int, fps: float) -> Clip:
    """Return a clip whose n-th frame has gray level n."""
    whole = np.empty((frames, 96, 160, 3), np.uint8)
    whole[:] = np.arange(frames)[:, None, None, None]
    return Clip(whole, fps)


def side_by_side(*clips: Clip, label: str = "one color") -> tuple[Frames, float]:
    """Return a grid of one row with the same label above each clip."""
    return grid([clips], [""], [label] * len(clips))


def share(frames: Frames, color: tuple[int, int, int]) -> float:
    """Return the share of pixels with exactly that color."""
    return int((frames == np.array(color, np.uint8)).all(axis=-1).sum())


def test_clips_stand_side_by_side_under_their_labels() -> None:
    frames, fps = side_by_side(plain(RED), plain(GREEN))
    assert (fps, len(frames)) == (6, 3)
    pictures = frames[:, -96:]
    assert (pictures[:, :, :160] == RED).all() and (pictures[:, :, 164:324] == GREEN).all()
    band = frames[0, :-96]
    assert share(band, RED) == share(band, GREEN) == 0
    assert (band[:, :160] > 150).all(axis=-1).any() and (band[:, 164:] > 150).all(axis=-1).any()


@pytest.mark.parametrize(
    "label", ["", "seed 1", "conditioning augmentation " * 20, "x" * 500, "two\nlines", "日本 \U0001f600"]
)
def test_no_label_covers_a_picture(label: str) -> None:
    clip = plain(RED)
    frames, _ = side_by_side(clip, plain(GREEN), label=label)
    assert share(frames, RED) == 3 * 96 * 160
    frames, _ = grid([[clip, clip]], [label], [label, label])
    assert share(frames, RED) == 2 * 3 * 96 * 160


def test_different_sizes_come_to_one_height_and_even_sides() -> None:
    frames, _ = side_by_side(plain(RED), plain(GREEN, height=192, width=320), plain(BLUE, height=191, width=101))
    height, width = frames.shape[1:3]
    assert height % 2 == 0 and width % 2 == 0
    for color, ratio in ((RED, 160 / 96), (GREEN, 320 / 192), (BLUE, 101 / 191)):
        shown = (frames[0] == np.array(color)).all(axis=-1)
        rows, columns = shown.any(axis=1).sum(), shown.any(axis=0).sum()
        assert rows >= 192 and columns / rows == pytest.approx(ratio, abs=0.01)


def test_by_time_each_clip_keeps_its_speed_and_a_shorter_one_holds_its_last_frame() -> None:
    (slow, fast), fps = aligned([numbered(3, 5), numbered(20, 10)], "time")
    assert fps == 10
    assert slow.tolist() == [0, 0, 1, 1, 2, 2, *[2] * 14]
    assert fast.tolist() == list(range(20))


def test_stretched_clips_begin_and_end_together() -> None:
    (short, long), fps = aligned([numbered(3, 30), numbered(5, 7)], "stretch")
    assert fps == 7
    assert short.tolist() == [0, 0, 1, 2, 2] and long.tolist() == [0, 1, 2, 3, 4]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 40), st.floats(1, 60)), min_size=1, max_size=4),
    st.sampled_from(["time", "stretch"]),
)
def test_every_frame_of_a_composite_shows_a_frame_of_each_clip(
    clips: list[tuple[int, float]], align: composites.Align
) -> None:
    frames = np.zeros((40, 2, 2, 3), np.uint8)
    indices, fps = aligned([Clip(frames[:count], rate) for count, rate in clips], align)
    assert len({len(index) for index in indices}) == 1
    assert fps in [rate for _, rate in clips]
    for index, (count, rate) in zip(indices, clips, strict=True):
        assert index[0] == 0 and index[-1] == count - 1 and (np.diff(index) >= 0).all()
        if align == "time":
            assert len(index) / fps >= count / rate - 0.01


def test_frames_of_a_composite_are_those_of_its_clips() -> None:
    frames, _ = side_by_side(numbered(3, 5), numbered(6, 10))
    assert frames[:, -10, 10, 0].tolist() == [0, 0, 1, 1, 2, 2]
    assert frames[:, -10, -10, 0].tolist() == [0, 1, 2, 3, 4, 5]


def test_the_edge_of_a_wipe_goes_to_the_right_and_back() -> None:
    frames, fps = wipe(plain(RED, width=320, height=192), plain(GREEN, width=320, height=192), ["", ""])
    assert fps == 24 and len(frames) == 12  # at 6 fps the edge would jump, so each frame is shown four times
    red = [share(frame, RED) for frame in frames]
    assert red[0] == 0 and max(red) == red[6] > 0.98 * 320 * 192
    assert red[:7] == sorted(red[:7]) and red[6:] == sorted(red[6:], reverse=True)
    middle = frames[3, -100]
    assert (middle[:150] == RED).all() and (middle[170:] == GREEN).all() and (middle[159] == INK).all()


def test_a_wipe_names_both_clips_above_the_picture() -> None:
    frames, _ = wipe(plain(RED), plain(GREEN), ["the left one", ""])
    band = frames[0, :18]
    assert (frames[:, :18] == band).all()
    assert (band[:, :160] > 150).all(axis=-1).any() and not (band[:, 160:] > 150).any()


def test_a_wipe_of_other_shapes_cuts_nothing_off() -> None:
    frames, _ = wipe(plain(RED, width=320, height=192), plain(GREEN, width=96, height=192), ["", ""])
    picture = frames[0]  # the edge is at the left: the right clip is completely visible, in the center
    assert share(picture, GREEN) == pytest.approx(96 * 192, rel=0.02) and share(picture, RED) == 0


def test_a_grid_has_a_label_for_each_row_and_column_and_words_where_a_clip_is_missing() -> None:
    frames, _ = grid([[plain(RED), "failed"], ["", plain(BLUE)]], ["seed 1", "seed 2"], ["a", "b"])
    captioned = share(frames[0], RED)
    assert captioned == share(frames[0], BLUE) == 96 * 160
    assert share(frames[0], EMPTY) > 1.8 * 96 * 160
    failed = grid([[plain(RED), ""], ["", plain(BLUE)]], ["seed 1", "seed 2"], ["a", "b"])[0]
    assert failed.shape == frames.shape
    different = (failed[0] != frames[0]).any(axis=-1)
    rows, columns = np.nonzero(different)
    red = np.argwhere((frames[0] == np.array(RED)).all(axis=-1))
    assert rows.min() >= red[:, 0].min() and rows.max() <= red[:, 0].max() and columns.min() > red[:, 1].max()


def test_the_sheet_shows_the_middle_of_each_clip() -> None:
    picture = sheet([[numbered(5, 6), numbered(20, 30)]], ["row"], ["a", "b"])
    assert picture.ndim == 3
    height, width = picture.shape[:2]
    assert picture[height - 60, width - 10, 0] == 10 and picture[height - 60, width - 250, 0] == 2


@pytest.mark.parametrize(("rows", "columns", "frames"), [(1, 2, 14), (4, 4, 25), (2, 3, 128), (10, 10, 3)])
def test_clips_that_were_reduced_stay_within_the_limits(rows: int, columns: int, frames: int) -> None:
    clip = Clip(np.broadcast_to(np.uint8(7), (frames, 576, 1024, 3)), 6)
    small = reduced(clip, rows, columns).frames
    _, height, width, _ = small.shape
    assert rows * columns * small.nbytes <= composites.MOST_BYTES * 1.01
    assert rows * height <= composites.LARGEST and columns * width <= composites.LARGEST + columns
    assert width / height == pytest.approx(1024 / 576, rel=0.01)
    assert height == 576 or height > 100


def test_a_grid_of_reduced_clips_has_the_size_of_a_grid_of_whole_ones() -> None:
    whole = Clip(np.zeros((1, 576, 1024, 3), np.uint8), 6)
    labels = [str(number) for number in range(4)]
    small = reduced(whole, 4, 4)
    assert small.frames.shape[1:3] == (360, 640)
    assert grid([[whole] * 4] * 4, labels, labels)[0].shape == grid([[small] * 4] * 4, labels, labels)[0].shape


def test_small_clips_are_not_reduced() -> None:
    clip = plain(RED)
    assert reduced(clip, 3, 3).frames is clip.frames


def test_a_composite_can_be_written_and_read(tmp_path: Path) -> None:
    frames, fps = side_by_side(plain(RED, width=65, height=77), plain(WHITE, width=97, height=65))
    path = write_video(tmp_path / "both.mp4", frames, fps=fps, metadata={"clips": ["red", "white"]})
    assert read_frames(path).shape == frames.shape


@pytest.mark.parametrize(
    ("cells", "labels"),
    [([["", "failed"]], (["a"], ["b", "c"])), ([[]], (["a"], [])), ([], ([], []))],
)
def test_a_grid_without_a_clip_is_refused(
    cells: list[list[composites.Cell]], labels: tuple[list[str], list[str]]
) -> None:
    with pytest.raises(BadInput, match="at least one"):
        grid(cells, *labels)


def test_labels_that_do_not_go_with_the_cells_are_refused() -> None:
    with pytest.raises(BadInput, match=r"got 1 and 1 for rows of \[2\]"):
        grid([[plain(RED), plain(RED)]], ["a"], ["b"])


@pytest.mark.parametrize(
    "frames", [np.zeros((0, 8, 8, 3), np.uint8), np.zeros((8, 8, 3), np.uint8), np.zeros((2, 8, 8, 3))]
)
def test_frames_of_another_shape_are_refused(frames: Frames) -> None:
    with pytest.raises(BadInput, match="frames must be uint8"):
        side_by_side(Clip(frames, 6))


def test_the_ground_is_dark_and_the_words_are_bright() -> None:
    """Text needs a contrast of 7 to 1, as accessibility guidelines ask for."""

    def luminance(color: tuple[int, int, int]) -> float:
        red, green, blue = (value / 255 for value in color)
        return 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2

    for ground in (GROUND, EMPTY):
        assert (luminance(INK) + 0.05) / (luminance(ground) + 0.05) > 7
