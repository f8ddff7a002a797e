"""The Gallery page: filters, selection, state after a reload, and each button."""

import datetime
import json
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from driving import caption, markdown, open_at, press, said, tab_of
from fake_service import FakeService
from streamlit.testing.v1 import AppTest

from img2vid import paths
from img2vid.background import BackgroundTasks, Count
from img2vid.gallery.entries import Entries, Entry, Filter
from img2vid.gallery.trash import files_of
from img2vid.options import LoadOptions
from img2vid.settings_validation import make_settings
from img2vid.ui import resources
from img2vid.ui.gallery import page as gallery_page
from img2vid.ui.shared import measuring
from img2vid.versions import find_version

PHOTO = b"a picture"
Open = Callable[..., AppTest]


@pytest.fixture
def entries(service: FakeService) -> Entries:
    return Entries(service.store)


@pytest.fixture
def tasks(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> BackgroundTasks[Count]:
    """Background tasks of the test, without cleanup or measuring in the background."""
    own: BackgroundTasks[Count] = BackgroundTasks()
    monkeypatch.setattr(resources, "open_gallery_tasks", lambda: own)
    monkeypatch.setattr(gallery_page, "tidy", lambda: None)
    monkeypatch.setattr(measuring, "ask", lambda entries: False)
    return own


def page_of_gallery() -> None:
    """Draw the Gallery page of streamlit_app.py."""
    from img2vid.ui.gallery.page import gallery

    gallery()


@pytest.fixture
def open_gallery(tasks: BackgroundTasks[Count]) -> Open:
    def open_one(tab: str | None = None) -> AppTest:
        return sound(open_at(page_of_gallery, tab))

    return open_one


def sound(page: AppTest) -> AppTest:
    assert not page.exception
    assert said(page.error) == ""
    return page


def make(service: FakeService, name: str = "dogs", seed: int = 23, **values: Any) -> Entry:
    """Return a new video with its files, one second newer than the last."""
    settings = find_version(values.pop("version", "svd_tiny")).settings({"seed": seed, **values})
    job = service.finishes(service.submit([(settings, LoadOptions())], PHOTO, name, ".png")[0])
    return Entries(service.store).find_by_job(job.id)[0]


def shown(page: AppTest) -> list[int]:
    """Return the numbers of the videos on the page, in order."""
    return [int(str(button.key).partition("_")[2]) for button in page.button if str(button.key).startswith("open_")]


def box(page: AppTest, number: int) -> Any:
    return next(box for box in page.checkbox if str(box.key).startswith(f"choose_{number}_"))


def filter_of(page: AppTest, name: str) -> Any:
    """Return the widget of a filter."""
    widgets = [*page.text_input, *page.multiselect, *page.selectbox, *page.date_input, *page.toggle]
    return next(widget for widget in widgets if str(widget.key).startswith(f"find_{name}_"))


def choose(page: AppTest, *numbers: int) -> AppTest:
    for number in numbers:
        box(page, number).check().run()
    return sound(page)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_empty_gallery_says_what_will_be_there(open_gallery: Open) -> None:
    page = open_gallery()
    assert "0 videos" in markdown(page)
    assert "Your videos appear here." in caption(page)


def test_videos_are_shown_newest_first_with_what_they_are(
    open_gallery: Open, service: FakeService, entries: Entries
) -> None:
    made = [make(service, seed=seed) for seed in (1, 2, 3)]
    entries.rate(made[1].number, 4)
    page = open_gallery()
    assert shown(page) == [entry.number for entry in reversed(made)]
    assert page.button(key=f"open_{made[0].number}").label.replace("\\", "") == "svd_tiny, seed 1"
    assert "dogs · ★★★★ 4" in caption(page)


def test_cards_are_sorted_and_sized(open_gallery: Open, service: FakeService, entries: Entries) -> None:
    made = [make(service, name, seed=seed) for name, seed in (("lake", 1), ("Brook", 2), ("dogs", 3))]
    entries.rate(made[0].number, 2)
    first, second, third = (entry.number for entry in made)
    page = open_gallery()
    orders = {"Oldest": [first, second, third], "Rating": [first, third, second], "Picture": [second, third, first]}
    for order, numbers in orders.items():
        page.selectbox(key="find_order_0").select(order).run()
        assert shown(page) == numbers
    press(page, f"open_{third}")
    assert "2 of 3" in markdown(page) and page.button(key="older_entry").label == "Next"
    press(page, "older_entry")
    assert "dogs" not in caption(page) and "3 of 3" in markdown(page)
    press(page, "close_entry")
    page.selectbox(key="find_size_0").select("Large").run()
    again = open_gallery(tab_of(page))
    assert shown(again) == orders["Picture"] and again.selectbox(key="find_size_0").value == "Large"


def test_cards_name_what_differs(open_gallery: Open, service: FakeService) -> None:
    make(service, seed=5, num_steps=3, fps=9)
    assert "dogs · fps 9 · steps 3" in caption(open_gallery()).replace("\\", "")


def test_twenty_four_stand_on_a_page_and_the_others_are_turned_to(
    open_gallery: Open, service: FakeService, entries: Entries
) -> None:
    first = make(service)
    for _ in range(49):
        entries.add_imported(first.result, first.settings, LoadOptions(), PHOTO, "dogs", ".png")
    page = open_gallery()
    assert len(shown(page)) == 24 and "Page **1** of 3" in markdown(page)
    assert page.button(key="newer_top").disabled
    press(page, "older_bottom")
    press(page, "last_top")
    assert len(shown(page)) == 2 and "Page **3** of 3" in markdown(page)
    assert shown(open_gallery(tab_of(page))) == shown(page)  # after a reload


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("text", "BRO", {"brook"}),
        ("text", "sunny day", {"dogs"}),
        ("text", "svd_tiny_xt", {"brook"}),
        ("text", "nothing of the kind", set[str]()),
        ("versions", ["svd_tiny"], {"dogs", "mountains"}),
        ("least_rating", 4, {"dogs"}),
        ("tags", ["show"], {"mountains"}),
        ("since", datetime.date.today() + datetime.timedelta(days=1), set[str]()),
        ("until", datetime.date.today() + datetime.timedelta(days=1), {"dogs", "brook", "mountains"}),
    ],
)
def test_filters_find_what_they_say_and_are_kept(
    open_gallery: Open, service: FakeService, entries: Entries, name: str, value: Any, found: set[str]
) -> None:
    dogs, brook, mountains = (
        make(service, "dogs"),
        make(service, "brook", version="svd_tiny_xt"),
        make(service, "mountains"),
    )
    entries.rate(dogs.number, 5)
    entries.rate(brook.number, 2)
    entries.annotate(dogs.number, "A sunny day")
    entries.tag(mountains.number, ["for the show", "show"])
    page = open_gallery()
    filter_of(page, name).set_value(value).run()
    for one in (page, open_gallery(tab_of(page))):
        assert {entries.entry(number).job.picture_name for number in shown(one)} == found
        assert f"**{len(found)} video{'' if len(found) == 1 else 's'}** found" in markdown(one)
    press(page, "find_nothing")
    assert len(shown(page)) == 3


