"""Accessibility of every page in light and dark: axe-core finds nothing serious, and Tab skips help icons."""

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect
from visitor import SMALL, Visit, Visitor

SERIOUS = ("serious", "critical")
PAGES = {"Compare": "compare", "Sweeps": "sweep", "Gallery": "shelf", "Models": "model", "System": "system"}
"""Pages in the menu, and the start of the keys of their parts."""


@pytest.fixture
def visitor(visit: Visit) -> Visitor:
    """Return a visitor whose page shows a result, its first one or that of an earlier test."""
    found = visit().ready_with({**SMALL, "seed": 701})
    if not list(found.home.rglob("*_seed701.mp4")):
        found.press("Sample")
        found.wait_for_result(701)
    expect(found.page.locator(".st-key-activity [data-testid=stProgress]")).to_have_count(0)
    return found


ALL_OPEN = """
() => {
    const closed = [...document.querySelectorAll('details:not([open]) > summary')]
    closed.forEach((summary) => summary.click())
    return !closed.length && !document.querySelector('[data-stale=true]')
}
"""
"""JavaScript: opens all expanders; true once none was closed. More may arrive while the page is drawn."""


def serious(visitor: Visitor) -> list[str]:
    """Open all expanders and return the serious findings: rule, element and reason."""
    visitor.page.wait_for_load_state("networkidle")
    visitor.page.wait_for_function(ALL_OPEN, polling=1000)
    found: list[dict[str, Any]] = Axe().run(visitor.page).response["violations"]
    return [
        f"{rule['id']}: {node['html'][:200]} {node['failureSummary'][:300]}"
        for rule in found
        if rule["impact"] in SERIOUS
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize("colors", ["light", "dark"])
def test_axe_finds_nothing_serious(visitor: Visitor, colors: str) -> None:
    visitor.page.emulate_media(color_scheme="dark" if colors == "dark" else "light")
    found = {"Sample": serious(visitor)}
    visitor.picture(f"access_sample_{colors}")
    for page, part in PAGES.items():
        visitor.page.get_by_role("link", name=page).click()
        expect(visitor.page.locator(f"[class*=st-key-{part}]").first).to_be_visible()
        found[page] = serious(visitor)
        visitor.picture(f"access_{page.lower()}_{colors}")
        if page == "Gallery":
            visitor.page.locator("[class*=st-key-open_] button").first.click()
            expect(visitor.page.locator(".st-key-entry_settings")).to_be_visible()
            found["entry of the gallery"] = serious(visitor)
            visitor.picture(f"access_entry_{colors}")
            visitor.press("All videos")
            expect(visitor.page.locator(".st-key-shelf")).to_be_visible()
    assert not any(found.values()), "\n".join(f"{page}: {line}" for page, lines in found.items() for line in lines)


def test_tab_skips_help_icons_and_f1_opens_them(visitor: Visitor) -> None:
    page = visitor.page
    order = "() => [...document.querySelectorAll('[data-testid=stTooltipIcon] button')].every(one => one.tabIndex < 0)"
    page.wait_for_function(order)
    visitor.number("fps").focus()
    page.keyboard.press("F1")
    expect(page.get_by_role("tooltip")).to_contain_text("frame rate", ignore_case=True)
    page.keyboard.press("Escape")
    expect(visitor.number("fps")).to_be_focused()


def test_ctrl_and_enter_press_sample_with_what_was_typed(visitor: Visitor) -> None:
    visitor.number("seed").fill("702")
    visitor.number("seed").press("Control+Enter")
    visitor.wait_for_result(702)
