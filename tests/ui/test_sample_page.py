"""The Sample page: layout, stored settings and the jobs that Sample submits."""

import os
from copy import copy
from pathlib import Path
from typing import Any

import pytest
from driving import PHOTO, Open, caption, drop, labels, markdown, said, selectbox, tab_of
from fake_service import FakeService
from streamlit.testing.v1 import AppTest

from img2vid import paths
from img2vid.jobs.job import State
from img2vid.jobs.peaks import record_peak
from img2vid.options import LoadOptions
from img2vid.settings import SampleSettings
from img2vid.versions import find_version

MAIN = [
    "Model Version",
    "fps",
    "motion bucket id",
    "Conditioning augmentation",
    "num cols",
    "steps",
    "max-cfg-scale",
    "Decode t frames at a time",
    "Overwrite fps in mp4 generator",
]


def test_controls_have_the_reference_demos_order_and_labels(open_page: Open) -> None:
    page = open_page()
    shown = [label for label in labels(page.main) if label in MAIN]
    assert shown == MAIN
    added = ("Size", "Swap", "Randomize seed each run")
    shown = [label for label in labels(page.sidebar) if label not in added]
    assert shown[:7] == ["H", "W", "T", "seed", "Dice", "Save images locally", "Save path"]
    assert [box.label for box in page.sidebar.expander] == [
        "Sampler",
        "Discretization",
        "Guider",
        "Approximations",
        "Engine, precision, memory",
    ]
    assert [box.label for box in page.file_uploader] == ["Input"]
    assert [button.label for button in page.button if button.key in ("sample", "cancel")] == ["Sample", "Cancel"]


def test_every_control_starts_at_the_versions_default_and_has_a_help_text(open_page: Open) -> None:
    page = open_page()
    version = find_version("svd_tiny")
    settings = version.settings({})
    drawn: list[Any] = [*page.number_input, *page.selectbox, *page.checkbox]
    for widget in drawn:
        assert widget.help, widget.label
        if widget.key in SampleSettings.model_fields:
            assert widget.value == getattr(settings, widget.key), widget.key
    keys = {widget.key for widget in drawn}
    unused = {
        "saving_fps",
        "sigmas",
        "eta",
        "order",
        "scale",
        "period",
        "period_fusing",
        "fitting",
        "crop_offset",
        "object_share",
    }
    unused |= {"elevation", "trajectory", "elevations", "azimuths"}
    assert set(SampleSettings.model_fields) - keys == unused


def test_only_the_parameters_of_the_chosen_sampler_and_guider_are_drawn(open_page: Open) -> None:
    page = open_page()
    page.selectbox(key="sampler").set_value("LinearMultistepSampler").run()
    page.selectbox(key="guider").set_value("VanillaCFG").run()
    page.selectbox(key="discretization").set_value("LegacyDDPMDiscretization").run()
    keys = {widget.key for widget in page.number_input}
    assert {"order", "scale"} <= keys
    assert not keys & {"s_churn", "min_scale", "max_scale", "sigma_max"}
    page.selectbox(key="sampler").set_value("EulerEDMSampler").run()
    assert {"s_churn", "s_tmin", "s_tmax", "s_noise"} <= {widget.key for widget in page.number_input}


def test_enabled_approximations_are_listed_in_the_title(open_page: Open, service: FakeService) -> None:
    page = drop(open_page(), PHOTO)
    assert approximations(page).label == "Approximations"
    assert not approximations(page).proto.expanded
    assert "changes the result" in caption(page)
    page.number_input(key="guidance_sigma_max").set_value(50.0).run()
    page.number_input(key="block_cache").set_value(2).run()
    assert approximations(page).label == "Approximations: guidance up to sigma, block cache"
    page.button(key="sample").click().run()
    (job,) = service.store.jobs()
    assert job.settings == find_version("svd_tiny").settings({"guidance_sigma_max": 50.0, "block_cache": 2})
    page.button(key="defaults").click().run()
    assert approximations(page).label == "Approximations"


def test_an_approximation_that_the_engine_lacks_disables_sample_with_a_sentence(open_page: Open) -> None:
    page = drop(open_page(), PHOTO)
    page.number_input(key="block_cache").set_value(2).run()
    page.selectbox(key="provider").set_value("sgm").run()
    assert page.button(key="sample").disabled
    assert "The sgm engine has no approximations, got block_cache 2" in caption(page)
    page.number_input(key="block_cache").set_value(1).run()
    assert not page.button(key="sample").disabled


def approximations(page: AppTest) -> Any:
    (box,) = [box for box in page.sidebar.expander if box.label.startswith("Approximations")]
    return box


def test_without_an_input_sample_cannot_be_pressed_and_says_why(open_page: Open) -> None:
    page = open_page()
    assert page.button(key="sample").disabled
    assert "Add an image first" in caption(page)


