"""State of a comparison: initial columns, changes, differences and storage."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from driving import PHOTO
from fake_service import FakeService
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from img2vid.errors import BadInput
from img2vid.gallery.entries import Entries, Entry
from img2vid.options import LoadOptions
from img2vid.settings import METHODS
from img2vid.settings_validation import make_settings
from img2vid.ui import tabs
from img2vid.ui.compare import state
from img2vid.ui.compare.state import Comparison
from img2vid.ui.state import PageState
from img2vid.ui.studies import differences
from img2vid.versions import ModelVersion, find_version, load_versions

VERSIONS = load_versions()


def controls(version: str = "svd_tiny", **values: Any) -> dict[str, Any]:
    return {**find_version(version).settings({}).model_dump(), **values}


def column(version: str = "svd_tiny", **values: Any) -> dict[str, Any]:
    engine = {"provider": "auto", "precision": "auto", "decoder_precision": "auto"}
    return {**engine, **controls(version), **values}


@pytest.fixture
def page(service: FakeService) -> PageState:
    """Tab with default settings."""
    return PageState(tabs.new_name(), tabs.fresh(VERSIONS), VERSIONS)


def reloaded(page: PageState) -> PageState:
    tab = tabs.read(page.name, VERSIONS)
    assert tab is not None
    return PageState(page.name, tab, VERSIONS)


def entry_of(service: FakeService, seed: int = 23, **values: Any) -> Entry:
    picture = PHOTO.read_bytes()
    job = service.store.add(make_settings(controls(seed=seed, **values)), LoadOptions(), picture, "dogs", ".jpg")
    return Entries(service.store).find_by_job(service.finishes(job).id)[0]


def test_the_page_starts_with_the_installed_pair(page: PageState, service: FakeService) -> None:
    page.set(motion_bucket_id=80, seed=5)
    what = state.comparison(page)
    assert [column["version"] for column in what.columns] == ["svd_tiny", "svd_tiny_xt"]
    assert [column["num_frames"] for column in what.columns] == [14, 25]
    assert [column["motion_bucket_id"] for column in what.columns] == [80, 80]
    assert [column["seed"] for column in what.columns] == [5, 5]
    service.remote = True
    assert [column["version"] for column in state.comparison(page).columns] == ["svd", "svd_xt"]


def test_installed_full_size_models_are_preferred(page: PageState, tmp_path: Path) -> None:
    installed = tmp_path / "there.safetensors"
    installed.write_bytes(b"weights")
    page.versions = {
        name: version.model_copy(update={"checkpoint": str(installed)}) if name in ("svd", "svd_xt") else version
        for name, version in VERSIONS.items()
    }
    assert [column["version"] for column in state.comparison(page).columns] == ["svd", "svd_xt"]


def test_columns_follow_the_sample_page_until_one_of_them_is_set(page: PageState) -> None:
    what = state.comparison(page)
    state.set_columns(page, what, state.change(what, 1, num_steps=7))
    page.set(fps=11)
    assert [column["fps"] for column in state.comparison(page).columns] == [6, 6]


def test_changing_the_version_adapts_its_settings_and_keeps_the_rest(page: PageState) -> None:
    what = Comparison((column(num_frames=10, fps=9, seed=3), column(num_frames=10, fps=9, seed=3)))
    first, second = state.switch(what, 1, VERSIONS, "svd_xt")
    assert first == what.columns[0]
    assert second == column("svd_xt", fps=9, seed=3)


def test_a_seed_is_set_in_all_columns_or_in_one(page: PageState) -> None:
    both = (column(), column("svd_tiny_xt"))
    assert [one["seed"] for one in state.change(Comparison(both), 1, seed=9)] == [9, 9]
    apart = state.change(Comparison(both, same_seed=False), 1, seed=9)
    assert [one["seed"] for one in apart] == [23, 9]


def test_there_are_two_to_four_columns() -> None:
    three = state.copied([column(seed=1), column(seed=2)], 0)
    assert [one["seed"] for one in three] == [1, 1, 2]
    four = state.copied(three, 2)
    with pytest.raises(BadInput, match="a comparison can have at most 4 columns"):
        state.copied(four, 0)
    assert [one["seed"] for one in state.removed(three, 1)] == [1, 2]
    with pytest.raises(BadInput, match="needs at least 2 columns"):
        state.removed(three[:2], 0)


def test_only_settings_in_use_count_as_a_difference() -> None:
    facts = column()
    assert differences.differing(facts, {**facts, "eta": 0.5, "period": 0.5, "num_samples": 3}) == []
    other = {**facts, "s_churn": 1.0, "watermark": False, "precision": "fp16"}
    assert differences.differing(facts, other) == ["s_churn", "watermark", "precision"]
    ancestral = {**facts, "sampler": "EulerAncestralSampler", "eta": 0.5}
    assert differences.differing(facts, ancestral) == ["sampler", "eta"]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("version", "svd_xt", "svd_xt"),
        ("num_steps", 30, "steps 30"),
        ("cond_aug", 0.02, "Conditioning augmentation 0.02"),
        ("saving_fps", None, "saving video at fps as fps"),
        ("watermark", False, "Watermark off"),
        ("decoder_precision", "fp16", "decoder precision fp16"),
    ],
)
def test_a_difference_is_named_in_words(name: str, value: object, text: str) -> None:
    assert differences.fact_text(name, value) == text


def facts(version: str, options: LoadOptions | None = None, **values: Any) -> dict[str, Any]:
    return differences.facts(make_settings(controls(version, **values)), options or LoadOptions())


def test_labels_have_the_version_and_settings_that_are_not_its_defaults() -> None:
    """Differences between the versions' defaults, such as the frames of svd_xt, are left out."""
    assert differences.labels([facts("svd"), facts("svd_xt")], VERSIONS) == ["svd", "svd_xt"]
    steps = [facts("svd", num_steps=10), facts("svd"), facts("svd_xt")]
    assert differences.labels(steps, VERSIONS) == ["svd, steps 10", "svd, steps 25", "svd_xt, steps 30"]
    precise = [facts("svd"), facts("svd", LoadOptions(precision="fp32"))]
    assert differences.labels(precise, VERSIONS) == ["svd, precision auto", "svd, precision fp32"]


