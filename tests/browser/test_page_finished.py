"""Finished jobs while the tab is in the background: its title, and the notification of the browser."""

import re

from dashboard import Dashboard, until
from playwright.sync_api import expect
from visitor import SMALL, Visit

HIDDEN = """
(hidden) => {
    Object.defineProperty(document, 'visibilityState', { get: () => hidden ? 'hidden' : 'visible', configurable: true })
    document.dispatchEvent(new Event('visibilitychange'))
}
"""
NOTIFICATIONS = """
window.notified = []
window.Notification = class {
    static permission = 'default'
    static async requestPermission() { return Notification.permission = 'granted' }
    constructor(title, options) { window.notified.push([title, options.body]) }
}
"""
"""JavaScript: the browser's interface for notifications, without its question, which no test can answer."""


def test_the_title_announces_what_ended_until_the_user_returns(visit: Visit, dashboard: Dashboard) -> None:
    visitor = visit()
    page = visitor.page
    page.add_init_script(NOTIFICATIONS)
    visitor.reload()
    visitor.ready_with({**SMALL, "seed": 901})
    normal = page.title()

    # The Sample page in the foreground: the video itself is the news.
    visitor.press("Sample")
    visitor.wait_for_result(901)
    assert page.title() == normal

    # Another tab of the browser.
    dashboard.hold("sample", 1)
    visitor.set({"seed": 902})
    visitor.press("Sample")
    page.get_by_role("button", name="Notify me").click()
    expect(page.get_by_role("button", name="Notify me")).to_have_count(0)
    page.evaluate(HIDDEN, True)
    dashboard.release()
    expect(page).to_have_title(f"\u2713 Video ready - {normal}")
    visitor.wait_for_result(902)
    expect(page).to_have_title(f"\u2713 Video ready - {normal}")
    assert page.evaluate("window.notified") == [["\u2713 Video ready", "dogs, seed 902"]]
    page.evaluate(HIDDEN, False)
    expect(page).to_have_title(normal)

    # Another page of the dashboard, with a job that is made and one that fails.
    dashboard.hold("sample", 1)
    for seed in (903, 904):
        visitor.set({"seed": seed})
        visitor.press("Sample")
        until(lambda seed=seed: dashboard.store().jobs()[0].seed == seed, "the job")
    visitor.wait_for(re.compile("Sampling, step 1"))
    page.get_by_role("link", name="Models").click()
    expect(page.locator("[class*=st-key-model]").first).to_be_visible()
    dashboard.store().jobs()[0].picture.write_bytes(b"no picture")
    dashboard.release()
    expect(page).to_have_title(re.compile("^\u2717 Video failed - "))
    page.mouse.move(300, 300)
    expect(page).not_to_have_title(re.compile("failed"))
