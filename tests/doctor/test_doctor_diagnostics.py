"""Diagnostics text: contains the useful facts and no private data."""

import string
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from img2vid.doctor.diagnostics import Failure, Sources, diagnostics, last_lines
from img2vid.doctor.redaction import of_this_computer
from img2vid.doctor.report import ok, problem
from img2vid.hardware import Card

PATIENT = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
"""No deadline: a busy machine is slow."""

PRIVATE = st.text(string.ascii_letters + string.digits, min_size=10, max_size=16).map("Zq{}".format)
"""Words that cannot occur in the fixed parts of the text, such as package names."""


def sources(log: Path, text: str = "") -> Sources:
    return Sources(
        cards=[Card("NVIDIA GeForce RTX 3060", "551.86", 12 * 2**30, 2**30, 4, 50)],
        findings=[ok("Python", f"Python 3.11 {text}."), problem("disk", f"Cannot write to {text}.", "Do.")],
        workers=[f"local: CPU {text}"],
        failures=[Failure("svd, 14 frames", f"failed at {text}", f'File "{text}", line 3\n```\n')],
        log=log,
        disks={"home": log.parent},
    )


def test_it_contains_the_facts_that_a_maintainer_needs(tmp_path: Path) -> None:
    log = tmp_path / "cluster.log"
    log.write_text("\n".join(f"line {number}" for number in range(100)), encoding="utf-8")
    text = diagnostics(sources(log), of_this_computer(), {"IMG2VID_ENGINE": "native", "HTTPS_PROXY": "http://a:b@c:1"})
    for part in (
        "RTX 3060, driver 551.86, 1.1 GB of 12.9 GB in use",
        "torch==",
        "img2vid==",
        "IMG2VID_ENGINE=native",
        "HTTPS_PROXY is set",
        "problem disk",
        "1 problem: disk.",
        "svd, 14 frames",
        "line 99",
    ):
        assert part in text
    assert "line 59\n" not in text and "a:b" not in text


def test_missing_facts_are_named(tmp_path: Path) -> None:
    nothing = Sources(None, None, [], [], tmp_path / "none.log", {})
    text = diagnostics(nothing, of_this_computer(), {})
    for part in ("not checked yet", "Not run.", "None.", "Empty.", "none set"):
        assert part in text


@PATIENT
@given(user=PRIVATE, password=PRIVATE, folder=PRIVATE, token=PRIVATE)
def test_nothing_private_gets_through_from_any_of_its_parts(
    tmp_path: Path, user: str, password: str, folder: str, token: str
) -> None:
    words = f"/home/{user}/{folder}/x hf_{token} http://{user}:{password}@proxy:3128 {user}"
    log = tmp_path / "cluster.log"
    log.write_text(f"Traceback: {words}\n", encoding="utf-8")
    environment = {
        "IMG2VID_HOME": f"/home/{user}/{folder}",
        "IMG2VID_SCHEDULER": f"tcp://{user}:{password}@{folder}.local:8786",
        "HF_TOKEN": f"hf_{token}",
        "HTTPS_PROXY": f"http://{user}:{password}@proxy:3128",
        "STREAMLIT_SERVER_COOKIE_SECRET": password,
        "USER": user,
    }
    text = diagnostics(sources(log, words), of_this_computer(environment=environment), environment)
    assert not [private for private in (user, password, folder, token) if private in text]


def test_the_end_of_a_log_is_short_whatever_is_in_it(tmp_path: Path) -> None:
    log = tmp_path / "cluster.log"
    assert last_lines(log) == []
    log.write_bytes(b"\xff\xfe\n" * 500 + b"x" * 10_000)
    found = last_lines(log, 3)
    assert len(found) == 3 and max(map(len, found)) == 400