def test_names_of_the_same_are_numbered() -> None:
    assert differences.labels([facts("svd")] * 3, VERSIONS) == ["svd (1)", "svd (2)", "svd (3)"]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    runs=st.lists(
        st.tuples(st.sampled_from([*VERSIONS]), st.sampled_from([1, 25]), st.sampled_from([20, 127])),
        min_size=2,
        max_size=4,
    )
)
def test_no_two_names_are_alike_and_each_begins_with_its_version(runs: list[tuple[str, int, int]]) -> None:
    all_facts = [facts(name, num_steps=steps, motion_bucket_id=motion) for name, steps, motion in runs]
    names = differences.labels(all_facts, VERSIONS)
    assert len({*names}) == len(names)
    assert [name.split(",")[0].split(" ")[0] for name in names] == [name for name, _, _ in runs]


def test_a_column_shows_what_matters_and_folds_the_rest_away() -> None:
    for sampler, guider in (("EulerEDMSampler", "LinearPredictionGuider"), ("LinearMultistepSampler", "VanillaCFG")):
        run = column(sampler=sampler, guider=guider)
        shown, folded = state.visible(run), state.hidden(run)
        assert {"seed", "num_steps", "fps", "motion_bucket_id", "cond_aug"} <= {*shown}
        assert ("scale" in shown) == (guider == "VanillaCFG")
        ours = {"version", "fitting", "crop_offset", "object_share", *differences.ENGINE, *METHODS}
        others = [name for name in run if name not in ours]
        changeable = [name for name in others if differences.differing(run, {**run, name: "another"})]
        assert sorted([*shown, *folded, "num_frames"]) == sorted([*changeable, *METHODS])


def test_everything_is_there_after_a_reload(page: PageState) -> None:
    both = (column(cond_aug=0.1), column("svd_tiny_xt", precision="fp32"))
    what = Comparison(both, True, True, 1, False, "0123456789abcdef", True, "stretch", "frames")
    page.keep("compare", **asdict(what))
    assert state.comparison(page) == state.comparison(reloaded(page)) == what


def test_invalid_stored_values_get_their_defaults(page: PageState) -> None:
    both = [
        {"controls": controls(num_steps=-5, fps=9), "precision": "fp99"},
        {"controls": controls("svd_tiny_xt"), "provider": "native"},
        {"controls": controls("svd_tiny_xt") | {"version": "gone"}},
    ]
    page.tab.pages["compare"] = json.loads(json.dumps({"touched": True, "columns": both, "study": 3, "axis": "years"}))
    what = state.comparison(page)
    assert [column["version"] for column in what.columns] == ["svd_tiny", "svd_tiny_xt"]
    first, second = what.columns
    assert (first["num_steps"], first["fps"], first["precision"]) == (25, 9, "auto")
    assert (second["provider"], what.study, what.axis) == ("native", "", "seconds")
    for kept in (["not at all"], {"touched": True, "columns": ["nothing"]}):
        page.tab.pages["compare"] = kept
        assert not state.comparison(page).touched


def test_two_videos_sent_one_after_the_other_stand_side_by_side(page: PageState, service: FakeService) -> None:
    one, two = entry_of(service, 1, crop_offset=0.25), entry_of(service, 2, crop_offset=0.25)
    state.send(page, one)
    assert [column["seed"] for column in state.comparison(page).columns] == [1, 1]
    state.send(page, two)
    what = state.comparison(page)
    assert [column["seed"] for column in what.columns] == [1, 2]
    assert not what.same_seed
    assert page.tab.picture is not None and page.tab.picture.path == one.job.picture
    assert state.settings_of(page, what.columns[0]) == one.settings
    assert page.note is not None and page.note.place == "compare"
    assert page.note.text == "Sent dogs, svd_tiny, seed 2 to column 2."


def test_a_video_that_is_sent_keeps_columns_that_were_set_by_hand(page: PageState, service: FakeService) -> None:
    what = state.comparison(page)
    state.set_columns(page, what, state.change(what, 0, num_steps=7))
    for seed in (1, 2, 3):
        state.send(page, entry_of(service, seed))
    kept = state.comparison(page).columns
    assert [(column["num_steps"], column["seed"]) for column in kept] == [
        (7, 23),
        (30, 23),
        (25, 1),
        (25, 3),
    ]


def test_sending_a_video_replaces_columns_that_ran(page: PageState, service: FakeService) -> None:
    what = state.comparison(page)
    page.keep("compare", columns=what.columns, touched=True, ran=True)
    state.send(page, entry_of(service, 8))
    assert [column["seed"] for column in state.comparison(page).columns] == [8, 8]


def test_an_unsupported_size_is_an_error(page: PageState) -> None:
    odd: ModelVersion = page.versions["svd_tiny"]
    assert odd.size_step == 16
    with pytest.raises(BadInput, match="height must be a multiple of 16"):
        state.settings_of(page, column(height=100))


def test_a_repeated_change_event_has_no_effect(page: PageState) -> None:
    what = state.comparison(page)
    page.keep("compare", columns=what.columns, touched=True, ran=True)
    state.set_columns(page, state.comparison(page), what.columns)
    assert state.comparison(page).ran
