"""`img2vid sweep` and `img2vid compare` with the real small model: reuse, atomic output and error messages."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from job_client import PHOTO, Client, until
from processes import IN_OWN_GROUP, interrupt

from img2vid.cli import main
from img2vid.jobs.job import State
from img2vid.jobs.store import Store
from img2vid.media.videos import read_frames, read_metadata

SMALL = ["--height", "64", "--width", "96", "--num-frames", "3", "--num-steps", "2", "--device", "cpu"]
LONG = ["--num-frames", "14", "--num-steps", "1000", "--device", "cpu"]


@dataclass(frozen=True)
class Said:
    code: int
    out: list[str]
    err: list[str]


Command = Callable[..., Said]


@pytest.fixture
def command(
    client: Client, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Command:
    """Return a function that runs a command in the home of the tests' service, in its own folder."""
    monkeypatch.setenv("IMG2VID_HOME", str(client.store.home))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Said:
        code = main.run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Said(code, out.splitlines(), err.splitlines())

    return run


def count(client: Client) -> int:
    return len(client.store.jobs(limit=-1))


def test_a_sweep_is_made_once_and_used_again(command: Command, client: Client) -> None:
    axes = ["--axis", "motion_bucket_id=20,127,255", "--axis", "seed=101..102"]
    before = count(client)
    said = command("sweep", PHOTO, *axes, *SMALL, "--out", "sheets")
    assert said.code == 0
    assert said.err[0].startswith("img2vid: dandelion: 6 videos, 0 reused, 6 to make")
    stem = "sheets/dandelion_sweep_motion_bucket_id_seed"
    assert said.out == [str(Path(f"{stem}{suffix}")) for suffix in (".mp4", ".png", ".csv")]
    assert len(read_frames(Path(said.out[0]))) == 3
    assert [axis["name"] for axis in read_metadata(Path(said.out[0]))["axes"]] == ["motion_bucket_id", "seed"]
    rows = list(csv.DictReader(io.StringIO(Path(said.out[2]).read_text(encoding="utf-8-sig"))))
    assert len(rows) == 6 and all(row["state"] == "done" and float(row["PSNR of the first frame (dB)"]) for row in rows)
    assert count(client) == before + 6

    said = command("sweep", PHOTO, *axes, *SMALL, "--out", "sheets")
    assert (said.code, said.err) == (0, ["img2vid: dandelion: 6 videos, 6 reused, 0 to make"])
    assert said.out[0] == str(Path(f"{stem}_2.mp4"))
    assert count(client) == before + 6


def test_versions_are_compared_in_a_row_and_with_a_wipe(command: Command) -> None:
    said = command("compare", PHOTO, "--versions", "svd_tiny,svd_tiny_xt", *SMALL, "--seed", 111, "--json")
    assert said.code == 0
    found = json.loads(said.out[0])
    assert [cell["column"] for cell in found["cells"]] == ["svd_tiny", "svd_tiny_xt"]
    assert all(cell["state"] == "done" and Path(cell["video"]).is_file() for cell in found["cells"])
    assert Path(found["video"]).name == "dandelion_compare_svd_tiny_svd_tiny_xt.mp4"
    columns = ["--column", "version=svd_tiny", "--column", "version=svd_tiny_xt,seed=112"]
    said = command("compare", PHOTO, *columns, *SMALL, "--seed", 111, "--wipe", "--json")
    assert said.err[0].startswith("img2vid: dandelion: 2 videos, 1 reused, 1 to make")
    wiped = json.loads(said.out[0])
    assert [(cell["column"], cell["reused"]) for cell in wiped["cells"]] == [
        ("svd_tiny", True),
        ("svd_tiny_xt, seed 112", False),
    ]
    assert len(read_frames(Path(wiped["video"]))) == 12  # at 6 frames per second the edge would jump