def test_sample_submits_the_controls_and_the_image(open_page: Open, service: FakeService) -> None:
    page = open_page()
    drop(page, PHOTO)
    page.number_input(key="motion_bucket_id").set_value(80).run()
    page.number_input(key="num_steps").set_value(4).run()
    page.selectbox(key="precision").set_value("fp32").run()
    page.button(key="sample").click().run()
    (job,) = service.store.jobs()
    assert job.state is State.WAITING
    assert job.settings == find_version("svd_tiny").settings({"motion_bucket_id": 80, "num_steps": 4})
    assert (job.options.precision, job.picture_name) == ("fp32", "dogs")
    assert job.picture.read_bytes() == PHOTO.read_bytes()
    assert job.folder == service.store.home / "svd_tiny"


def test_values_that_arrive_together_with_the_press_on_sample_are_in_the_job(
    open_page: Open, service: FakeService
) -> None:
    """AppTest sends the main area before the sidebar, so Sample's callback runs before the seed's."""
    page = drop(open_page(), PHOTO)
    page.number_input(key="seed").set_value(77)
    page.number_input(key="fps").set_value(9)
    page.button(key="sample").click().run()
    assert [(job.settings.seed, job.settings.fps) for job in service.store.queue()] == [(77, 9)]


def test_engine_options_are_submitted_and_survive_a_reload(open_page: Open, service: FakeService) -> None:
    page = open_page()
    drop(page, PHOTO)
    page.selectbox(key="memory").set_value("stages").run()
    page.selectbox(key="decoder_precision").set_value("bf16").run()
    page.number_input(key="threads").set_value(3).run()
    page.checkbox(key="compile").check().run()
    again = open_page(tab_of(page))
    again.button(key="sample").click().run()
    (job,) = service.store.jobs()
    assert job.options == LoadOptions(memory="stages", decoder_precision="bf16", threads=3, compile=True)
    assert again.selectbox(key="memory").value == "stages"


def test_the_same_video_is_not_queued_twice_but_another_seed_is(open_page: Open, service: FakeService) -> None:
    page = open_page()
    drop(page, PHOTO)
    page.button(key="sample").click().run()
    page.button(key="sample").click().run()
    assert len(service.store.jobs()) == 1
    assert "Already in the queue" in caption(page)
    page.number_input(key="seed").set_value(24).run()
    page.button(key="sample").click().run()
    assert len(service.store.jobs()) == 2


def test_save_path_and_saving_nothing_choose_the_folder(open_page: Open, service: FakeService) -> None:
    page = open_page()
    drop(page, PHOTO)
    page.text_input(key="save_path").set_value(str(service.store.home / "mine")).run()
    page.button(key="sample").click().run()
    page.checkbox(key="save_locally").uncheck().run()
    assert not [box for box in page.text_input if box.key == "save_path"]
    page.button(key="sample").click().run()
    kept, mine = service.store.jobs()
    assert (mine.folder.name, kept.folder.name) == ("mine", "kept")


def test_a_save_path_that_cannot_be_used_is_refused_at_once(open_page: Open, service: FakeService) -> None:
    page = open_page()
    drop(page, PHOTO)
    home = service.store.home
    home.mkdir(exist_ok=True)
    (home / "file").touch()
    for text, sentence in {
        str(home / "file"): "Nothing can be written to the folder '",
        str(home / "file" / "below"): "Nothing can be written to the folder '",
        **({} if os.name == "nt" else {"~nobody-here/videos": "'~nobody-here/videos' is not a usable folder ("}),
        str(home / ("x" * 300)): f"'{home / 'xxx'}",
        str(home / ("x/" * 3000)): f"'{home / 'x/x'}",
        "a\0b": "'a\\x00b' is not a usable folder (",
        os.devnull: "Nothing can be written to the folder '",
        str(home / "new"): "",
    }.items():
        page.text_input(key="save_path").set_value(text).run()
        assert (said(page.error) if page.error else "").startswith(sentence) and not page.exception, text
    page.button(key="sample").click().run()
    assert [job.folder for job in service.store.jobs()] == [home / "new"]


