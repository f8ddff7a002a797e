"""Parsing of sweep axes, and the settings of each cell."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from img2vid.errors import BadInput
from img2vid.gallery.sweep_axes import (
    AXIS_NAMES,
    MOST_CELLS,
    Axis,
    axis_of,
    cells_from_controls,
    cells_from_options,
    check_axes,
    label_of_value,
    labels,
    parse_axis,
    points,
    unused_settings,
)
from img2vid.presets import switched
from img2vid.settings import SampleSettings
from img2vid.versions import find_version, load_versions


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("motion_bucket_id=20,127,255", (20, 127, 255)),
        ("motion-bucket-id= 20 , 127 ,", (20, 127)),
        ("seed=1..5", (1, 2, 3, 4, 5)),
        ("seed=9,1 .. 3,7", (9, 1, 2, 3, 7)),
        ("cond_aug=0,0.02,1e-3", (0.0, 0.02, 0.001)),
        ("version=svd_tiny,svd_xt", ("svd_tiny", "svd_xt")),
        ("sampler=EulerEDMSampler,HeunEDMSampler", ("EulerEDMSampler", "HeunEDMSampler")),
        ("watermark=true,false", (True, False)),
        ("saving_fps=6,12.5", (6.0, 12.5)),
        ("sigma_min=800", (800.0,)),
        ("guidance_sigma_max=0", (0.0,)),
    ],
)
def test_an_axis_is_a_setting_and_its_values(text: str, values: tuple[object, ...]) -> None:
    axis = parse_axis(text)
    assert axis.values == values
    assert axis.name == text.partition("=")[0].replace("-", "_")
    assert all(type(value) is type(wanted) for value, wanted in zip(axis.values, values, strict=True))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("motion_bucket_id=20,abc", "motion_bucket_id must be a whole number from 0 to 511, got 'abc'"),
        ("motion_bucket_id=20,512", "motion_bucket_id must be a whole number from 0 to 511, got '512'"),
        ("seed", "an axis is a setting and its values, got 'seed'"),
        ("seed=", "the axis seed has no values"),
        ("seed=1,2,1", "the axis seed has 1 more than once; remove the duplicate"),
        ("cond_aug=0.1,0.10", "the axis cond_aug has 0.1 more than once"),
        ("seed=5..1", "a range of seed must go from the lower to the higher number, got '5..1'"),
        ("seed=1..4000000000", f"a sweep has at most {MOST_CELLS} videos, got 4000000000 values of seed"),
        ("cond_aug=0..1", "cond_aug must be a number from 0 to 10, got '0..1'"),
        ("num_samples=1,2", "num_samples cannot be an axis, because every cell is one video; use seed instead"),
        ("elevations=1,2", "elevations cannot be an axis, because it is a list; use elevation instead"),
        ("color=red", "there is no setting 'color'; the settings are version, height"),
        ("version=svd_tiny,svd9", "there is no model version 'svd9'"),
        ("watermark=maybe", "watermark must be true or false, got 'maybe'"),
    ],
)
def test_what_is_no_axis_is_refused_with_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_axis(text)
    assert str(caught.value).startswith(sentence)


@given(st.lists(st.integers(0, 511), min_size=1, max_size=20, unique=True))
def test_what_is_written_is_what_is_read(values: list[int]) -> None:
    assert axis_of("motion_bucket_id", ",".join(map(str, values))) == Axis("motion_bucket_id", tuple(values))


@pytest.mark.parametrize("name", AXIS_NAMES)
def test_every_setting_but_lists_and_the_number_of_videos_can_be_an_axis(name: str) -> None:
    default = SampleSettings.model_fields[name].default
    text = "6" if default is None else str(default)
    axis = axis_of(name, text)
    (cell,) = cells_from_options({}, [axis])
    assert getattr(cell, name) == axis.values[0]
    assert {*AXIS_NAMES} == {*SampleSettings.model_fields} - {"num_samples", "elevations", "azimuths"}


def test_cells_go_row_by_row_the_first_axis_along_the_row() -> None:
    axes = [Axis("motion_bucket_id", (20, 127, 255)), Axis("seed", (1, 2))]
    cells = cells_from_options({"num_steps": "4", "num_samples": 3}, axes)
    assert [(cell.seed, cell.motion_bucket_id) for cell in cells] == list(product((1, 2), (20, 127, 255)))
    assert {(cell.num_steps, cell.num_samples, cell.version) for cell in cells} == {(4, 1, "svd_tiny")}
    assert points(axes[:1]) == [{"motion_bucket_id": value} for value in (20, 127, 255)]


def test_a_version_brings_its_defaults_and_what_was_given_stays() -> None:
    cells = cells_from_options({"num_frames": "7"}, [Axis("version", ("svd_tiny", "svd_xt"))])
    own = [find_version(name).settings({}) for name in ("svd_tiny", "svd_xt")]
    assert [(cell.width, cell.max_scale, cell.decode_t) for cell in cells] == [
        (one.width, one.max_scale, one.decode_t) for one in own
    ]
    assert {cell.num_frames for cell in cells} == {7}


def test_on_a_page_a_version_is_taken_as_if_it_were_chosen_there() -> None:
    versions = load_versions()
    old = versions["svd_tiny"]
    controls = {**old.settings({}).model_dump(), "fps": 9, "num_frames": 5, "num_samples": 4}
    axes = [Axis("version", ("svd_tiny", "svd_tiny_xt")), Axis("seed", (3,))]
    first, second = cells_from_controls(controls, versions, axes)
    assert first == old.settings({**controls, "seed": 3, "num_samples": 1})
    chosen = switched(controls, old, versions["svd_tiny_xt"])
    assert second == versions["svd_tiny_xt"].settings({**chosen, "seed": 3, "num_samples": 1})
    assert (second.fps, second.num_frames) == (9, 25)


def test_values_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(BadInput, match="sigma_min must not be above sigma_max, got 800"):
        cells_from_options({}, [Axis("sigma_min", (800.0,))])
    with pytest.raises(BadInput, match="width must be a multiple of"):
        cells_from_options({}, [Axis("width", (65,))])


@pytest.mark.parametrize(
    ("axes", "sentence"),
    [
        ([], "one or two axes, got 0"),
        ([Axis("seed", (1,)), Axis("fps", (6,)), Axis("rho", (7.0,))], "one or two axes, got 3"),
        ([Axis("seed", (1,)), Axis("seed", (2,))], "both axes are seed"),
        ([Axis("seed", tuple(range(20))), Axis("fps", tuple(range(5, 25)))], "at most 100 videos, got 20 x 20"),
        ([Axis("seed", ())], "no values"),
    ],
)
def test_what_is_no_grid_is_refused(axes: list[Axis], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        check_axes(axes)


def test_an_axis_without_effect_is_reported() -> None:
    scale, guider = Axis("scale", (1.0, 2.0)), Axis("guider", ("LinearPredictionGuider", "VanillaCFG"))
    assert unused_settings([scale], cells_from_options({}, [scale])) == [
        "scale has no effect here; only VanillaCFG uses it"
    ]
    assert unused_settings([scale, guider], cells_from_options({}, [scale, guider])) == []
    churn = Axis("s_churn", (0.0, 1.0))
    told = unused_settings([churn], cells_from_options({"sampler": "DPMPP2MSampler"}, [churn]))
    assert told == ["s_churn has no effect here; only EulerEDMSampler and HeunEDMSampler use it"]


def test_labels_have_the_words_of_the_page() -> None:
    assert labels(Axis("motion_bucket_id", (20, 127))) == ["motion bucket id 20", "motion bucket id 127"]
    assert label_of_value("version", "svd_xt") == "svd_xt"
    assert label_of_value("cond_aug", 0.02) == "Conditioning augmentation 0.02"
    assert label_of_value("watermark", False) == "Watermark off"
