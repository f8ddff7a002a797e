"""Tables and examples in docs/ match the program."""

import re
from pathlib import Path
from typing import get_args

import pytest
import yaml

from img2vid import paths
from img2vid.cli import main
from img2vid.cli.options import GROUPS
from img2vid.settings import SampleSettings, requirement
from img2vid.versions import ModelVersion, load_versions

DOCS = paths.PROJECT / "docs"
COMMAND_LINE = DOCS / "command-line.md"
CONFIGURATION = DOCS / "configuration.md"
OWN_CHECKPOINT = DOCS / "own-checkpoint.md"
MODELS = ("list", "download", "verify", "add", "remove", "convert")
BY_VERSION = {"height", "width", "num_frames", "num_steps", "max_scale", "min_scale", "decode_t"}


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def default(name: str) -> str:
    """Return the default of a setting as the page shows it."""
    value = SampleSettings.model_fields[name].default
    if name in BY_VERSION:
        return "see Versions"
    if name == "saving_fps":
        return "the value of `--fps`"
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"`{value:.15g}`" if isinstance(value, float) else f"`{value}`"


def option_row(name: str) -> str:
    option = f"--{name.replace('_', '-')}"
    field = SampleSettings.model_fields[name]
    names = f"`{option}`, `--no-{option[2:]}`" if field.annotation is bool else f"`{option}`"
    takes = "nothing" if field.annotation is bool else requirement(name)
    return f"| {names} | {takes} | {default(name)} | {field.description} |"


def version_row(version: ModelVersion) -> str:
    settings = version.settings({})
    numbers = (version.num_frames, settings.num_steps, settings.min_scale, settings.max_scale, settings.decode_t)
    cells = [f"`{version.name}`", f"{version.width} x {version.height}", *(f"{number:g}" for number in numbers)]
    return f"| {' | '.join([*cells, str(version.size_step)])} |"


@pytest.mark.parametrize("group", GROUPS)
def test_the_options_are_listed_with_their_ranges_and_defaults(group: str) -> None:
    heading, head, rule = (
        f"### {group[0].upper()}{group[1:]}",
        "| Option | Takes | Default | Meaning |",
        "|---|---|---|---|",
    )
    expected = "\n".join([heading, "", head, rule, *map(option_row, GROUPS[group]), ""])
    assert expected in text(COMMAND_LINE), f"this belongs into {COMMAND_LINE.name}:\n{expected}"


def test_the_versions_are_listed_with_their_defaults() -> None:
    shipped = yaml.safe_load(text(paths.CONFIGS / "versions.yaml"))
    expected = "\n".join(version_row(version) for name, version in load_versions().items() if name in shipped)
    assert expected in text(COMMAND_LINE), f"this belongs into {COMMAND_LINE.name}:\n{expected}"
    varying = {name for row in shipped.values() for name in row["defaults"]}
    assert varying - {"fps", "motion_bucket_id"} <= BY_VERSION


def test_every_option_in_the_examples_exists(capsys: pytest.CaptureFixture[str]) -> None:
    known = ""
    for command in (
        ["--help"],
        ["sample", "--help"],
        ["sweep", "--help"],
        ["compare", "--help"],
        ["bench", "--help"],
        *(["models", name, "--help"] for name in MODELS),
    ):
        with pytest.raises(SystemExit):
            main.run(command)
        known += capsys.readouterr().out
    for path in (COMMAND_LINE, OWN_CHECKPOINT, DOCS / "models.md", DOCS / "benchmark.md", DOCS / "sweeps.md"):
        written = {*re.findall(r"(?<![\w-])--[a-z][a-z-]+", text(path))} - {"--setup-only"}
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
    missing = [name for name in ModelVersion.model_fields if name != "name" and f"| `{name}` |" not in page]
    assert not missing


def test_the_row_that_is_shown_is_a_row_that_is_read() -> None:
    block = re.search(r"```yaml\n(.*?)```", text(OWN_CHECKPOINT), re.DOTALL)
    assert block is not None
    ((name, row),) = yaml.safe_load(block[1]).items()
    version = ModelVersion(name=name, **row)
    assert version.config_path.is_file()
    assert version.settings({}).version == name


@pytest.mark.parametrize("path", sorted(DOCS.glob("*.md")), ids=lambda path: path.name)
def test_links_between_the_pages_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", text(path)):
        assert target.startswith("https://") or (path.parent / target).exists(), target


def test_choices_of_the_choices_are_spelled_in_full() -> None:
    page = text(COMMAND_LINE)
    for name in ("sampler", "discretization", "guider"):
        assert all(choice in page for choice in get_args(SampleSettings.model_fields[name].annotation))


def test_the_window_of_the_windows_install_is_one_that_the_tests_have_seen() -> None:
    (shown,) = re.findall(r"```\n(1 of 9.*?)```", text(DOCS / "windows.md"), re.DOTALL)
    seen = text(paths.PROJECT / "tests" / "data" / "windows-plans" / "rtx-2080-ti.txt").splitlines()
    assert not [line for line in shown.splitlines() if line not in seen]