def test_a_new_filter_begins_at_its_first_page(open_gallery: Open, service: FakeService, entries: Entries) -> None:
    first = make(service)
    for _ in range(30):
        entries.add_imported(first.result, first.settings, LoadOptions(), PHOTO, "dogs", ".png")
    page = press(open_gallery(), "older_top")
    filter_of(page, "text").set_value("dogs").run()
    assert "Page **1** of 2" in markdown(page)


def test_what_is_deleted_comes_back_with_undo(open_gallery: Open, service: FakeService, entries: Entries) -> None:
    made = [make(service, seed=seed) for seed in (1, 2, 3)]
    page = choose(open_gallery(), made[0].number, made[2].number)
    press(page, "delete_chosen")
    assert shown(sound(page)) == [made[1].number] and "2 videos deleted." in caption(page)
    assert not made[0].result.video.exists()
    page = press(open_gallery(tab_of(page)), "undo_delete")
    assert len(shown(sound(page))) == 3 and "2 videos restored." in caption(page)
    assert all(path.is_file() for path in files_of(made[0].result)[:3])
    assert "undo_delete" not in [button.key for button in page.button]


def test_undo_is_about_what_was_deleted_last_and_the_rest_is_in_the_trash(
    open_gallery: Open, service: FakeService, entries: Entries
) -> None:
    made = [make(service, seed=seed) for seed in (1, 2)]
    page = open_gallery()
    for entry in made:
        press(choose(page, entry.number), "delete_chosen")
    press(page, "undo_delete")
    assert shown(page) == [made[1].number]
    filter_of(page, "deleted").set_value(True).run()
    assert shown(page) == [made[0].number] and "deleted permanently in 30 days" in caption(page)
    press(choose(page, made[0].number), "restore_chosen")
    filter_of(page, "deleted").set_value(False).run()
    assert len(shown(page)) == 2


