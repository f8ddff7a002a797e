"""Announces finished jobs in the title of a tab in the background, and with a notification if the user allowed it."""

from typing import Any, cast

import streamlit as st

from img2vid.jobs.job import Job, State
from img2vid.ui import formatting, resources
from img2vid.ui.state import report_drawing_errors

POLL_INTERVAL = 2.0
"""Seconds between two queries for finished jobs while some are active."""
KNOWN = 30
"""Number of newest jobs that are queried."""
ENDED = {State.DONE: "ready", State.FAILED: "failed", State.INTERRUPTED: "failed"}

TITLE_JS = """
const SEEN = ['pointermove', 'keydown', 'focus', 'visibilitychange']
// Streamlit mounts the component again on each page; what it has seen must survive that.
const tab = window.img2vidFinished ??= { known: null, news: [], normal: '', watches: false }

const isWatched = () => document.visibilityState === 'visible' && document.hasFocus()
const text = () => {
    const failed = tab.news.filter((job) => job.end === 'failed')
    const same = failed.length ? failed : tab.news
    const nouns = same.length > 1 ? `${same.length} ${same[0].noun}s` : same[0].noun
    return `${failed.length ? '\u2717' : '\u2713'} ${nouns[0].toUpperCase()}${nouns.slice(1)} ${same[0].end}`
}
// Streamlit writes the title with each run of the script.
const write = () => {
    if (!tab.news.length) return
    const title = `${text()} - ${tab.normal}`
    if (document.title !== title) document.title = title
}
const seen = () => {
    if (!tab.news.length || !isWatched()) return
    tab.news = []
    document.title = tab.normal
}

export default function ({ data }) {
    const fresh = data.jobs.filter((job) => tab.known && !tab.known.has(job.id))
    tab.known = new Set([...tab.known ?? [], ...data.jobs.map((job) => job.id)])
    if (fresh.length && !(isWatched() && document.querySelector('.st-key-stage'))) {
        tab.normal = tab.news.length ? tab.normal : document.title
        tab.news.push(...fresh)
        write()
        if (window.Notification?.permission === 'granted') {
            const body = fresh.map((job) => job.title).join('\\n')
            const shown = new Notification(text(), { body, tag: 'img2vid' })
            shown.onclick = () => window.focus()
        }
    }
    if (tab.watches) return
    tab.watches = true
    setInterval(write, 500)
    for (const event of SEEN) window.addEventListener(event, seen, true)
}
"""
BUTTON_HTML = """<button type="button" hidden>Notify me</button>"""
BUTTON_CSS = """
button {
    min-height: 24px;
    padding: 0 0.5rem;
    font: inherit;
    cursor: pointer;
    color: inherit;
    background: none;
    border: 1px solid currentColor;
    border-radius: var(--st-button-radius);
}
button:focus-visible { outline: 2px solid currentColor; outline-offset: 2px }
"""
BUTTON_JS = """
export default function ({ parentElement }) {
    const button = parentElement.querySelector('button')
    button.hidden = window.Notification?.permission !== 'default'
    button.title = 'Shows a notification when a video is ready.'
    button.onclick = async () => { button.hidden = await Notification.requestPermission() !== 'default' }
}
"""


def announce_finished() -> None:
    """Add the script that watches for finished jobs; a fragment polls them while some are active."""
    with report_drawing_errors("The tab's title"):
        active = resources.open_service().store.jobs(limit=1, states=[State.RUNNING, State.WAITING])
        st.fragment(_announce, run_every=POLL_INTERVAL if active else None)()


def _announce() -> None:
    jobs = resources.open_service().store.jobs(limit=KNOWN)
    found = [_described(job) for job in jobs if job.state in ENDED]
    _component("img2vid_finished", js=TITLE_JS)(key="finished", data={"jobs": found})


def _described(job: Job) -> dict[str, str]:
    noun = "video" if job.kind == "video" else "picture"
    return {
        "id": job.id,
        "end": ENDED[job.state],
        "noun": noun,
        "title": f"{job.picture_name}, {formatting.seeds(job)}",
    }


def notify_button() -> None:
    """Draw a button that asks the browser to allow notifications; hidden when the user has decided."""
    _component("img2vid_notify", html=BUTTON_HTML, css=BUTTON_CSS, js=BUTTON_JS)(key="notify", width="content")


def _component(name: str, **files: str) -> Any:
    return cast(Any, st).components.v2.component(name, **files)
