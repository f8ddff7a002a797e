"""The whole input with the crop as a frame that is moved by mouse, touch or arrow keys."""

from collections.abc import Callable
from typing import Any, cast

import streamlit as st

HTML = """
<div class="crop-box">
    <img alt="" draggable="false">
    <div class="crop-frame" role="slider" tabindex="0" aria-label="Crop" aria-valuenow="0.5"></div>
</div>
"""
CSS = """
.crop-box {
    position: relative;
    overflow: hidden;
    margin: 0 auto;
    width: min(100%, calc(16rem * var(--ratio)));
    aspect-ratio: var(--ratio);
    border-radius: var(--st-base-radius);
}
.crop-box img { display: block; width: 100%; height: 100%; user-select: none }
.crop-frame {
    position: absolute;
    box-sizing: border-box;
    border: 2px solid #ffffff;
    box-shadow: 0 0 0 1px #000000, 0 0 0 100vmax rgb(0 0 0 / 62%);
    cursor: grab;
}
.crop-frame::after {
    content: "\\2195";
    position: absolute;
    left: 50%;
    bottom: 4px;
    width: 1.5rem;
    translate: -50%;
    border-radius: 1rem;
    text-align: center;
    font-size: 1rem;
    line-height: 1.5rem;
    color: #000000;
    background: rgb(255 255 255 / 85%);
}
.crop-frame[aria-orientation=horizontal]::after { content: "\\2194" }
.crop-frame:active { cursor: grabbing }
.crop-frame:focus-visible { outline: 3px solid var(--st-primary-color); outline-offset: -5px }
"""
JS = """
const KEYS = { ArrowLeft: -0.01, ArrowUp: -0.01, ArrowRight: 0.01, ArrowDown: 0.01, PageUp: -0.1, PageDown: 0.1 }
const ENDS = { Home: 0, End: 1 }
const TYPED = 400 // milliseconds after a key until the value is sent
const SENT = 3000 // milliseconds in which values of earlier runs are ignored

export default function ({ data, parentElement, setStateValue }) {
    const box = parentElement.querySelector('.crop-box')
    box.crop ??= new Crop(box, data.offset)
    box.crop.take(data, setStateValue)
    return () => box.crop.leave()
}

class Crop {
    constructor(box, offset) {
        this.box = box
        this.sent = offset // value that the server knows
        this.waits = false
        const [, frame] = box.children
        this.frame = frame
        frame.onpointerdown = (event) => {
            frame.setPointerCapture(event.pointerId)
            this.grabbed = { at: this.position(event), offset: this.offset }
        }
        frame.onpointermove = (event) => {
            if (!this.grabbed) return
            const moved = this.position(event) - this.grabbed.at
            this.place(this.grabbed.offset + moved / (this.length * (1 - this.data.share)))
        }
        frame.onpointerup = frame.onpointercancel = () => {
            this.grabbed = null
            this.send()
        }
        frame.onkeydown = (event) => this.key(event)
        frame.onblur = () => this.send()
        box.onclick = (event) => event.target !== frame && this.center(event)
    }

    take(data, tell) {
        this.data = data
        this.tell = tell
        this.across = data.side === 'width'
        const { box, frame } = this
        const [image] = box.children
        if (image.src !== data.image) image.src = data.image
        image.alt = data.alt
        frame.title = 'Drag the frame, or move it with the arrow keys'
        box.style.setProperty('--ratio', data.ratio)
        frame.style.inset = frame.style.width = frame.style.height = ''
        Object.assign(frame.style, this.across ? { top: 0, height: '100%' } : { left: 0, width: '100%' })
        frame.style[data.side] = `${100 * data.share}%`
        frame.style.touchAction = this.across ? 'pan-y' : 'pan-x'
        const about = { label: 'Crop', valuemin: 0, valuemax: 1, orientation: this.across ? 'horizontal' : 'vertical' }
        for (const [name, value] of Object.entries(about)) frame.setAttribute(`aria-${name}`, value)
        this.offset ??= data.offset
        this.place(this.offset)
        this.settle()
    }

    leave() {
        clearTimeout(this.typed)
        clearTimeout(this.settles)
    }

    get length() {
        return this.across ? this.box.clientWidth : this.box.clientHeight
    }

    position(event) {
        return this.across ? event.clientX : event.clientY
    }

    place(offset) {
        this.offset = Math.round(Math.min(Math.max(offset, 0), 1) * 100) / 100
        this.frame.style[this.across ? 'left' : 'top'] = `${100 * this.offset * (1 - this.data.share)}%`
        this.frame.setAttribute('aria-valuenow', this.offset)
    }

    center(event) {
        const { left, top } = this.box.getBoundingClientRect()
        const middle = (this.position(event) - (this.across ? left : top)) / this.length
        this.place((middle - this.data.share / 2) / (1 - this.data.share))
        this.send()
    }

    key(event) {
        if (event.ctrlKey || event.metaKey || event.altKey) return
        const target = event.key in KEYS ? this.offset + KEYS[event.key] : ENDS[event.key]
        if (target === undefined) return
        event.preventDefault()
        event.stopPropagation()
        this.place(target)
        clearTimeout(this.typed)
        this.typed = setTimeout(() => this.send(), TYPED)
    }

    send() {
        clearTimeout(this.typed)
        if (this.offset === this.sent) return this.settle()
        this.sent = this.offset
        this.waits = true
        clearTimeout(this.settles)
        this.settles = setTimeout(() => {
            this.waits = false
            this.settle()
        }, SENT)
        // A state: a trigger is lost when a click follows at once. The time distinguishes equal moves.
        this.tell('move', { offset: this.offset, time: Date.now() })
    }

    // Takes over the server's value, unless the user is changing it.
    settle() {
        if (this.grabbed || this.offset !== this.sent || (this.waits && this.data.offset !== this.sent)) return
        this.sent = this.data.offset
        this.place(this.sent)
    }
}
"""


def crop_frame(key: str, data: dict[str, Any], on_move: Callable[[], None]) -> None:
    """Draw the frame. Another picture needs another key, so that late events of its predecessor are ignored.

    data: `image` (URL), `alt`, `ratio` (width / height), the `side` that the crop trims, "width" or "height", the
    `share` of it that is kept, and `offset` from 0 to 1. on_move: callback; the widget's `move` has the new `offset`
    and the `time` of the move.
    """
    # Not isolated: scripts and assistive programs find the focused frame in the document.
    component = cast(Any, st).components.v2.component("img2vid_crop", html=HTML, css=CSS, js=JS, isolate_styles=False)
    component(key=key, data=data, on_move_change=on_move)
