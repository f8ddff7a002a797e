"""Typed values that are not valid: explained at their field on Sample, Compare and Sweeps, and never run."""

from typing import Any

import pytest
from driving import PHOTO, Open, caption, drop, labels, open_at, press, said, selectbox, tab_of
from fake_service import FakeService
from streamlit.testing.v1 import AppTest

from img2vid.ui import state, tabs
from img2vid.ui.compare.state import comparison
from img2vid.ui.shared.controls import tab_field
from img2vid.ui.shared.fields import enter, left_empty, on_change
from img2vid.ui.state import PageState, Rejected
from img2vid.versions import load_versions


def typed(page: AppTest, key: str, value: float) -> AppTest:
    page.number_input(key=key).set_value(value).run()
    assert not page.exception
    return page


def problems(page: AppTest) -> list[str]:
    """Return the keys of the fields with a problem."""
    return [key.removeprefix("use_") for button in page.button if (key := str(button.key)).startswith("use_")]


def controls(page: AppTest) -> dict[str, Any]:
    return page.session_state["page"].tab.controls


@pytest.mark.parametrize(
    ("key", "value", "problem", "nearest"),
    [
        ("num_frames", 500, "T must be a whole number from 1 to 128 (frames), got 500.", 128),
        ("width", 1000, "W must be a multiple of 16 for svd_tiny, got 1000.", 992),
        ("height", 5000, "H must be a whole number from 64 to 2048 (pixels), got 5000.", 2048),
        ("motion_bucket_id", 999, "motion bucket id must be a whole number from 0 to 511, got 999.", 511),
        ("cond_aug", -1.0, "Conditioning augmentation must be a number from 0 to 10, got -1.", 0.0),
        ("num_steps", 0, "steps must be a whole number from 1 to 1000, got 0.", 1),
        ("seed", 2**32, "seed must be a whole number from 0 to 4294967295, got 4294967296.", 2**32 - 1),
        ("block_cache", 0, "block cache must be a whole number from 1 to 100 (steps), got 0.", 1),
    ],
)
def test_a_rejected_value_is_explained_at_its_field_and_the_nearest_one_offered(
    open_page: Open, key: str, value: float, problem: str, nearest: float
) -> None:
    page = drop(open_page(), PHOTO)
    before = controls(page)[key]
    typed(page, key, value)
    assert (page.number_input(key=key).value, controls(page)[key]) == (value, before)
    assert problem in caption(page).split(":red[:material/error: ")[1]
    assert f"{problem[0].upper()}{problem[1:]}" in caption(page), "Sample says nothing"
    assert page.button(key="sample").disabled
    assert page.button(key=f"use_{key}").label == f"Use {nearest:g}" if nearest < 1e6 else f"Use {nearest}"
    press(page, f"use_{key}")
    assert page.number_input(key=key).value == controls(page)[key] == nearest
    assert problems(page) == []
    assert not page.button(key="sample").disabled


def test_another_value_in_the_field_ends_the_problem(open_page: Open) -> None:
    page = typed(typed(drop(open_page(), PHOTO), "fps", 0), "num_frames", 0)
    assert {*problems(page)} == {"num_frames", "fps"}
    assert problems(typed(page, "fps", 7)) == ["num_frames"]
    assert page.button(key="sample").disabled
    assert problems(typed(page, "num_frames", 14)) == []
    assert controls(page)["fps"] == 7
    assert not page.button(key="sample").disabled


def test_a_rejected_value_that_arrives_with_the_press_on_sample_makes_no_job(
    open_page: Open, service: FakeService
) -> None:
    page = drop(open_page(), PHOTO)
    page.number_input(key="seed").set_value(-5)
    page.button(key="sample").click().run()
    assert service.store.jobs() == []
    assert "Seed must be a whole number from 0 to 4294967295, got -5." in said(page.error)


def test_after_a_reload_the_field_shows_the_value_that_sample_uses(open_page: Open) -> None:
    page = typed(typed(drop(open_page(), PHOTO), "num_frames", 9), "num_frames", 500)
    again = open_page(tab_of(page))
    assert again.number_input(key="num_frames").value == 9
    assert problems(again) == []
    assert not again.button(key="sample").disabled


