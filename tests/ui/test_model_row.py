"""Model Version and Load Model: loaded, loading, missing and broken models."""

from pathlib import Path

import pytest
from driving import PHOTO, Open, bars, caption, drop, selectbox
from fake_service import FakeService
from fake_tasks import FakeTasks
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Checkbox

from img2vid.options import LoadOptions
from img2vid.ui import resources


def load_model(page: AppTest) -> Checkbox:
    (box,) = [box for box in page.checkbox if box.label == "Load Model"]
    return box


def test_ticking_loads_the_version_and_unticking_unloads_it(open_page: Open, service: FakeService) -> None:
    page = open_page()
    assert not load_model(page).value
    assert "No model loaded" in caption(page)
    load_model(page).check().run()
    assert service.calls == [("load", "svd_tiny", LoadOptions())]
    assert load_model(page).value
    assert "svd_tiny is about to load." in caption(page)
    load_model(page).uncheck().run()
    assert service.calls[1:] == [("unload",)]
    assert not load_model(page).value


def test_events_from_a_stale_load_model_widget_are_ignored(open_page: Open, service: FakeService) -> None:
    """After the program ticks the checkbox, the browser may still send its old value with another click."""
    page = open_page()
    old = load_model(page)
    service.has_loaded("svd_tiny")
    page.run()
    assert load_model(page).value and load_model(page).key != old.key
    old.check().run()
    old.uncheck().run()
    assert service.calls == []
    assert load_model(page).value
    load_model(page).uncheck().run()
    assert service.calls == [("unload",)]
    assert not load_model(page).value  # although the worker has not unloaded it yet
    load_model(page).check().run()
    assert service.calls[1:] == [("load", "svd_tiny", LoadOptions())]
    assert load_model(page).value


def test_a_model_that_must_wait_for_a_job_says_so(open_page: Open, service: FakeService) -> None:
    page = drop(open_page(), PHOTO)
    page.button(key="sample").click().run()
    service.begins(service.store.jobs()[0])
    load_model(page).check().run()
    assert "svd_tiny loads when the current job ends." in caption(page)


def test_the_bar_is_full_only_when_the_model_is_ready(open_page: Open, service: FakeService) -> None:
    service.load("svd_tiny", LoadOptions())
    service.is_loading("svd_tiny", 9_600_000_000, 9_600_000_000)
    ((share, _),) = bars(open_page())
    assert share == 97


def test_loading_is_counted_in_bytes(open_page: Open, service: FakeService) -> None:
    service.load("svd_tiny", LoadOptions())
    service.is_loading("svd_tiny", 2_400_000_000, 9_600_000_000)
    page = open_page()
    assert bars(page) == [(25, "Loading svd\\_tiny, 2.4 GB of 9.6 GB")]
    assert load_model(page).value


def test_a_loaded_model_is_shown_with_its_device_and_size(open_page: Open, service: FakeService) -> None:
    service.load("svd_tiny", LoadOptions())
    service.has_loaded("svd_tiny")
    page = open_page()
    assert "svd_tiny on CPU, 0.1 GB, ready" in caption(page)
    assert load_model(page).value
    drop(page, PHOTO)
    assert "2.3 s clip, estimate available after the first run, about 0.1 GB of memory" in caption(page)


def test_a_model_loaded_by_a_job_is_ticked_and_can_be_unloaded(open_page: Open, service: FakeService) -> None:
    service.has_loaded("svd_tiny")
    page = open_page()
    load_model(page).uncheck().run()
    assert service.calls == [("unload",)]
    assert not load_model(page).value  # although the worker has not unloaded it yet
    load_model(page).check().run()
    assert service.calls[1:] == [("load", "svd_tiny", LoadOptions())]
    assert load_model(page).value


def test_a_load_error_is_one_sentence_and_can_be_retried(open_page: Open, service: FakeService) -> None:
    service.load("svd_tiny", LoadOptions())
    service.has_failed_to_load("svd_tiny", "the file is cut off; download it again")
    page = open_page()
    assert "The file is cut off; download it again." in caption(page)
    assert not load_model(page).value
    load_model(page).check().run()
    assert service.calls[-1] == ("load", "svd_tiny", LoadOptions())


