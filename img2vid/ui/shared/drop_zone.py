"""Text and script of the uploader: files above the limit are reported in words, and images can be pasted.

Streamlit's uploader has no option for its text, and it rejects large files without telling the server. The script sends
a stand-in with the size instead, so that all files of a drop are reported together.
"""

from typing import Any, cast

import streamlit as st

from img2vid.ui.uploads import TOO_LARGE

CSS = """
[data-testid=stFileUploaderDropzone] { align-items: center; min-height: 6rem; border-style: dashed }
[data-testid=stFileUploaderDropzoneInstructions] > div { display: none }
[data-testid=stFileUploaderDropzoneInstructions] { display: block; line-height: 1.35 }
[data-testid=stFileUploaderDropzoneInstructions]::before {
    content: "Drop an image here: JPEG, PNG, WebP, HEIC ..., or paste it with " var(--img2vid-paste, "Ctrl+V") ".";
    display: block;
}
[data-testid=stFileUploaderDropzoneInstructions]::after {
    content: "Several images make a batch. Videos of img2vid, settings files and ComfyUI workflows restore settings.";
    display: block;
    margin-top: 0.25rem;
    font-size: 0.875em;
    color: color-mix(in srgb, currentColor 78%, transparent);
}
@media (pointer: coarse) {
    [data-testid=stFileUploaderDropzoneInstructions]::before { content: "Add an image: JPEG, PNG, WebP, HEIC ..." }
}
.st-key-input:has(.st-key-remove_input) [data-testid=stFileUploaderDropzoneInstructions]::after { content: none }
.st-key-drop_zone { position: absolute }
.st-key-batch { max-height: 22rem; overflow-y: auto }
.st-key-batch button p {
    display: -webkit-box;
    -webkit-box-orient: vertical;
    -webkit-line-clamp: 2; /* the help has the whole name */
    overflow: hidden;
    overflow-wrap: anywhere;
}
"""
JS = """
const TEXTS = 'textarea, [contenteditable=true], input:not([type=checkbox], [type=radio], [type=range], [type=file])'

export default function ({ data }) {
    const { limit, type } = data
    const input = () => document.querySelector('[data-testid=stFileUploaderDropzoneInput]')
    const hasLarge = (files) => [...files].some((file) => file.size > limit)
    const give = (files) => {
        const given = new DataTransfer()
        for (const file of files) {
            given.items.add(file.size > limit ? new File([`${file.size}`], file.name, { type }) : file)
        }
        input().files = given.files
        input().dispatchEvent(new Event('change', { bubbles: true }))
    }
    const change = (event) => {
        if (event.target !== input() || !hasLarge(event.target.files)) return
        event.stopImmediatePropagation()
        give([...event.target.files])
    }
    const drop = (event) => {
        const zone = event.target.closest?.('[data-testid=stFileUploaderDropzone]')
        if (!zone || !hasLarge(event.dataTransfer.files)) return
        event.preventDefault()
        event.stopImmediatePropagation()
        give([...event.dataTransfer.files])
    }
    const paste = (event) => {
        const { files, types } = event.clipboardData
        const typing = document.activeElement?.closest(TEXTS) && types.includes('text/plain')
        if (!files.length || !input() || typing) return
        event.preventDefault()
        // Browsers name a picture that is not from a file "image.png".
        const named = (file) => (file.name === 'image.png' ? new File([file], 'pasted.png', { type: file.type }) : file)
        give([...files].map(named))
    }
    if (/Mac|iP/.test(navigator.platform)) document.documentElement.style.setProperty('--img2vid-paste', '"\\u2318V"')
    const actions = { change, drop, paste }
    for (const [name, act] of Object.entries(actions)) document.addEventListener(name, act, true)
    return () => {
        for (const [name, act] of Object.entries(actions)) document.removeEventListener(name, act, true)
    }
}
"""


def drop_zone() -> int:
    """Add text and script to the page's uploader and return its limit in bytes."""
    limit = int(st.get_option("server.maxUploadSize")) * 2**20
    component = cast(Any, st).components.v2.component("img2vid_drop_zone", css=CSS, js=JS, isolate_styles=False)
    component(key="drop_zone", data={"limit": limit, "type": TOO_LARGE})
    return limit