def test_a_value_set_by_the_program_replaces_a_rejected_one(open_page: Open) -> None:
    page = typed(open_page(), "num_frames", 500)
    press(page, "defaults")
    assert (page.number_input(key="num_frames").value, problems(page)) == (14, [])
    typed(page, "seed", -1)
    press(page, "dice")
    assert problems(page) == []
    typed(page, "width", 1)
    selectbox(page, "Model Version").set_value("svd_xt").run()
    assert (page.number_input(key="width").value, problems(page)) == (1024, [])


def test_a_size_that_the_model_cannot_make_is_explained_though_it_was_not_typed(open_page: Open) -> None:
    page = open_page()
    page.session_state["page"].set(height=100)
    page.run()
    assert problems(page) == ["height"]
    assert press(page, "use_height").number_input(key="height").value == 96


def test_a_setting_that_is_not_used_does_not_disable_sample(open_page: Open) -> None:
    page = typed(drop(open_page(), PHOTO), "s_churn", -1.0)
    assert page.button(key="sample").disabled
    page.selectbox(key="sampler").set_value("DPMPP2MSampler").run()
    assert not page.button(key="sample").disabled
    page.selectbox(key="sampler").set_value("HeunEDMSampler").run()
    assert page.button(key="sample").disabled
    page.selectbox(key="fitting").set_value("object").run()
    press(page, "use_s_churn")
    typed(page, "object_share", 2.0)
    assert page.button(key="sample").disabled
    page.selectbox(key="fitting").set_value("crop").run()
    assert not page.button(key="sample").disabled


def test_own_noise_levels_are_those_of_the_job(open_page: Open, service: FakeService) -> None:
    page = drop(open_page(), PHOTO)
    page.selectbox(key="discretization").set_value("ListDiscretization").run()
    page.text_input(key="sigmas").set_value("700, 20 0.5").run()
    page.button(key="sample").click().run()
    (job,) = service.store.jobs()
    assert job.settings.params_of("ListDiscretization") == {"sigmas": "700 20 0.5"}


def test_a_text_that_is_not_valid_stays_until_it_is_undone(open_page: Open) -> None:
    page = drop(open_page(), PHOTO)
    page.selectbox(key="discretization").set_value("ListDiscretization").run()
    before = page.text_input(key="sigmas").value
    page.text_input(key="sigmas").set_value("high to low").run()
    assert "sigmas must be numbers from 0.0001 to 1e+06, got 'high to low'." in caption(page)
    assert page.button(key="sample").disabled
    assert page.text_input(key="sigmas").value == "high to low"
    assert "Undo" in labels(page.sidebar)
    press(page, "use_sigmas")
    assert page.text_input(key="sigmas").value == before
    assert not page.button(key="sample").disabled


class Session:
    """Session of a callback; the script's trigger is under its key."""

    def __init__(self, page: PageState, *, numbers: dict[str, float] | None = None, **emptied: str) -> None:
        self._values = {"page": page, "media": {"emptied": emptied}, **(numbers or {})}

    def to_dict(self) -> dict[str, object]:
        return self._values


@pytest.mark.usefixtures("home")
def test_texts_that_streamlit_would_change_are_stored_or_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = load_versions()
    page = PageState("0123456789ab", tabs.fresh(versions), versions)
    page.fields = {name: tab_field(page, name) for name in ("num_frames", "seed", "s_tmax")}

    def report(key: str, text: str) -> None:
        monkeypatch.setattr(state.st, "session_state", Session(page, key=key, text=text))
        left_empty()

    report("num_frames", "")
    empty = page.rejected["num_frames"]
    assert empty == Rejected(None, "T must be a whole number from 1 to 128 (frames); the field is empty")
    assert page.fields["num_frames"].nearest(empty.value) == 14
    report("seed", "99999999999999999999")
    large = page.rejected["seed"]
    assert large.problem == "seed must be a whole number from 0 to 4294967295, got 99999999999999999999"
    assert page.fields["seed"].nearest(large.value) == 2**32 - 1
    report("num_frames", "6.7")
    assert page.rejected["num_frames"].problem.endswith(", got 6.7")
    assert page.fields["num_frames"].nearest("6.7") == 7
    report("s_tmax", "2.5")
    report("seed", "1e3")
    assert (page.tab.controls["s_tmax"], page.tab.controls["seed"]) == (2.5, 1000)
    report("seed", "1e999")
    report("another_field", "")
    assert [*page.rejected] == ["num_frames", "seed"]
    page.note = None
    monkeypatch.setattr(state.st, "session_state", Session(page))
    left_empty()
    assert page.note is None


