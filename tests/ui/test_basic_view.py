"""Basic and All settings on the Sample page, sizes to choose from, and random seeds."""

from collections.abc import Callable
from pathlib import Path

import pytest
from driving import PHOTO, Open, caption, drop, labels, press, selectbox, tab_of
from fake_service import FakeService
from PIL import Image
from streamlit.testing.v1 import AppTest
from sv3d_model import small_rows

from img2vid.ui.sample.size import fitted, offers
from img2vid.versions import find_version

TINY = ["160 \u00d7 96", "96 \u00d7 160", "128 \u00d7 128"]
FULL = ["1024 \u00d7 576", "576 \u00d7 1024", "768 \u00d7 768"]


def basic(page: AppTest) -> AppTest:
    page.button_group(key="view").set_value("Basic").run()
    assert not page.exception
    return page


def size(page: AppTest) -> tuple[int, int]:
    controls = page.session_state["page"].tab.controls
    return controls["width"], controls["height"]


def test_basic_has_only_the_most_important_controls(open_page: Open) -> None:
    page = basic(drop(open_page(), PHOTO))
    shown = ["Load Model", "Fitting", "Size", "Swap", "motion bucket id", "seed", "Dice", "Randomize seed each run"]
    found = [label for label in labels(page.main) if label in (*shown, "Model Version", "fps", "steps", "T", "H")]
    assert found == ["Model Version", *shown]
    assert labels(page.sidebar) == ["Save images locally", "Save path", "Reset to svd_tiny defaults"]
    assert "Describe it" in [box.label for box in page.expander]
    assert not page.button(key="sample").disabled


def test_the_view_is_kept_with_the_tab_and_for_new_tabs(open_page: Open) -> None:
    page = open_page()
    assert page.button_group(key="view").value == "All settings"
    basic(page)
    assert open_page(tab_of(page)).button_group(key="view").value == "Basic"
    assert "fps" not in labels(open_page().main)
    page.button_group(key="view").set_value("All settings").run()
    assert "fps" in labels(page.main)


def test_basic_names_each_hidden_setting_that_is_not_the_default(open_page: Open, service: FakeService) -> None:
    page = drop(open_page(), PHOTO)
    for key, value in {"num_steps": 30, "num_frames": 9, "motion_bucket_id": 80, "fps": 0}.items():
        page.number_input(key=key).set_value(value).run()
    page.selectbox(key="guider").set_value("VanillaCFG").run()
    page.selectbox(key="precision").set_value("fp32").run()
    assert "Also set" not in caption(page)
    basic(page)
    named = "T 9, fps 0, steps 30, Guider VanillaCFG, Precision fp32"
    assert f"Also set: {named}. **All settings** shows them." in caption(page)
    assert page.button(key="sample").disabled
    page.session_state["page"].set(fps=6)
    page.run()
    press(page, "sample")
    (job,) = service.store.jobs()
    assert (job.settings.num_steps, job.settings.motion_bucket_id, job.settings.guider) == (30, 80, "VanillaCFG")
    press(page, "defaults")
    assert "Also set: Precision fp32." in caption(page)


def test_basic_shows_the_camera_instead_of_the_motion(open_page: Open, configs: Callable[..., Path]) -> None:
    configs(small_rows())
    page = basic(open_page())
    selectbox(page, "Model Version").set_value("sv3d_p").run()
    camera = ("elev_deg", "Trajectory", "motion bucket id", "elevations")
    assert [label for label in labels(page.main) if label in camera] == ["elev_deg", "Trajectory"]
    selectbox(page, "Model Version").set_value("sv3d_u").run()
    assert [label for label in labels(page.main) if label in camera] == ["elev_deg"]


def test_sizes_follow_the_version_and_the_picture(open_page: Open) -> None:
    page = open_page()
    assert (selectbox(page, "Size").options, selectbox(page, "Size").value) == (TINY, "160 \u00d7 96")
    selectbox(page, "Size").set_value("128 \u00d7 128").run()
    assert (size(page), selectbox(page, "Size").value) == ((128, 128), "128 \u00d7 128")
    assert page.button(key="swap_size").disabled
    drop(page, PHOTO)
    width, height = Image.open(PHOTO).size
    (match,) = [label for label in selectbox(page, "Size").options if label not in TINY]
    selectbox(page, "Size").set_value(match).run()
    matched = size(page)
    assert match == f"Match picture, {matched[0]} \u00d7 {matched[1]}"
    assert abs(matched[0] / matched[1] - width / height) < 0.1
    press(page, "swap_size")
    assert size(page) == matched[::-1]
    assert selectbox(page, "Size").value is None
    assert page.number_input(key="width").value == matched[1]
    selectbox(page, "Model Version").set_value("svd_xt").run()
    assert selectbox(page, "Size").options[:3] == FULL
    assert selectbox(page, "Size").value == "1024 \u00d7 576"


@pytest.mark.parametrize(
    ("aspect", "expected"),
    [(1024 / 576, (1024, 576)), (1, (768, 768)), (3 / 2, (960, 640)), (100, (2048, 64)), (0.01, (64, 2048))],
)
def test_a_fitted_size_is_valid_and_has_the_picture_s_proportions(aspect: float, expected: tuple[int, int]) -> None:
    assert fitted(find_version("svd_xt"), aspect, 1024 * 576) == expected


def test_models_of_objects_have_their_own_size_only(open_page: Open) -> None:
    page = drop(open_page(), PHOTO)
    selectbox(page, "Model Version").set_value("sv3d_u").run()
    assert [*offers(page.session_state["page"])] == ["576 \u00d7 576"]


def test_a_browser_that_still_shows_the_old_size_does_not_choose_it_again(open_page: Open) -> None:
    page = open_page()
    stale = selectbox(page, "Size").key
    selectbox(page, "Size").set_value("128 \u00d7 128").run()
    assert selectbox(page, "Size").key != stale


def test_randomize_sets_a_seed_before_each_run(open_page: Open, service: FakeService) -> None:
    page = drop(open_page(), PHOTO)
    page.checkbox(key="randomize").check().run()
    assert "160 \u00d7 96, 14 frames, random seed, 2.3 s clip" in caption(page)
    for _ in range(3):
        press(page, "sample")
        assert page.number_input(key="seed").value == service.store.jobs()[0].settings.seed
    assert len({job.settings.seed for job in service.store.jobs()} - {23}) == 3
    again = open_page(tab_of(page))
    assert again.checkbox(key="randomize").value
    again.checkbox(key="randomize").uncheck().run()
    again.number_input(key="seed").set_value(5).run()
    press(again, "sample")
    assert service.store.jobs()[0].settings.seed == 5


def test_the_line_beside_sample_names_size_frames_and_seed(open_page: Open) -> None:
    page = open_page()
    assert "Add an image first. 160 \u00d7 96, 14 frames, seed 23." in caption(page)
    drop(page, PHOTO)
    page.number_input(key="num_samples").set_value(2).run()
    page.number_input(key="num_frames").set_value(8).run()
    assert "160 \u00d7 96, 8 frames, seeds 23 to 24, 2 clips of 1.3 s" in caption(page)