def test_permanent_deletion_needs_confirmation(open_gallery: Open, service: FakeService, entries: Entries) -> None:
    made = [make(service, seed=seed) for seed in (1, 2, 3)]
    page = press(choose(open_gallery(), *(entry.number for entry in made)), "delete_chosen")
    filter_of(page, "deleted").set_value(True).run()
    press(choose(page, made[0].number), "purge_chosen")
    assert len(shown(page)) == 2 and "1 video permanently deleted." in caption(page)
    press(page, "empty_trash")
    assert entries.count(Filter(deleted=True)) == 0 and "2 videos permanently deleted." in caption(page)
    assert list((service.store.home / "trash").iterdir()) == []


def test_changes_by_the_program_create_new_widgets(open_gallery: Open, service: FakeService) -> None:
    """Values of stale widgets, which the browser sends with the next click, are ignored."""
    number = make(service).number
    page = open_gallery()
    old = box(page, number)
    press(page.run(), "choose_page")
    assert box(page, number).value and box(page, number).key != old.key
    ticked = box(page, number).key
    old.check().run()
    old.uncheck().run()
    assert "1 selected" in markdown(page)
    assert box(page, number).value and box(page, number).key == ticked
    box(page, number).uncheck().run()
    assert not box(page, number).value and box(page, number).key == ticked
    filter_of(page, "text").set_value("dogs").run()
    before = filter_of(page, "text").key
    press(page, "find_nothing")
    assert filter_of(page, "text").value == "" and filter_of(page, "text").key != before


def test_a_chosen_page_is_tagged_and_the_tags_are_taken_away(
    open_gallery: Open, service: FakeService, entries: Entries
) -> None:
    made = [make(service, seed=seed) for seed in (1, 2)]
    page = press(open_gallery(), "choose_page")
    page.text_input(key="new_tag").set_value("good, for the show").run()
    press(page, "add_tag")
    assert entries.entry(made[0].number).tags == ("good", "for the show") and entries.tags() == ["for the show", "good"]
    page.text_input(key="new_tag").set_value("good").run()
    press(page, "take_tag")
    assert entries.entry(made[1].number).tags == ("for the show",)


def test_a_selection_is_exported_in_the_background(
    open_gallery: Open, service: FakeService, tasks: BackgroundTasks[Count], home: Path
) -> None:
    made = [make(service, seed=seed) for seed in (1, 2, 3)]
    page = press(choose(open_gallery(), made[0].number, made[1].number), "export_chosen")
    until(lambda: (task := tasks.get("export")) is not None and not task.active)
    sound(page.run())
    (file,) = (home / "exports").iterdir()
    assert f"2 videos in {file}." in said(page.info)
    with zipfile.ZipFile(file) as archive:
        assert "dogs_svd_tiny_seed1.mp4" in archive.namelist() and "measurements.csv" in archive.namelist()
    press(page, "forget_export")
    assert said(page.info) == ""


