"""Buttons that show a file in the file manager and copy its path, unless the dashboard is shared."""

import os
import subprocess
import sys
from pathlib import Path

import streamlit as st

from img2vid.errors import Img2VidError
from img2vid.files import reason
from img2vid.ui import resources
from img2vid.ui.shared.copy_button import copy_button
from img2vid.ui.state import MessageArea, PageState, callback


def file_buttons(path: Path, area: MessageArea) -> None:
    """Draw both buttons, or neither if the dashboard is shared."""
    if resources.is_shared():
        return
    if opener(path):
        on_click = callback(area)(_open)
        st.button("Open folder", key=f"{area}_folder", icon=":material/folder_open:", on_click=on_click, args=(path,))
    copy_button("Copy path", str(path), f"{area}_path", quiet=True)


def opener(path: Path) -> list[str] | None:
    """Return the command that shows a file in the file manager, or None without a desktop."""
    if sys.platform == "win32":
        return ["explorer", "/select,", str(path)]  # two arguments, so that only the path is quoted
    if sys.platform == "darwin":
        return ["open", "-R", str(path)]
    has_desktop = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return ["xdg-open", str(path.parent)] if has_desktop else None


def _open(_: PageState, path: Path) -> None:
    try:
        subprocess.Popen(opener(path) or [], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except OSError as error:
        raise Img2VidError(f"the folder {path.parent} cannot be opened ({reason(error)}); open it yourself") from error
