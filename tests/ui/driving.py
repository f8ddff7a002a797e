"""Helpers that act on a page and read its contents."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from streamlit.testing.v1 import AppTest

from img2vid import paths

Open = Callable[..., AppTest]
"""Function that opens a new tab, or an earlier one by its name."""
PHOTO = paths.PROJECT / "assets" / "dogs.jpg"
KINDS = {".jpg": "image/jpeg", ".png": "image/png", ".mp4": "video/mp4", ".json": "application/json"}
WITH_LABELS = ("number_input", "selectbox", "checkbox", "text_input", "slider", "button", "expander")


def drop(page: AppTest, path: Path, name: str | None = None) -> AppTest:
    """Upload a file to Input."""
    return drop_bytes(page, path.read_bytes(), name or path.name)


def drop_bytes(page: AppTest, data: bytes, name: str) -> AppTest:
    kind = KINDS.get(Path(name).suffix, "application/octet-stream")
    page.file_uploader[0].upload(name, data, kind)
    page.run()
    assert not page.exception
    return page


def tab_of(page: AppTest) -> str:
    """Return the tab's name from its URL."""
    value: Any = page.query_params["tab"]
    return value if isinstance(value, str) else value[0]


def labels(block: Any) -> list[str]:
    """Return the labels of all widgets in a part of the page, in page order."""
    return [element.label for element in elements(block) if element.type in WITH_LABELS]


def elements(block: Any) -> list[Any]:
    found: list[Any] = []
    for child in block.children.values():
        if hasattr(child, "label"):
            found.append(child)
        if hasattr(child, "children"):
            found.extend(elements(child))
    return found


def caption(page: AppTest) -> str:
    """Return the text of all captions without Markdown escapes."""
    return "\n".join(element.value for element in page.caption).replace("\\", "")


def said(kind: Any) -> str:
    """Return the text of all elements of a kind, such as `page.error`, without Markdown escapes."""
    return "\n".join(element.value for element in kind).replace("\\", "")


def bars(page: AppTest) -> list[tuple[int, str]]:
    """Return percent and text of every progress bar; older AppTest releases have no `page.progress`."""
    found: list[Any] = list(page.get("progress"))
    return [(element.proto.value, element.proto.text) for element in found]


def markdown(page: AppTest) -> str:
    return "\n".join(element.value for element in page.markdown).replace("\\", "")