def test_a_folder_is_imported_and_what_is_left_out_is_named(
    open_gallery: Open, service: FakeService, entries: Entries, tasks: BackgroundTasks[Count], tmp_path: Path
) -> None:
    made = make(service)
    theirs = tmp_path / "usb"
    theirs.mkdir()
    (theirs / "copy.mp4").write_bytes(made.result.video.read_bytes())
    (theirs / "other.mp4").write_bytes(b"no video")
    page = open_gallery()
    page.text_input(key="import_folder").set_value(str(theirs)).run()
    press(page, "import")
    until(lambda: (task := tasks.get("import")) is not None and not task.active)
    sound(page.run())
    assert len(shown(page)) == 2 and "1 video imported from" in said(page.info)
    assert page.code[0].value.startswith("other.mp4: ")
    assert "imported" in caption(page)


def test_a_missing_folder_is_reported_in_a_sentence(open_gallery: Open) -> None:
    page = open_gallery()
    page.text_input(key="import_folder").set_value("/no/such/folder").run()
    press(page, "import", refused=True)
    assert (
        said(page.error) == "There is no folder '/no/such/folder'; enter the full path, as the file manager shows it."
    )


def test_a_shared_page_imports_only_from_the_allowed_folders(
    open_gallery: Open, tasks: BackgroundTasks[Count], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "_confines", None)
    paths.confine([])
    page = open_gallery()
    for text in ("/", "/no/such/folder", "~", f"{paths.home()}/.."):
        page.text_input(key="import_folder").set_value(text).run()
        press(page, "import", refused=True)
        assert said(page.error).startswith(f"'{text}' is outside the folders of this shared dashboard")
    assert tasks.get("import") is None


def test_an_open_video_shows_its_details_and_stays_open(
    open_gallery: Open, service: FakeService, entries: Entries
) -> None:
    entry = make(service, motion_bucket_id=61, num_steps=7)
    service.store.record_notice(entry.job.id, "decode_t was halved")
    page = press(open_gallery(), f"open_{entry.number}")
    for one in (page, open_gallery(tab_of(page))):
        text = markdown(sound(one))
        assert "| motion bucket id | **61** | 30 |" in text and "| steps | **7** | 25 |" in text
        assert text.index("motion bucket id") < text.index("| fps | 6 |")
        assert one.code[0].value == str(entry.result.video)
        assert "Decode_t was halved." in one.code[1].value and entry.job.id in one.code[1].value
        assert len(one.get("video")) == 1
    assert shown(press(page, "close_entry")) == [entry.number]


def test_ratings_notes_and_tags_are_kept(open_gallery: Open, service: FakeService, entries: Entries) -> None:
    number = make(service).number
    page = press(open_gallery(), f"open_{number}")
    page.feedback(key=f"rate_{number}").set_value(3).run()
    page.text_area(key=f"note_{number}").set_value(" the best one ").run()
    page.multiselect(key=f"tags_{number}").set_value(["good"]).run()
    entry = entries.entry(number)
    assert (entry.rating, entry.note, entry.tags) == (4, "the best one", ("good",))
    again = sound(open_gallery(tab_of(page)))
    assert again.text_area(key=f"note_{number}").value == "the best one"
    assert again.feedback(key=f"rate_{number}").value == 3


def test_from_one_video_to_the_next_within_what_is_found(open_gallery: Open, service: FakeService) -> None:
    made = [make(service, name) for name in ("dogs", "brook", "dogs", "dogs")]
    page = open_gallery()
    filter_of(page, "text").set_value("dogs").run()
    press(page, f"open_{made[3].number}")
    assert page.button(key="newer_entry").disabled and "1 of 3" in markdown(page)
    press(page, "older_entry")
    assert "2 of 3" in markdown(page)
    press(page, "older_entry")
    assert "3 of 3" in markdown(page) and page.button(key="older_entry").disabled
    assert made[0].result.video.name in page.code[0].value