def test_save_paths_are_made_absolute_and_lose_their_quotes(
    open_page: Open, service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = open_page()
    drop(page, PHOTO)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME" if os.name == "posix" else "USERPROFILE", str(tmp_path / "me"))
    for text in ("videos", "~/videos", f'"{tmp_path / "quoted"}"', f" {tmp_path}/a/../b "):
        page.text_input(key="save_path").set_value(text).run()
        page.button(key="sample").click().run()
        assert not page.error and not page.exception
    folders = [job.folder for job in reversed(service.store.jobs())]
    assert folders == [tmp_path / name for name in ("videos", "me/videos", "quoted", "b")]


def test_a_shared_page_saves_only_in_the_allowed_folders(
    open_page: Open, service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = open_page()
    drop(page, PHOTO)
    page.text_input(key="save_path").set_value(str(tmp_path / "theirs")).run()
    monkeypatch.setattr(paths, "_confines", None)
    paths.confine([])
    page = open_page(tab_of(page))  # the folder was entered before the page was shared
    page.button(key="sample").click().run()
    refusal = f"'{tmp_path / 'theirs'}' is outside the folders of this shared dashboard"
    assert said(page.error).startswith(refusal)
    assert service.store.jobs() == []
    for text, refused in {"/etc": True, f"{paths.home()}/../theirs": True, str(paths.home() / "mine"): False}.items():
        page.text_input(key="save_path").set_value(text).run()
        assert bool(page.error) == refused, text
    page.button(key="sample").click().run()
    assert [job.folder for job in service.store.jobs()] == [paths.home() / "mine"]


def test_dice_sets_a_random_seed_only(open_page: Open) -> None:
    page = open_page()
    page.number_input(key="fps").set_value(9).run()
    seeds = {page.button(key="dice").click().run().number_input(key="seed").value for _ in range(3)}
    assert len(seeds - {23}) >= 2
    assert page.number_input(key="fps").value == 9


def test_incompatible_settings_disable_sample_with_a_sentence(open_page: Open) -> None:
    page = open_page()
    drop(page, PHOTO)
    page.number_input(key="height").set_value(100).run()
    assert page.button(key="sample").disabled
    assert "must be a multiple of 16" in caption(page)
    page.number_input(key="height").set_value(112).run()
    assert not page.button(key="sample").disabled


def test_settings_outside_the_training_range_are_warned_about_and_allowed(open_page: Open) -> None:
    page = open_page()
    drop(page, PHOTO)
    assert "trained" not in caption(page)
    page.number_input(key="motion_bucket_id").set_value(400).run()
    assert "motion bucket id was trained up to 255" in caption(page)
    assert not page.button(key="sample").disabled


def test_the_clip_length_and_estimated_time_are_shown(open_page: Open, service: FakeService) -> None:
    from img2vid.jobs.estimate import Timing

    page = open_page()
    drop(page, PHOTO)
    assert "2.3 s clip, estimate available after the first run" in caption(page)
    timing = Timing.of(find_version("svd_tiny").settings({}), 30.0, 8.0, 40.0)
    service.store.record_timing("svd_tiny", {"provider": "native", "device": "cpu", "precision": "fp32"}, timing)
    page.run()
    assert "2.3 s clip, about 40 s to make" in caption(page)
    page.number_input(key="num_samples").set_value(2).run()
    page.number_input(key="fps").set_value(7).run()
    assert "2 clips of 2.0 s, about 80 s to make" in caption(page)


def test_the_memory_of_an_earlier_run_is_shown_before_the_next(open_page: Open, service: FakeService) -> None:
    page = drop(open_page(), PHOTO)
    assert "15 MB model" in caption(page)
    page.button(key="sample").click().run()
    (job,) = service.store.jobs()
    service.begins(job)
    record_peak(service.store, job.settings, job.options, 900_000_000)
    service.finishes(service.store.job(job.id))
    page.run()
    assert "2.3 s clip, estimate available after the first run, about 0.9 GB of memory" in caption(page)
    page.number_input(key="decode_t").set_value(1).run()
    assert "0.9 GB" not in caption(page)


def test_the_files_frame_rate_is_shown_when_it_is_ticked(open_page: Open) -> None:
    page = open_page()
    assert "saving_fps" not in {widget.key for widget in page.number_input}
    page.checkbox(key="overwrite_fps").check().run()
    assert page.number_input(key="saving_fps").value == 6
    page.number_input(key="saving_fps").set_value(12.0).run()
    assert "1.2 s clip" in estimate_with_input(page)
    page.checkbox(key="overwrite_fps").uncheck().run()
    assert "2.3 s clip" in caption(page)


def estimate_with_input(page: AppTest) -> str:
    return caption(drop(page, PHOTO))


def test_switching_the_version_changes_its_own_settings(open_page: Open) -> None:
    page = open_page()
    page.number_input(key="fps").set_value(9).run()
    page.number_input(key="decode_t").set_value(1).run()
    selectbox(page, "Model Version").set_value("svd_xt").run()
    values = {widget.key: widget.value for widget in page.number_input}
    assert (values["height"], values["width"], values["num_frames"]) == (576, 1024, 25)
    assert (values["num_steps"], values["max_scale"], values["min_scale"]) == (30, 3.0, 1.5)
    assert (values["fps"], values["decode_t"]) == (9, 1)
    assert page.number_input(key="height").step == 64


def test_defaults_brings_every_control_back_but_not_the_seed(open_page: Open) -> None:
    page = open_page()
    page.number_input(key="seed").set_value(5).run()
    page.number_input(key="fps").set_value(9).run()
    page.selectbox(key="sampler").set_value("HeunEDMSampler").run()
    page.button(key="defaults").click().run()
    assert page.number_input(key="fps").value == 6
    assert page.selectbox(key="sampler").value == "EulerEDMSampler"
    assert page.number_input(key="seed").value == 5


def test_a_preset_sets_the_controls_and_is_named_while_they_equal_it(open_page: Open) -> None:
    page = open_page()
    assert selectbox(page, "Preset").value == "Reference"
    page.number_input(key="seed").set_value(5).run()
    selectbox(page, "Preset").set_value("Fast").run()
    assert page.selectbox(key="discretization").value == "AYSDiscretization"
    assert (page.number_input(key="num_steps").value, page.number_input(key="seed").value) == (10, 5)
    assert selectbox(page, "Preset").value == "Fast"
    page.number_input(key="num_steps").set_value(12).run()
    assert selectbox(page, "Preset").value is None


def test_a_browser_that_still_shows_the_old_preset_does_not_apply_it_again(open_page: Open) -> None:
    page = open_page()
    stale = copy(page._tree)  # pyright: ignore[reportPrivateUsage]
    shown, numbers = selectbox(page, "Preset"), page.number_input
    page.number_input(key="num_steps").set_value(12).run()
    for key, value in (("num_steps", 12), ("fps", 9)):
        next(box for box in numbers if box.key == key).set_value(value)
    shown.set_value("Reference")
    page._tree = stale  # pyright: ignore[reportPrivateUsage]
    page.run()
    assert (page.number_input(key="num_steps").value, page.number_input(key="fps").value) == (12, 9)


def test_a_preset_is_saved_by_name_and_deleted(open_page: Open) -> None:
    page = open_page()
    page.number_input(key="num_steps").set_value(12).run()
    page.text_input(key="preset_name").set_value("Mine").run()
    page.button(key="preset_save").click().run()
    assert selectbox(page, "Preset").value == "Mine"
    selectbox(page, "Preset").set_value("Reference").run()
    assert page.number_input(key="num_steps").value == 25
    selectbox(page, "Preset").set_value("Mine").run()
    assert page.number_input(key="num_steps").value == 12
    page.button(key="preset_delete").click().run()
    assert selectbox(page, "Preset").value is None
    assert selectbox(page, "Preset").options == ["Reference", "Fast", "Draft"]
    page.text_input(key="preset_name").set_value("Fast").run()
    page.button(key="preset_save").click().run()
    assert "Fast is a preset of img2vid; choose another name." in said(page.error)


def test_controls_and_input_survive_a_reload(open_page: Open) -> None:
    page = open_page()
    drop(page, PHOTO)
    page.number_input(key="fps").set_value(9).run()
    page.slider(key="crop_offset").set_value(0.2).run()
    page.selectbox(key="sampler").set_value("DPMPP2MSampler").run()
    page.selectbox(key="device").set_value("cpu").run()
    again = open_page(tab_of(page))
    assert tab_of(again) == tab_of(page)
    assert again.number_input(key="fps").value == 9
    assert again.slider(key="crop_offset").value == 0.2
    assert again.selectbox(key="sampler").value == "DPMPP2MSampler"
    assert again.selectbox(key="device").value == "cpu"
    assert "dogs, as the model sees it" in caption(again)
    assert not again.button(key="sample").disabled


def test_a_second_tab_starts_as_a_copy_of_the_first_and_is_independent(open_page: Open) -> None:
    first = open_page()
    first.number_input(key="fps").set_value(9).run()
    second = open_page()
    assert tab_of(second) != tab_of(first)
    assert second.number_input(key="fps").value == 9
    second.number_input(key="fps").set_value(20).run()
    assert first.run().number_input(key="fps").value == 9
    assert open_page(tab_of(first)).number_input(key="fps").value == 9
    assert open_page(tab_of(second)).number_input(key="fps").value == 20


def test_a_broken_list_of_versions_is_one_sentence(open_page: Open, configs: Any) -> None:
    configs("svd_tiny: nonsense\n")
    page = open_page()
    (error,) = page.error
    assert "the fields of a version belong here" in error.value
    assert not page.button
    assert "Traceback" not in markdown(page)


def test_an_invalid_scheduler_address_is_one_sentence_and_the_page_is_drawn(
    open_page: Open, service: FakeService
) -> None:
    service.wrong_address = "IMG2VID_SCHEDULER must be an address like tcp://host:8786, got 'here'"
    page = open_page()
    assert said(page.error) == "IMG2VID_SCHEDULER must be an address like tcp://host:8786, got 'here'."
    assert page.button(key="sample")
