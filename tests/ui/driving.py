"""Helpers that act on a page and read its contents."""

import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Selectbox

from img2vid import paths
from img2vid.gallery.entries import Entries
from img2vid.jobs.store import Store

Open = Callable[..., AppTest]
"""Function that opens a new tab, or an earlier one by its name."""
PHOTO = paths.PROJECT / "assets" / "dogs.jpg"
KINDS = {".jpg": "image/jpeg", ".png": "image/png", ".mp4": "video/mp4", ".json": "application/json"}
WITH_LABELS = ("number_input", "selectbox", "checkbox", "text_input", "slider", "button", "expander")


def open_at(draw: Callable[[], None], tab: str | None = None) -> AppTest:
    """Open a page by the function that draws it, in a new tab or an earlier one."""
    page = AppTest.from_function(draw, default_timeout=120)
    if tab is not None:
        page.query_params["tab"] = tab
    page.run()
    assert not page.exception
    return page


def press(page: AppTest, key: str, *, refused: bool = False) -> AppTest:
    """Press a button; refused: an error must be shown."""
    page.button(key=key).click().run()
    assert not page.exception and bool(page.error) is refused, (page.exception, said(page.error))
    return page


def measured(page: AppTest, store: Store) -> AppTest:
    """Run the page until all videos are measured."""
    page.run()
    deadline = time.monotonic() + 60
    while not all(entry.measurement for entry in Entries(store).find()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
        page.run()  # requests what no running measurement includes
    return page.run()


def drop(page: AppTest, path: Path, name: str | None = None) -> AppTest:
    """Upload a file to Input."""
    return drop_bytes(page, path.read_bytes(), name or path.name)


def drop_bytes(page: AppTest, data: bytes, name: str) -> AppTest:
    return drop_all(page, {name: data})


def kind_of(name: str) -> str:
    return KINDS.get(Path(name).suffix, "application/octet-stream")


def drop_all(page: AppTest, files: Mapping[str, bytes]) -> AppTest:
    """Upload several files to Input at once."""
    page.file_uploader[0].set_value([(name, data, kind_of(name)) for name, data in files.items()])
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


def unescaped(text: str) -> str:
    """Return Markdown as the browser shows it: punctuation without its escapes."""
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text)


def caption(page: AppTest) -> str:
    """Return the text of all captions without Markdown escapes."""
    return "\n".join(unescaped(element.value) for element in page.caption)


def said(kind: Any) -> str:
    """Return the text of all elements of a kind, such as `page.error`, without Markdown escapes."""
    return "\n".join(unescaped(element.value) for element in kind)


def bars(page: AppTest) -> list[tuple[int, str]]:
    """Return percent and text of every progress bar; older AppTest releases have no `page.progress`."""
    found: list[Any] = list(page.get("progress"))
    return [(element.proto.value, element.proto.text) for element in found]


def markdown(page: AppTest) -> str:
    return "\n".join(unescaped(element.value) for element in page.markdown)


def selectbox(page: AppTest, label: str) -> Selectbox:
    """Return the only selectbox with a label, for those whose key changes."""
    (box,) = [box for box in page.selectbox if box.label == label]
    return box
