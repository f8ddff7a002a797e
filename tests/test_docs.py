"""Tables and examples in docs/ match the program."""

import re
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml

from img2vid import paths
from img2vid.cli import main
from img2vid.settings import ABOUT, PARAMS
from img2vid.versions import ModelVersion, load_versions

DOCS = paths.PROJECT / "docs"
COMMAND_LINE = DOCS / "command-line.md"
PAGES = [
    *sorted(DOCS.glob("*.md")),
    *(paths.PROJECT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
]
CONFIGURATION = DOCS / "configuration.md"
OWN_CHECKPOINT = DOCS / "own-checkpoint.md"
MODELS = ("list", "download", "verify", "add", "remove", "convert")


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def version_rows(versions: Iterable[ModelVersion]) -> list[str]:
    """Return the rows of the page's table; versions with the same numbers share one."""
    names: dict[str, list[str]] = {}
    for version in versions:
        settings = version.settings({})
        numbers = (version.num_frames, settings.num_steps, settings.min_scale, settings.max_scale, settings.decode_t)
        cells = [f"{version.width} x {version.height}", *(f"{number:g}" for number in (*numbers, version.size_step))]
        names.setdefault(" | ".join(cells), []).append(f"`{version.name}`")
    return [f"| {', '.join(sharing)} | {cells} |" for cells, sharing in names.items()]


def test_the_versions_are_listed_with_their_defaults() -> None:
    shipped = yaml.safe_load(text(paths.CONFIGS / "versions.yaml"))
    expected = "\n".join(version_rows(version for name, version in load_versions().items() if name in shipped))
    assert expected in text(COMMAND_LINE), f"this belongs into {COMMAND_LINE.name}:\n{expected}"
    varying = {name for row in shipped.values() for name in row["defaults"]}
    special = {"fps", "motion_bucket_id", "sampler", "discretization", "guider"}  # of tuned and distilled models
    assert varying - special <= {name for name, about in ABOUT.items() if about.by_version}


def test_every_option_in_the_examples_exists(capsys: pytest.CaptureFixture[str]) -> None:
    known = ""
    for command in (
        ["--help"],
        ["dashboard", "--help"],
        ["serve", "--help"],
        ["sample", "--help"],
        ["imagine", "--help"],
        ["sweep", "--help"],
        ["compare", "--help"],
        ["extend", "--help"],
        ["bench", "--help"],
        *(["gallery", name, "--help"] for name in ("list", "import", "export", "trash", "restore")),
        *(["models", name, "--help"] for name in MODELS),
    ):
        with pytest.raises(SystemExit):
            main.run(command)
        known += capsys.readouterr().out
    names = ("own-checkpoint", "sharing", "models", "benchmark", "sweeps", "comfyui", "text-to-video", "http-api")
    for path in (COMMAND_LINE, *(DOCS / f"{name}.md" for name in names)):
        written = {*re.findall(r"(?<![\w-])--[a-z][a-z-]+", text(path))} - {"--setup-only", "--torch", "--with"}
        assert written
        assert not [option for option in written if not re.search(rf"{option}(?![\w-])", known)]


def test_every_known_target_and_each_of_its_parameters_is_explained() -> None:
    from img2vid.engine.config import TARGETS

    sections = re.split(r"^#+ ", text(CONFIGURATION), flags=re.MULTILINE)
    for target, kind in TARGETS.items():
        section = next((part for part in sections if f"`{target}`" in part), "")
        assert section, f"{target} is not explained"
        missing = [name for name in kind.model_fields if f"`{name}`" not in section]
        assert not missing, f"of {target}, {missing} are not explained"


def test_every_target_that_is_explained_is_known() -> None:
    from img2vid.engine.config import TARGETS

    assert {*re.findall(r"`((?:sgm|torch)\.[\w.]+)`", text(CONFIGURATION))} == {*TARGETS}


def test_every_field_of_a_row_is_explained() -> None:
    page = text(OWN_CHECKPOINT)
    missing = [name for name in ModelVersion.model_fields if name != "name" and f"\n* `{name}`: " not in page]
    assert not missing


def test_the_row_that_is_shown_is_a_row_that_is_read() -> None:
    block = re.search(r"```yaml\n(.*?)```", text(OWN_CHECKPOINT), re.DOTALL)
    assert block is not None
    ((name, row),) = yaml.safe_load(block[1]).items()
    version = ModelVersion(name=name, **row)
    assert version.config_path.is_file()
    assert version.settings({}).version == name


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_between_the_pages_lead_somewhere(path: Path) -> None:
    for target, heading in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", text(path)):
        if target.startswith("https://"):
            continue
        page = path.parent / target if target else path
        assert page.exists(), target
        titles = (
            {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in headings(page)} if heading else {""}
        )
        assert heading in titles, f"{target}#{heading}"


def headings(page: Path) -> list[str]:
    return re.findall(r"^#+ (.*)$", text(page), re.MULTILINE)


def test_methods_are_listed_with_the_options_that_they_use() -> None:
    rows = re.findall(r"^  \* (\*\*.*): (.*)$", text(COMMAND_LINE), re.MULTILINE)
    listed = {
        name: [*re.findall(r"`--([a-z-]+)`", uses)] for names, uses in rows for name in re.findall(r"\w{4,}", names)
    }
    listed.pop("default")
    assert listed == {name: [used.replace("_", "-") for used in uses] for name, uses in PARAMS.items()}


def test_the_window_of_the_windows_install_is_one_that_the_tests_have_seen() -> None:
    (shown,) = re.findall(r"```\n(1 of 9.*?)```", text(DOCS / "windows.md"), re.DOTALL)
    seen = text(paths.PROJECT / "tests" / "data" / "windows-plans" / "rtx-2080-ti.txt").splitlines()
    assert not [line for line in shown.splitlines() if line not in seen]
