"""Installation with uv and with pip: pip's settings in uv's terms, progress, and causes of failures."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_project import SCRIPTS, Project

sys.path.insert(0, str(SCRIPTS))
import packages


def test_uv_installs_and_the_log_has_its_output(first_start: tuple[Project, list[str]]):
    project, said = first_start
    assert not any("Installing with pip" in text for text in said)
    assert "Resolved 2 packages" in (project.venv / "setup.log").read_text(encoding="utf-8")
    assert (project.packages / "lamp-1.1.dist-info" / "INSTALLER").read_text(encoding="utf-8") == "uv"


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("PIP_SRC", "src", "uv does not have pip's setting src"),
        (
            "PATH",
            os.defpath,
            "uv cannot be installed: a package cannot be found; check the network and the index",
        ),
        ("UV_HTTP_TIMEOUT", "soon", "uv failed: see the log"),
    ],
)
def test_pip_installs_if_uv_cannot(project: Project, name: str, value: str, reason: str):
    project.require("lamp>=1", "cable")
    project.environment[name] = value
    done = project.start("--setup-only")
    assert done.returncode == 0, done.stderr
    assert f"Installing with pip, which is slower, because {reason}." in done.stderr.splitlines()
    assert project.version_of("cable") == "1.0"


def test_a_failure_shows_its_cause_and_the_end_of_the_log(project: Project):
    project.require("picky")
    done = project.start("--setup-only")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) <= packages.TAIL + 5
    assert "nowhere" in done.stderr


def test_settings_of_pip_reach_uv(tmp_path: Path):
    """As pip lists them, from files and variables."""
    file = tmp_path / "pip.conf"
    constraint = (tmp_path / "a b.txt").as_uri()
    file.write_text(
        "[global]\nindex-url = https://a.example/simple\ntimeout = 7\ncert = /old.pem\n"
        f"[install]\nconstraint = {constraint}\nno-binary = :none:\nno-index = no\n",
        encoding="utf-8",
    )
    own = {
        "PIP_CONFIG_FILE": str(file),
        "PIP_CERT": "/new.pem",
        "PIP_EXTRA_INDEX_URL": "https://b.example/simple https://c.example/simple",
        "PIP_TRUSTED_HOST": "b.example c.example",
        "PIP_PROXY": "http://proxy.example:3128",
        "PIP_NO_CACHE_DIR": "1",
        "PIP_PRE": "1",
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    command = [sys.executable, "-I", "-m", "pip", "config", "list"]
    listed = subprocess.run(command, env={**kept, **own}, capture_output=True, text=True, check=True).stdout
    found = packages.translated(packages.read_settings(listed))
    assert found.obstacle == ""
    assert found.variables == {
        "UV_DEFAULT_INDEX": "https://a.example/simple",
        "UV_INDEX": "https://b.example/simple https://c.example/simple",
        "UV_HTTP_TIMEOUT": "7",
        "SSL_CERT_FILE": "/new.pem",
        **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://proxy.example:3128"),
    }
    pairs = list(zip(found.arguments, found.arguments[1:], strict=False))
    for pair in (
        ("--constraint", str(tmp_path / "a b.txt")),
        ("--no-binary", ":none:"),
        ("--allow-insecure-host", "b.example"),
        ("--allow-insecure-host", "c.example"),
        ("--prerelease", "allow"),
        ("--index-strategy", "unsafe-best-match"),
    ):
        assert pair in pairs
    assert "--no-cache" in found.arguments and "--no-index" not in found.arguments


UV = """
Using Python 3.11.7 environment at: /x
Resolved 103 packages in 1.31s
Downloading torch (500.0MiB)
Downloading numpy (16.0MiB)
 Downloaded numpy
"""
PIP = """
Collecting torch==2.15.0 (from -r requirements/runtime.txt (line 3))
  Downloading torch-2.15.0-cp311-cp311-win_amd64.whl.metadata (31 kB)
Collecting numpy
  Downloading torch-2.15.0-cp311-cp311-win_amd64.whl (200.5 MB)
  Downloading numpy-2.4.0-cp311-cp311-win_amd64.whl (12 MB)
"""


def test_progress_counts_packages_and_megabytes():
    uv, pip = packages.Progress(), packages.Progress()
    assert str(uv) == "Looking for packages"
    for progress, text in ((uv, UV), (pip, PIP)):
        for line in text.splitlines():
            progress.feed(line)
    assert str(uv).startswith("Downloading 103 packages, 1 of 2 large files, 17 of 541 MB")
    assert str(pip).startswith("Downloading, package 2, 1 of 2 large files, 200 of 212 MB")
    uv.feed("Prepared 103 packages in 40.2s")
    pip.feed("Installing collected packages: numpy, torch")
    assert (str(uv), str(pip)) == ("Installing 103 packages", "Installing 2 packages")


def test_the_time_left_shrinks_while_a_large_file_is_on_its_way(monkeypatch: pytest.MonkeyPatch):
    """uv names a file when it has arrived, and a file of torch takes minutes."""
    now = 0.0
    monkeypatch.setattr(packages.time, "monotonic", lambda: now)
    progress = packages.Progress()
    for line in ("Resolved 2 packages", "Downloading torch (30MB)", "Downloading av (10MB)"):
        progress.feed(line)
    now = 10.0
    progress.feed(" Downloaded av")
    assert str(progress).endswith("10 of 40 MB, about 30 s left")
    now = 25.0
    progress.feed("")
    assert str(progress).endswith("about 15 s left")
    now = 60.0
    assert str(progress).endswith("nearly done")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("  Caused by: failed to lookup address information: Temporary failure in name resolution", "network"),
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("error: failed to write: There is not enough space on the disk. (os error 112)", "disk is full"),
        ("invalid peer certificate: UnknownIssuer", "certificate"),
        ("ERROR: Could not install packages: [WinError 5] Access is denied: 'C:\\x\\torch.dll'", "in use"),
        ("ERROR: ResolutionImpossible", "see the log"),
    ],
)
def test_a_dead_network_is_named_before_the_conflict_that_it_causes(line: str, words: str):
    conflict = "ERROR: Cannot install torch because these package versions have conflicting dependencies."
    said = packages.cause([line, conflict] if words != "see the log" else [line])
    assert words in said


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_a_setting_with_an_accent_is_read_in_any_code_page(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: C:\\Users\\Raphaël became a folder that does not exist."""
    monkeypatch.setattr(packages.locale, "getpreferredencoding", lambda _: "cp1252")
    listed = "global.find-links='C:\\\\Users\\\\Raphaël'\n"
    assert packages.read_settings(packages.decoded(listed.encode(encoding))) == {"find-links": "C:\\Users\\Raphaël"}