def test_a_missing_checkpoint_is_explained_and_the_page_stays_usable(open_page: Open, service: FakeService) -> None:
    page = open_page()
    drop(page, PHOTO)
    selectbox(page, "Model Version").set_value("svd_xt").run()
    text = caption(page) + "".join(one.value for one in page.markdown)
    for part in ("svd_xt.safetensors", "9.6 GB", "are free there", "checkpoints", "stable-video-diffusion-img2vid-xt"):
        assert part in text
    assert page.button(key="sample").disabled
    assert "Install the model first." in caption(page)
    assert load_model(page).disabled
    selectbox(page, "Model Version").set_value("svd_tiny").run()
    assert not page.info
    assert not page.button(key="sample").disabled


def test_a_missing_checkpoint_is_downloaded_in_place(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = FakeTasks()
    monkeypatch.setattr(resources, "open_checkpoint_tasks", lambda: tasks)
    page = open_page()
    assert "svd_xt, not installed, 9.6 GB" in selectbox(page, "Model Version").options
    assert "svd_tiny" in selectbox(page, "Model Version").options
    selectbox(page, "Model Version").set_value("svd_xt").run()
    page.button(key="download_svd_xt").click().run()
    assert tasks.calls == [("download", "svd_xt", None, None)]
    assert page.button(key="cancel_svd_xt").label == "Pause"
    selectbox(page, "Model Version").set_value("svd_tiny").run()
    assert not [button for button in page.button if str(button.key).endswith("_svd_xt")]


def test_an_old_label_of_the_version_is_no_other_version(open_page: Open) -> None:
    page = open_page()
    selectbox(page, "Model Version").set_value("svd_xt").run()
    page.number_input(key="num_steps").set_value(7).run()
    for label in ("svd_xt, not installed, 9 GB", "unknown, not installed, 9 GB"):
        selectbox(page, "Model Version")._value = label  # pyright: ignore[reportPrivateUsage]
        selectbox(page, "Model Version").options.append(label)
        page.run()
        assert not page.exception and not page.error
        assert selectbox(page, "Model Version").value == "svd_xt"
        assert page.number_input(key="num_steps").value == 7


def test_the_size_of_every_missing_checkpoint_is_shown(open_page: Open) -> None:
    page = open_page()
    for name in ("svd", "svd_image_decoder", "svd_xt", "svd_xt_image_decoder", "svd_xt_1_1"):
        selectbox(page, "Model Version").set_value(name).run()
        assert " GB" in "".join(one.value for one in page.markdown if "Not installed" in one.value)


@pytest.fixture
def second_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Version with a placeholder checkpoint file, which is never read here."""
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "svd_tiny_xt.safetensors").write_bytes(b"weights")
    monkeypatch.setenv("IMG2VID_CHECKPOINTS", str(tmp_path / "more"))
    return "svd_tiny_xt"


def test_with_load_model_ticked_another_version_is_loaded_at_once(
    service: FakeService, second_version: str, open_page: Open
) -> None:
    service.load("svd_tiny", LoadOptions())
    service.has_loaded("svd_tiny")
    page = open_page()
    selectbox(page, "Model Version").set_value(second_version).run()
    assert service.calls[-1] == ("load", second_version, LoadOptions())
    assert load_model(page).value


def test_without_load_model_ticked_another_version_loads_nothing(
    service: FakeService, second_version: str, open_page: Open
) -> None:
    page = open_page()
    selectbox(page, "Model Version").set_value(second_version).run()
    assert not service.calls
    assert not load_model(page).value


def test_changing_the_engine_reloads_a_ticked_model(open_page: Open, service: FakeService) -> None:
    service.load("svd_tiny", LoadOptions())
    service.has_loaded("svd_tiny")
    page = open_page()
    page.selectbox(key="provider").set_value("native").run()
    assert service.calls[-1] == ("load", "svd_tiny", LoadOptions(provider="native"))


def test_a_new_tab_starts_with_the_engine_of_the_environment(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMG2VID_ENGINE", "sgm")
    assert open_page().selectbox(key="provider").value == "sgm"


def test_checkpoints_are_not_checked_for_remote_workers(open_page: Open, service: FakeService) -> None:
    service.remote = True
    page = drop(open_page(), PHOTO)
    selectbox(page, "Model Version").set_value("svd_xt").run()
    assert not page.info
    page.button(key="sample").click().run()
    assert service.store.jobs()[0].settings.version == "svd_xt"


def test_a_slow_choice_is_reported_with_the_loaded_model(open_page: Open, service: FakeService) -> None:
    service.load("svd_tiny", LoadOptions(precision="bf16"))
    service.has_loaded("svd_tiny", advice="precision bf16 is slower than fp32 on this processor")
    assert "Precision bf16 is slower than fp32 on this processor." in caption(open_page())
