"""Copy-to-clipboard button; Streamlit has one only for code blocks."""

from typing import Any, cast

import streamlit as st

HTML = """<button type="button">Copy</button>"""
CSS = """
button {
    font: inherit;
    font-size: calc(0.875 * var(--st-base-font-size)); /* as the labels of Streamlit's buttons */
    min-height: 2.5rem;
    padding: 0.25rem 0.75rem;
    cursor: pointer;
    color: #ffffff;
    background: var(--st-primary-color);
    border: 1px solid var(--st-primary-color);
    border-radius: var(--st-button-radius);
}
button.quiet { color: var(--st-text-color); background: transparent; border-color: var(--st-border-color); }
button:hover { filter: brightness(1.1); }
button:focus-visible { outline: 2px solid var(--st-primary-color); outline-offset: 2px; }
"""
# On pages without HTTPS, browsers have no clipboard API; copying a selection is the fallback.
JS = """
export default function ({ data, parentElement }) {
    const button = parentElement.querySelector('button')
    const say = (words) => { button.textContent = words }
    const select = () => {
        const area = document.createElement('textarea')
        area.value = data.text
        document.body.append(area)
        area.select()
        const done = document.execCommand('copy')
        area.remove()
        if (!done) throw new Error('refused')
    }
    say(data.label)
    button.className = data.quiet ? 'quiet' : ''
    button.onclick = async () => {
        try {
            if (navigator.clipboard) await navigator.clipboard.writeText(data.text).catch(select)
            else select()
            say('Copied')
        } catch {
            say('Blocked by the browser')
        }
        setTimeout(() => say(data.label), 2500)
    }
}
"""


def copy_button(label: str, text: str, key: str, *, quiet: bool = False) -> None:
    """Draw a button that copies `text`; quiet: without the primary color."""
    # Streamlit registers components by name; registering the same one again is free.
    component = cast(Any, st).components.v2.component("img2vid_copy", html=HTML, css=CSS, js=JS)
    component(data={"label": label, "text": text, "quiet": quiet}, key=key, width="content")