def test_a_failed_cell_is_reported_and_the_others_continue(command: Command, tmp_path: Path) -> None:
    (tmp_path / "picky.jpg").write_bytes(PHOTO.read_bytes())
    said = command("sweep", "picky.jpg", "--axis", "num_frames=3,5", *SMALL[:4], *SMALL[6:], "--json")
    assert said.code == 1
    assert said.err[-1] == "img2vid: T 5: memory ran out"
    first, second = json.loads(said.out[0])["cells"]
    assert (first["state"], second["state"], second["video"]) == ("done", "failed: memory ran out", None)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["sweep", "--axis", "motion_bucket_id=20,abc"], "a whole number from 0 to 511, got 'abc'"),
        (["sweep", "--axis", "seed=1,2", "--seed", "4"], "seed is given both as an axis and as --seed"),
        (["sweep", "--axis", "seed=1,2", "--axis", "seed=3"], "both axes are seed"),
        (["sweep", "--axis", "seed=1..20", "--axis", "fps=5..24"], "at most 100 videos, got 20 x 20"),
        (["sweep"], "--axis"),
        (["sweep", "--axis", "version=svd_tiny,svd"], "the checkpoint of svd is missing"),
        (["sweep", "--axis", "seed=1,2", "--num-samples", "2"], "--num-samples"),
        (["compare", "--versions", "svd_tiny"], "a comparison needs 2 to 4 columns, got 1"),
        (["compare", "--versions", "svd_tiny,svd_tiny"], "columns 1 and 2 are the same"),
        (["compare", "--column", "seed", "--column", "seed=2"], "--column needs settings with values, got 'seed'"),
        (["compare", "--column", "seed=1,seed=2", "--column", "seed=2"], "has seed twice"),
        (["compare", "--column", "seed=x", "--column", "seed=2"], "seed must be a whole number"),
        (["compare", *(f"--column=seed={seed}" for seed in range(3)), "--wipe"], "needs exactly two columns, got 3"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_no_job(
    command: Command, client: Client, arguments: list[str], sentence: str
) -> None:
    before = count(client)
    name, *rest = arguments
    said = command(name, PHOTO, *rest)
    assert (said.code, said.out, len(said.err)) == (2, [], 1)
    assert sentence in said.err[0]
    assert count(client) == before


def test_a_picture_that_cannot_be_used_is_refused(command: Command, tmp_path: Path) -> None:
    (tmp_path / "half.jpg").write_bytes(PHOTO.read_bytes()[:2000])
    said = command("sweep", "half.jpg", "--axis", "seed=1,2")
    assert (said.code, said.err) == (2, ["img2vid: 'half.jpg' is damaged or incomplete; save or download it again"])


def test_an_axis_without_effect_is_reported(command: Command) -> None:
    said = command("sweep", PHOTO, "--axis", "scale=1,2", *SMALL, "--seed", 131)
    assert said.code == 0
    assert said.err[0] == "img2vid: scale has no effect here; only VanillaCFG uses it"


def test_ctrl_c_cancels_what_waits_and_a_second_call_goes_on(command: Command, client: Client, tmp_path: Path) -> None:
    made = command("sweep", PHOTO, "--axis", "num_steps=2", *SMALL[:6], "--device", "cpu", "--seed", 121)
    assert made.code == 0
    arguments = ["sweep", str(PHOTO), "--axis", "num_steps=2,1000,999", *SMALL[:6], "--device", "cpu", "--seed", "121"]
    environment = {**os.environ, "IMG2VID_HOME": str(client.store.home)}
    line = [sys.executable, "-m", "img2vid", *arguments, "--out", str(tmp_path)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(line, env=environment, **pipes, **IN_OWN_GROUP) as process:
        try:
            asked = until(lambda: _of_steps(client.store, 1000, 999))
            client.at(client.store.job(asked[0]), "sample", 1)
            interrupt(process)
            out, err = process.communicate(timeout=120)
        finally:
            process.kill()
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "img2vid: stopped; finished videos are kept"
    assert [client.end(client.store.job(job)).state for job in asked] == [State.CANCELLED] * 2
    said = command("sweep", PHOTO, "--axis", "num_steps=2,3", *SMALL[:6], "--device", "cpu", "--seed", 121)
    assert said.code == 0
    assert said.err[0].startswith("img2vid: dandelion: 2 videos, 1 reused, 1 to make")


def _of_steps(store: Store, *steps: int) -> list[str]:
    """Return the jobs with these numbers of steps as soon as all exist."""
    found = {job.settings.num_steps: job.id for job in store.jobs(20) if job.settings.seed == 121}
    return [found[step] for step in steps] if {*steps} <= {*found} else []
