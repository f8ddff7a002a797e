"""Home, checkpoint folders, writable folders and safe file names."""

import errno
import os
import sys
import unicodedata
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from img2vid import paths, windows
from img2vid.errors import BadInput


def test_the_project_folder_holds_what_the_program_reads() -> None:
    assert (paths.PROJECT / "pyproject.toml").is_file()
    assert (paths.CONFIGS / "versions.yaml").is_file()


@pytest.mark.parametrize("value", [None, ""])
def test_the_home_is_outputs_in_the_project(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    if value is None:
        monkeypatch.delenv("IMG2VID_HOME", raising=False)
    else:
        monkeypatch.setenv("IMG2VID_HOME", value)
    assert paths.home() == paths.PROJECT / "outputs"


def test_the_home_can_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMG2VID_HOME", str(tmp_path / "my videos"))
    assert paths.home() == (tmp_path / "my videos").resolve()
    assert list(tmp_path.iterdir()) == [], "asking for the home must not make it"


def test_the_home_may_differ_from_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMG2VID_HOME", "videos")
    home = paths.home()
    monkeypatch.chdir(tmp_path.parent)
    assert home == (tmp_path / "videos").resolve()


def test_a_tilde_means_the_users_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMG2VID_HOME", "~/videos")
    monkeypatch.setenv("IMG2VID_CHECKPOINTS", "~/models")
    assert paths.home() == (Path.home() / "videos").resolve()
    assert paths.checkpoint_folders()[1] == Path.home() / "models"


def test_without_the_variable_checkpoints_are_looked_for_in_one_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IMG2VID_CHECKPOINTS", raising=False)
    assert paths.checkpoint_folders() == [paths.PROJECT / "checkpoints"]


def test_the_first_folder_that_has_a_checkpoint_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, first, second = tmp_path / "project" / "checkpoints", tmp_path / "first", tmp_path / "second"
    for folder, names in ((own, "a"), (first, "ab"), (second, "abc")):
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).touch()
    (own / "c").mkdir()  # a folder with that name is not a checkpoint
    monkeypatch.setattr(paths, "PROJECT", tmp_path / "project")
    # An empty part, as after a trailing separator, must not mean the working folder.
    monkeypatch.setenv("IMG2VID_CHECKPOINTS", os.pathsep.join([str(first), "", str(second), ""]))
    assert paths.checkpoint_folders() == [own, first, second]
    found = [paths.find_checkpoint(name) for name in "abcd"]
    assert found == [own / "a", first / "b", second / "c", None]


def test_a_folder_that_can_be_made_is_fit_to_write_to(tmp_path: Path) -> None:
    paths.require_writable(tmp_path)
    paths.require_writable(tmp_path / "new" / "newer")
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_no_folder_to_write_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(BadInput, match=r"nothing can be written to the folder '.*file.*'; choose another one"):
            paths.require_writable(folder)


@pytest.mark.skipif(os.name == "nt" or getattr(os, "geteuid", lambda: 0)() == 0, reason="such users write everywhere")
def test_a_locked_folder_is_no_folder_to_write_to(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(BadInput, match="nothing can be written"):
        paths.require_writable(tmp_path / "videos")


@pytest.mark.parametrize(
    ("name", "long_paths", "fault"),
    [
        ("x" * 256, True, "the path is too long"),
        ("x/" * 130, False, "the path is too long"),
        ("x/" * 130, True, ""),
        ("x/" * 3000, True, "the path is too long"),
        ("a?b/below", True, 'a name cannot contain <>:"|?*'),
        ("a\tb", True, 'a name cannot contain <>:"|?*'),
        (".", False, ""),
    ],
    ids=["long name", "long path", "allowed long path", "longer path", "question mark", "tab", "existing"],
)
def test_names_that_windows_cannot_create(
    name: str, long_paths: bool, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "allows_long_paths", lambda: long_paths)
    existing = PureWindowsPath("C:/videos")
    assert windows.folder_fault(existing / name, existing) == fault


def test_a_folder_that_windows_cannot_create_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: the run failed only when it wrote its video."""
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(BadInput, match=r"a\?b' is not a usable folder \(a name cannot contain"):
        paths.require_writable(tmp_path / "a?b")


@pytest.mark.parametrize("name", [".", "new/newer"])
def test_a_folder_whose_permissions_forbid_writing_is_refused_on_windows(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There, os.access looks at the read-only attribute alone."""

    def forbid(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(windows, "allows_long_paths", lambda: True)
    paths.require_writable(tmp_path / name)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(Path, "write_bytes" if name == "." else "mkdir", forbid)
    with pytest.raises(BadInput, match="nothing can be written to the folder"):
        paths.require_writable(tmp_path / name)


DEVICES = {
    "con",
    "prn",
    "aux",
    "nul",
    "conin$",
    "conout$",
    *(f"{name}{n}" for name in ("com", "lpt") for n in range(10)),
}


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("dandelion", "dandelion"),
        ("Fotos f\u00fcr Zo\u00eb \u6771\u4eac", "Fotos f\u00fcr Zo\u00eb \u6771\u4eac"),
        ("lone\udcff\udcfe", "lone__"),
        ("CON", "_CON"),
        ("nul.tar", "_nul.tar"),
        ("com\u00b9 .x", "_com\u00b9 .x"),
        ("console", "console"),
        ("dots...", "dots"),
        ('a:b*c?<d>|"e', "a_b_c__d___e"),
        ("line\nbreak\x1b[31m\u202e", "line_break_[31m_"),
        ("C:\\Users\\me\\dogs", "dogs"),
        ("../../etc/passwd", "passwd"),
        (" . ", "picture"),
        ("", "picture"),
        ("x" * 240, "x" * 80),
        ("\u6771" * 240, "\u6771" * 53),
    ],
)
def test_any_name_becomes_one_for_every_system(name: str, safe: str) -> None:
    assert paths.safe_name(name) == safe


