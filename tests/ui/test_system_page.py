"""The System page: immediate drawing, slow checks in the background, and diagnostics without private data."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from driving import caption, markdown, said
from fake_service import FakeService
from streamlit.testing.v1 import AppTest

from img2vid.background import Poller
from img2vid.doctor import facts
from img2vid.doctor.report import Finding, ok, problem
from img2vid.hardware import Card
from img2vid.options import LoadOptions
from img2vid.settings_validation import make_settings
from img2vid.ui.system import pollers
from img2vid.ui.system.pollers import Pollers

PHOTO = b"a picture"


@pytest.fixture
def seen(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> Pollers:
    """Pollers with fake results, except for folder sizes."""
    made = Pollers()
    made.cards = Poller(lambda: [Card("NVIDIA GeForce RTX 3060", "551.86", 12 * 10**9, 3 * 10**9, 7, 50)], every=3600)
    made.doctor = Poller(lambda: findings(), every=float("inf"))
    monkeypatch.setattr(pollers, "open_pollers", lambda: made)
    return made


def findings() -> list[Finding]:
    return [ok("Python", "Python 3.11."), problem("disk: home", "0.1 GB free.", "Free some space.")]


def page_of_system() -> None:
    """Draw the System page of streamlit_app.py."""
    from img2vid.ui.system.page import system

    system()


def settled(watch: Pollers, page: AppTest) -> AppTest:
    deadline = time.monotonic() + 30
    while watch.doctor.is_polling or watch.cards.is_polling or watch.sizes.is_polling:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    page.run()
    assert not page.exception
    return page


@pytest.fixture
def open_system(seen: Pollers) -> Callable[[], AppTest]:
    def open_one() -> AppTest:
        page = AppTest.from_function(page_of_system, default_timeout=120).run()
        assert not page.exception
        assert said(page.error) == ""
        return page

    return open_one


Open = Callable[[], AppTest]


def test_it_shows_the_computer_and_the_folders(
    open_system: Open, seen: Pollers, service: FakeService, home: Path
) -> None:
    (home / "svd_tiny").mkdir(parents=True)
    (home / "svd_tiny" / "a.mp4").write_bytes(bytes(3_000_000))
    service.has_loaded("svd_tiny")
    page = settled(seen, open_system())
    text = markdown(page)
    for part in (
        "NVIDIA GeForce RTX 3060",
        "worker 1 on this computer: cpu",
        f"| videos | `{home / 'svd_tiny'}` | 3 MB |",
        f"| store | `{home / 'img2vid.sqlite'}` |",
        "| checkpoints |",
        f"| streamlit | {facts.versions()['streamlit']} |",
    ):
        assert part in text
    assert "driver 551.86 · 7 % busy · 50 °C" in caption(page)
    assert "Model loaded: svd_tiny, engine native, CPU, fp32, 0.1 GB." in caption(page)


def test_slow_checks_do_not_delay_drawing(open_system: Open, seen: Pollers) -> None:
    waiting: list[int] = []

    def slow() -> list[Finding]:
        while not waiting:
            time.sleep(0.005)
        return findings()

    seen.doctor = Poller(slow, every=float("inf"))
    page = open_system()
    assert "Checking this computer" in caption(page)
    assert page.button(key="ask_doctor").disabled
    waiting.append(1)
    page = settled(seen, page)
    assert "Checking this computer" not in caption(page)
    assert "1 problem: disk: home." in markdown(page)
    assert "Free some space." in markdown(page)
    assert not page.button(key="ask_doctor").disabled


def test_the_doctor_runs_only_on_request_while_a_video_is_made(
    open_system: Open, seen: Pollers, service: FakeService
) -> None:
    service.begins(service.submit([(make_settings({}), LoadOptions())], PHOTO, "dogs", ".png")[0])
    page = settled(seen, open_system())
    assert seen.doctor.last() is None
    assert "Not checked while a video is being made" in caption(page)
    page.button(key="ask_doctor").click().run()
    assert "1 problem" in markdown(settled(seen, page))


def test_diagnostics_have_the_failure_and_no_private_data(
    open_system: Open, seen: Pollers, service: FakeService, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USER", "annabel")
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefghijklmnop")
    job = service.submit([(make_settings({}), LoadOptions())], PHOTO, "divorce papers", ".png", Path("/mnt/Anna B"))[0]
    service.fails(job, f"'divorce papers' cannot go to {job.folder}", 'File "/home/annabel/x.py", line 1')
    (home / "cluster.log").write_text("annabel said hf_abcdefghijklmnop\n", encoding="utf-8")
    text = settled(seen, open_system()).code[0].value
    for part in ("RTX 3060", "'<picture>' cannot go to <save path>", "problem disk: home", "<user> said <secret>"):
        assert part in text
    for private in ("annabel", "Anna B", "divorce", "hf_abc", str(home)):
        assert private not in text


def test_without_a_gpu_the_page_names_the_device(open_system: Open, seen: Pollers) -> None:
    seen.cards = Poller(lambda: list[Card](), every=3600)
    page = settled(seen, open_system())
    assert "No NVIDIA GPU found" in caption(page)
