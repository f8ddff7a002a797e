"""Script of all pages: starts videos, requests failed videos and images again, plays cards, and handles keys.

Streamlit autoplays a video only when it is first added to the page. If the page is drawn twice in quick succession, as
after a reload on a busy computer, the video is added again, without the attribute autoplay, and would never start; a
script starts the video of `autoplaying_video`. A video or image that is requested while Streamlit has dropped it, in
the middle of a script run, would stay empty; it is reloaded. Cards (`card_NUMBER`) play their video while the pointer
or the keyboard's focus is on them. A button that starts a run scrolls to the result area if that is out of sight.

Tab skips the help icons; F1 shows the help of the focused control, and Escape returns to it. Ctrl+Enter starts a run.

A number field that is left empty, or with a number that Streamlit cannot hold or cuts (1.5 and 1e3 if whole numbers are
expected), is reported: Streamlit would use another number without a word. Fields with limits have their own messages.
"""

from pathlib import Path
from typing import Any, cast

import streamlit as st

from img2vid.ui.shared.fields import SCRIPT_KEY, left_empty

JS = """
const FIRST = 500 // milliseconds until a failed file is requested again; doubles with each attempt
const LONGEST = 30000
const STARTS = ['sample', 'new_seed', 'sample_extend', 'sample_extend_several', 'create', 'create_and_animate']
    .map((key) => `.st-key-${key} button`).join()
const COMMITS = ['input', 'focusout', 'keydown'] // capturing, because Streamlit restores the old number

const retry = (element, request) => {
    const now = performance.now()
    element.retryAt ??= now + (element.delay ??= FIRST)
    if (now < element.retryAt) return
    element.delay = Math.min(2 * element.delay, LONGEST)
    element.retryAt = undefined
    request()
}

const look = () => {
    for (const video of document.querySelectorAll('video')) {
        if (video.error) retry(video, () => video.load())
        if (video.played.length || !video.paused || video.readyState < 2 || !video.closest('.st-key-autoplay')) continue
        video.play().catch(() => {}) // fails if the video is replaced; the next one is started then
    }
    for (const icon of document.querySelectorAll('[data-testid=stTooltipIcon] button')) icon.tabIndex = -1
    // Long code scrolls, which must work with keys too.
    for (const code of document.querySelectorAll('[data-testid=stCode] pre')) code.tabIndex = 0
    for (const image of document.querySelectorAll('img')) {
        if (image.src && image.complete && !image.naturalWidth) retry(image, () => { image.src = image.src })
    }
}

const stop = () => document.querySelectorAll('video[data-hover]').forEach((video) => video.remove())

const play = (event) => {
    const card = event.target.closest?.('[class*="st-key-card_"]')
    if (!card) return event.type === 'focusin' ? undefined : stop()
    const image = card.querySelector('img')
    if (!image || card.querySelector('video[data-hover]')) return
    stop()
    if (matchMedia('(prefers-reduced-motion: reduce)').matches) return
    const number = card.className.match(/st-key-card_(\\d+)/)?.[1]
    const video = document.createElement('video')
    Object.assign(video, { muted: true, loop: true, autoplay: true, playsInline: true })
    video.dataset.hover = ''
    video.setAttribute('aria-hidden', 'true')
    video.src = new URL(`clip/${number}`, document.baseURI)
    video.style.cssText = 'position:absolute;inset:0;width:100%;height:100%;object-fit:cover;pointer-events:none'
    image.parentElement.style.position = 'relative'
    image.parentElement.append(video)
}

// In a narrow window, or far down the page, a started run would be out of sight.
const reveal = (event) => {
    const stage = document.querySelector('.st-key-stage')
    if (!stage || !event.target.closest?.(STARTS)) return
    const { top, bottom, height } = stage.getBoundingClientRect()
    const bar = document.querySelector('.st-key-start').getBoundingClientRect()
    const end = bar.left < stage.getBoundingClientRect().right ? bar.top : innerHeight
    if (Math.min(bottom, end) - Math.max(top, 0) > height / 2) return
    const still = matchMedia('(prefers-reduced-motion: reduce)').matches
    stage.scrollIntoView({ block: 'start', behavior: still ? 'instant' : 'smooth' })
}

const controlWithHelp = (element) => {
    for (let part = element; part && part !== document.body; part = part.parentElement) {
        const icon = part.querySelector('[data-testid=stTooltipIcon] button')
        if (icon) return icon
        if (part.dataset?.testid === 'stElementContainer') return null
    }
    return null
}

let helped = null // the control whose help is shown
const key = (event) => {
    if (event.key === 'F1') {
        const icon = controlWithHelp(document.activeElement)
        if (!icon) return
        event.preventDefault()
        helped = document.activeElement
        icon.focus()
        icon.dispatchEvent(new MouseEvent('mouseover', { bubbles: true }))
    } else if (event.key === 'Escape' && helped) {
        document.activeElement.dispatchEvent(new MouseEvent('mouseout', { bubbles: true }))
        helped.focus()
        helped = null
    } else if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
        const run = document.querySelector(':is(.st-key-sample, .st-key-compare_start, .st-key-sweep_start) button')
        if (!run) return
        document.activeElement.blur() // sends what was typed
        setTimeout(() => run.click(), 100)
    }
}

const emptied = (event, send) => {
    const field = event.target
    if (field.dataset?.testid !== 'stNumberInputField' || Number(field.max) < Number.MAX_SAFE_INTEGER) return
    if (event.type === 'input') return void (field.edited = true)
    if (!field.edited || (event.type === 'keydown' && event.key !== 'Enter')) return
    field.edited = false
    const text = field.value
    const cut = Number.isInteger(Number(field.step)) && !/^-?\\d+$/.test(text)
    if (text !== '' && !cut && Math.abs(Number(text)) <= Number.MAX_SAFE_INTEGER) return
    if (text !== '') { // Streamlit would cut this number, or keep it in the field
        Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(field, '')
        field.dispatchEvent(new Event('input', { bubbles: true }))
        field.edited = false
    }
    const key = field.closest('[class*="st-key-"]')?.className.match(/st-key-(\\S+)/)?.[1]
    if (key) setTimeout(() => send('emptied', { key, text })) // after the number that Streamlit sends instead
}

export default function ({ setTriggerValue }) {
    const left = (event) => emptied(event, setTriggerValue)
    for (const type of COMMITS) document.addEventListener(type, left, true)
    look()
    const timer = setInterval(look, 500)
    document.addEventListener('mouseover', play)
    document.addEventListener('focusin', play)
    document.addEventListener('click', reveal)
    document.addEventListener('keydown', key)
    return () => {
        clearInterval(timer)
        document.removeEventListener('mouseover', play)
        document.removeEventListener('focusin', play)
        document.removeEventListener('click', reveal)
        document.removeEventListener('keydown', key)
        for (const type of COMMITS) document.removeEventListener(type, left, true)
    }
}
"""


def autoplaying_video(path: Path, alt: str) -> None:
    """Draw the page's only video that starts by itself, muted and in a loop."""
    with st.container(key="autoplay"):
        st.video(path, loop=True, autoplay=True, muted=True, alt=alt)


def watch_media() -> None:
    """Add script and style to the page."""
    st.html(Path(__file__).with_name("page.css"))
    cast(Any, st).components.v2.component("img2vid_media", js=JS)(key=SCRIPT_KEY, on_emptied_change=left_empty)
