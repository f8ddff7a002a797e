"""Options shared by the commands that make videos: engine options, and one option per setting."""

import argparse
import os
import re
from pathlib import Path
from typing import Any

from img2vid.documents import read_limited
from img2vid.errors import BadInput, shown
from img2vid.files import reason
from img2vid.options import CHOICES, MOST_THREADS, OPTIONS, LoadOptions, whole_number
from img2vid.presets import find_preset
from img2vid.settings import ABOUT, GROUPS, SampleSettings
from img2vid.settings_validation import requirement


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Add the engine options."""
    group = parser.add_argument_group("engine")
    for name, about in OPTIONS.items():
        option, default = f"--{name.replace('_', '-')}", getattr(LoadOptions(), name)
        if default is False:
            group.add_argument(option, action="store_true", default=None, help=about["help"])
            continue
        usual = f"{about['variable']} or {default}" if about["variable"] else default
        values = f"{{{','.join(CHOICES[name])}}}" if name in CHOICES else name.upper()
        group.add_argument(option, metavar=values, help=f"{about['help']} (default: {usual})")


def add_settings(parser: argparse.ArgumentParser, without: tuple[str, ...] = ()) -> None:
    """Add an option per setting except those in `without`. Unset options use the model version's defaults."""
    parser.add_argument("--preset", metavar="NAME", help="Reference, Fast, Draft or one of yours; options override it")
    for title, names in GROUPS.items():
        group = parser.add_argument_group(title)
        for name in names:
            if name not in without:
                _add_setting(group, name)


def path_given(text: str) -> Path:
    """Return a path argument; the type of argparse. An empty one, as of an unset variable, is refused."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"a path is needed, got {text!r}; the current folder is .")
    return Path(text)


def preset_given(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of the preset given on the command line, if any. Raise BadInput if it is unknown."""
    return {} if arguments.preset is None else dict(find_preset(arguments.preset).settings)


def settings_given(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the settings given on the command line, as text."""
    given = {name: getattr(arguments, name, None) for name in SampleSettings.model_fields}
    return {name: _contents(name, value) for name, value in given.items() if value is not None}


def _contents(name: str, value: Any) -> Any:
    """Return a value, or the text of the file that it names if the setting is a text of numbers."""
    if ABOUT[name].numbers is None or re.fullmatch(r"[-+\d.,eE\s]*", value):
        return value
    try:
        text = read_limited(Path(value)).decode()
        if not text.strip():
            raise ValueError("it is empty")
        return text
    except (OSError, ValueError) as error:
        problem = f"the file {shown(repr(value))} cannot be read ({reason(error)})"
        raise BadInput(f"{name} must be {requirement(name)}, or a text file of them; {problem}") from error


def options_given(arguments: argparse.Namespace) -> LoadOptions:
    """Return the engine options. Raise BadInput if one is invalid."""
    given = {name: getattr(arguments, name) for name in OPTIONS if getattr(arguments, name) is not None}
    given.setdefault("provider", os.environ.get("IMG2VID_ENGINE") or "auto")
    given["threads"] = whole_number("threads", given.get("threads", "0"), 0, MOST_THREADS)
    options = LoadOptions(**given)
    options.check()
    return options


def _add_setting(group: Any, name: str) -> None:
    field = SampleSettings.model_fields[name]
    option = f"--{name.replace('_', '-')}"
    if field.annotation is bool:
        text = f"{field.description} Default: {'on' if field.default else 'off'}."
        group.add_argument(option, action=argparse.BooleanOptionalAction, default=None, help=text)
        return
    takes = requirement(name)
    default = "" if field.default is None else f"; default: {_default(name, field.default)}"
    text = f"{field.description} {takes[0].upper()}{takes[1:]}{default}.".replace("%", "%%")
    group.add_argument(option, default=None, metavar=name.upper(), help=text)


def _default(name: str, value: Any) -> str:
    if ABOUT[name].by_version:
        return "the version's"
    return f"{value:.15g}" if isinstance(value, float) else str(value)