@given(st.text(st.characters(categories=None), max_size=300) | st.sampled_from(sorted(DEVICES)))
def test_a_safe_name_is_valid_and_stays_as_it_is(name: str) -> None:
    safe = paths.safe_name(name)
    assert 1 <= len(safe) <= 80 and len(safe.encode("utf-8")) <= 160
    assert not {*'<>:"|?*/\\'} & {*safe} and safe == safe.strip(" .")
    assert not {unicodedata.category(character) for character in safe} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert safe.split(".")[0].rstrip().casefold() not in DEVICES
    assert paths.safe_name(safe) == safe


def test_a_folder_whose_name_is_no_text_is_refused(tmp_path: Path) -> None:
    """The database and the page cannot hold such a path, and would fail after sampling."""
    with pytest.raises(BadInput, match="not valid Unicode"):
        paths.require_writable(tmp_path / "bad\udcff")


@pytest.fixture
def confined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a confined home, an allowed and a private folder, and links between them."""
    monkeypatch.setattr(paths, "_confines", None)
    for name in ("home", "allowed", "private"):
        (tmp_path / name).mkdir()
    if os.name != "nt":
        (tmp_path / "home" / "out").symlink_to(tmp_path / "private")
        (tmp_path / "home" / "across").symlink_to(tmp_path / "allowed")
        (tmp_path / "alias").symlink_to(tmp_path / "home")
    monkeypatch.setenv("IMG2VID_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE" if os.name == "nt" else "HOME", str(tmp_path / "private"))
    monkeypatch.chdir(tmp_path / "home")
    paths.confine([tmp_path / "allowed"])
    return tmp_path


ON_POSIX = (
    *("{0}/home/out", "{0}/home/out/new", "out", "{0}/alias", "{0}/alias/videos", "{0}/home/across/../../private"),
    *("/proc/self/cwd", "{0}/HOME/x"),
)
"""Folders behind symbolic links, and in a folder whose name is another one on Windows."""


@pytest.mark.parametrize(
    "text",
    ["/", "/etc", "~", "~root", "..", "{0}", "{0}/private", "{0}/home/../private", "{0}/home2", "{0}/home/\0",
     "//{0}/home/../private", "~nobody-of-this-name/x", *(ON_POSIX if os.name != "nt" else ())],
)  # fmt: skip
def test_a_shared_dashboard_refuses_folders_outside(confined: Path, text: str) -> None:
    with pytest.raises(BadInput, match=r"is outside the folders of this shared|is not a usable folder") as refusal:
        paths.chosen_folder(text.replace("{0}", str(confined)))
    assert len(str(refusal.value)) < 500


def test_a_shared_dashboard_accepts_the_home_and_the_allowed_folders(confined: Path) -> None:
    accepted = {
        "": "home",
        "videos/new": "home/videos/new",
        str(confined / "home"): "home",
        str(confined / "allowed" / "a" / ".." / "b"): "allowed/b",
    }
    if os.name != "nt":
        accepted[str(confined / "home" / "across" / "c")] = "allowed/c"
    for text, found in accepted.items():
        assert paths.chosen_folder(text) == confined / found


def test_a_dashboard_that_is_not_shared_accepts_every_folder(tmp_path: Path) -> None:
    assert paths.chosen_folder(f"{tmp_path}/a/../b") == tmp_path / "b"
    assert paths.chosen_folder("~") == Path.home()
    with pytest.raises(BadInput, match="is not a usable folder"):
        paths.chosen_folder("a\0b")


def test_windows_paths_are_within_a_folder_whatever_their_case() -> None:
    folders = [PureWindowsPath(r"C:\img2vid\outputs"), PureWindowsPath(r"\\nas\videos")]
    inside = (r"C:\img2vid\outputs", r"c:\IMG2VID\Outputs\new", "C:/img2vid/outputs/x", r"\\NAS\videos\x")
    outside = (
        r"C:\img2vid",
        r"C:\img2vid\outputs2",
        r"D:\img2vid\outputs",
        r"C:img2vid\outputs",
        r"\img2vid\outputs",
        r"\\evil\videos",
        r"\\nas\other",
        r"\\?\C:\img2vid\outputs",
        r"\\.\C:\img2vid\outputs",
        "outputs",
    )
    assert [text for text in inside if not paths.is_within(PureWindowsPath(text), folders)] == []
    assert [text for text in outside if paths.is_within(PureWindowsPath(text), folders)] == []
    assert not paths.is_within(PurePosixPath("/home/ME"), [PurePosixPath("/home/me")])


@pytest.mark.skipif(os.name != "nt", reason="Windows paths")
@pytest.mark.parametrize(
    "text", [r"\\192.0.2.1\share", r"\\?\UNC\192.0.2.1\share", r"\\.\pipe\x", "Z:\\x", "Z:x", "NUL"]
)
def test_windows_paths_that_lead_elsewhere_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(paths, "_confines", None)
    monkeypatch.setenv("IMG2VID_HOME", str(tmp_path))
    paths.confine([])
    with pytest.raises(BadInput):
        paths.chosen_folder(text)
