"""Work in the background: one of a name at a time, told how far it is, stopped, and whatever happens it ends."""

import threading
import time
from pathlib import Path

import pytest

from img2vid.background import Chore, Chores, OnProgress, Outcome
from img2vid.errors import Cancelled, MediaError


def ended(chores: Chores, name: str = "import") -> Chore:
    deadline = time.monotonic() + 30
    while (chore := chores.of(name)) is None or chore.active:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return chore


def test_one_of_a_name_goes_on_at_a_time_and_others_beside_it() -> None:
    chores, go = Chores(), threading.Event()

    def work(on_progress: OnProgress) -> Outcome:
        on_progress(1, 2)
        assert go.wait(30)
        return Outcome("two videos", ("a line",), Path("a.zip"))

    assert chores.start("import", work)
    assert not chores.start("import", work)
    assert chores.start("export", lambda on_progress: Outcome("another"))
    assert ended(chores, "export").outcome.text == "another"
    chores.forget("import")  # not while it goes on
    go.set()
    chore = ended(chores)
    assert (chore.state, chore.outcome) == ("done", Outcome("two videos", ("a line",), Path("a.zip")))
    assert (chore.done, chore.total) == (1, 2)
    chores.forget("import")
    assert chores.of("import") is None
    assert chores.start("import", work)
    ended(chores)


def test_it_stops_when_asked_to() -> None:
    chores, go = Chores(), threading.Event()

    def work(on_progress: OnProgress) -> Outcome:
        assert go.wait(30)
        try:
            on_progress(1, 5)
        except Cancelled as error:
            raise Cancelled("stopped; 1 video had been imported by then") from error
        raise AssertionError("nobody stopped it")

    chores.start("import", work)
    chores.cancel("import")
    go.set()
    chore = ended(chores)
    assert (chore.state, chore.outcome.text) == ("cancelled", "stopped; 1 video had been imported by then")


@pytest.mark.parametrize(
    ("raised", "text"),
    [
        (MediaError("the disk is full"), "the disk is full"),
        (ValueError("no such\nthing"), "something unforeseen happened: ValueError, no such thing"),
    ],
)
def test_what_went_wrong_is_told_in_a_sentence(raised: Exception, text: str) -> None:
    chores = Chores()

    def work(on_progress: OnProgress) -> Outcome:
        raise raised

    assert chores.start("export", work)
    chore = ended(chores, "export")
    assert (chore.state, chore.outcome.text) == ("failed", text)