@pytest.mark.usefixtures("home")
def test_the_number_that_streamlit_sends_for_an_empty_field_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = load_versions()
    page = PageState("0123456789ab", tabs.fresh(versions), versions)
    page.fields = {name: tab_field(page, name) for name in ("num_frames", "seed")}
    session = Session(page, numbers={"num_frames": 0, "seed": 7}, key="num_frames", text="6.7")
    monkeypatch.setattr(state.st, "session_state", session)
    left_empty()
    for field in page.fields.values():
        on_change(field)()
    assert page.rejected["num_frames"].value == "6.7"
    assert page.tab.controls["seed"] == 7


def test_an_empty_field_is_drawn_empty(open_page: Open) -> None:
    page = drop(open_page(), PHOTO)
    page.session_state["page"].rejected["num_frames"] = Rejected(None, "T must be ...; the field is empty")
    page.run()
    assert page.number_input(key="num_frames").value is None
    assert "the field is empty." in caption(page)
    assert press(page, "use_num_frames").number_input(key="num_frames").value == 14
    assert not page.button(key="sample").disabled


def page_of_compare() -> None:
    """Draw the Compare page of streamlit_app.py."""
    from img2vid.ui.compare.page import compare

    compare()


def page_of_sweeps() -> None:
    """Draw the Sweeps page of streamlit_app.py."""
    from img2vid.ui.sweeps.page import sweeps

    sweeps()


def test_a_rejected_value_in_a_column_disables_run(service: FakeService) -> None:
    page = drop(open_at(page_of_compare), PHOTO)
    typed(page, "column_1_num_frames", 500)
    assert page.button(key="compare_start").disabled
    assert "Column 2: T must be a whole number from 1 to 128 (frames), got 500." in caption(page)
    assert caption(page).count("got 500.") == 2, "only at the field and beside Run"
    typed(page, "column_0_fps", 7)
    assert problems(page) == ["column_1_num_frames"]
    press(page, "use_column_1_num_frames")
    assert page.number_input(key="column_1_num_frames").value == 128
    typed(page, "column_1_cond_aug", -1.0)
    press(page, "copy_0")  # other columns: the rejected value belongs to none of them
    assert problems(page) == []
    page.number_input(key="column_0_seed").set_value(-1)
    page.button(key="compare_start").click().run()
    assert service.store.jobs() == []


@pytest.mark.usefixtures("service")
def test_a_column_may_leave_the_frame_rate_of_the_file_empty() -> None:
    page = typed(drop(open_at(page_of_compare), PHOTO), "column_0_saving_fps", 12.0)
    assert problems(typed(page, "column_0_saving_fps", 0.0)) == ["column_0_saving_fps"]
    shared = page.session_state["page"]
    enter(shared, shared.fields["column_0_saving_fps"], None)
    assert comparison(shared).columns[0]["saving_fps"] is None
    assert problems(page.run()) == []


def test_a_rejected_value_of_the_sample_page_disables_a_sweep_unless_the_sweep_varies_it(service: FakeService) -> None:
    page = drop(open_at(page_of_sweeps), PHOTO)
    shared = page.session_state["page"]
    shared.rejected["num_frames"] = Rejected(500, "T must be less")
    page.run()
    assert page.button(key="sweep_start").disabled
    assert "T must be less." in caption(page)
    shared.rejected = {"seed": Rejected(-1, "seed must be more")}
    page.run()
    assert not page.button(key="sweep_start").disabled
    page.text_input(key="axis_1_seed").set_value("1, many").run()
    explained = caption(page).split(":red[:material/error: ")[1]
    assert "many" in explained.splitlines()[0]
    assert page.button(key="sweep_start").disabled
    assert service.store.jobs() == []