def test_videos_of_one_moment_have_their_places(open_gallery: Open, service: FakeService, entries: Entries) -> None:
    first = make(service)
    what = (first.result, first.settings, LoadOptions(), PHOTO, "x", ".png")
    same = [entries.add_imported(*what, created=first.created) for _ in range(3)]
    page = press(open_gallery(), f"open_{same[1].number}")
    assert "2 of 4" in markdown(page)


def test_settings_are_used_again(
    open_gallery: Open, service: FakeService, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    went: list[str] = []
    monkeypatch.setattr("streamlit.switch_page", lambda page: went.append(page.title))
    entry = make(service, seed=5, motion_bucket_id=61)
    page = press(open_gallery(), f"open_{entry.number}")
    press(page, "use_entry")
    tab = json.loads((home / "tabs" / f"{tab_of(page)}.json").read_text())
    assert (tab["controls"]["seed"], tab["controls"]["motion_bucket_id"]) == (5, 61)
    assert tab["picture"]["file"] == entry.job.picture.name
    assert went == ["Sample"]


def test_a_video_is_sent_to_compare(
    open_gallery: Open, service: FakeService, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    went: list[str] = []
    monkeypatch.setattr("streamlit.switch_page", lambda page: went.append(page.title))
    entry = make(service, seed=5, motion_bucket_id=61)
    page = press(press(open_gallery(), f"open_{entry.number}"), "compare_entry")
    tab = json.loads((home / "tabs" / f"{tab_of(page)}.json").read_text())
    assert 61 in [column["motion_bucket_id"] for column in tab["pages"]["compare"]["columns"]]
    assert went == ["Compare"]


def test_a_new_tab_looks_at_all_videos_with_the_filters_of_the_last_one(
    open_gallery: Open, service: FakeService
) -> None:
    number = make(service).number
    page = open_gallery()
    filter_of(page, "text").set_value("dogs").run()
    press(page, "choose_page")
    press(page, f"open_{number}")
    new = open_gallery()
    assert shown(new) == [number] and not box(new, number).value
    assert filter_of(new, "text").value == "dogs"


def test_settings_of_a_version_that_is_not_here_are_refused_and_the_tab_stays(
    open_gallery: Open, service: FakeService, entries: Entries
) -> None:
    first = make(service)
    values = {**first.settings.model_dump(), "version": "my_own"}
    metadata = {**first.result.metadata, "settings": values}
    result = type(first.result)(**{**vars(first.result), "metadata": metadata})
    odd = entries.add_imported(result, make_settings(values), LoadOptions(), PHOTO, "x", ".png")
    page = press(open_gallery(), f"open_{odd.number}")
    press(page, "use_entry", refused=True)
    assert "There is no model version 'my_own' here" in said(page.error)


def test_a_video_whose_file_is_gone_is_shown_as_such_and_can_be_forgotten(
    open_gallery: Open, service: FakeService, entries: Entries
) -> None:
    entry = make(service)
    entry.result.video.unlink()
    page = open_gallery()
    assert "File missing" in caption(page)
    press(page, f"open_{entry.number}")
    assert "no longer exists" in said(page.warning)
    press(page, "delete_entry")
    assert entries.count() == 0 and shown(sound(page)) == []


def test_a_still_that_is_gone_or_damaged_takes_nothing_else_with_it(open_gallery: Open, service: FakeService) -> None:
    made = [make(service, seed=seed) for seed in (1, 2, 3)]
    made[0].result.still.unlink()
    made[1].result.still.write_bytes(b"no picture")
    assert len(shown(open_gallery())) == 3


def test_invalid_values_in_a_tab_file_get_their_defaults(open_gallery: Open, service: FakeService, home: Path) -> None:
    make(service)
    page = press(open_gallery(), "choose_page")
    file = home / "tabs" / f"{tab_of(page)}.json"
    values = json.loads(file.read_text())
    values["pages"]["gallery"] = {"page": "many", "since": "yesterday", "tags": [1, "x"], "open": 10**12, "chosen": 5}
    file.write_text(json.dumps(values))
    again = open_gallery(tab_of(page))
    assert filter_of(again, "tags").value == []
