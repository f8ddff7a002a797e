"""Icon and logo for the browser tab and the sidebar; the colors are in .streamlit/config.toml.

They are inline SVG because Streamlit fetches a named page icon from an external server.
"""

ICON = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">
<rect width="32" height="32" rx="7" fill="#1f6f6b"/>
<rect x="6" y="8" width="14" height="16" rx="2.5" fill="#ffffff" fill-opacity="0.45"/>
<path d="M13 9.6v12.8a1.2 1.2 0 0 0 1.84 1l10-6.4a1.2 1.2 0 0 0 0-2l-10-6.4a1.2 1.2 0 0 0-1.84 1z" fill="#ffffff"/>
</svg>"""
"""An image that turns into a video."""

LOGO = f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 148 32">
<svg width="32" height="32">{ICON}</svg>
<text x="42" y="23" font-family="Source Sans 3, Source Sans Pro, Segoe UI, Helvetica, Arial, sans-serif" font-size="21"
font-weight="600" fill="#2f8f88">img2vid</text>
</svg>"""
"""Icon and name, in a green that is readable on light and dark backgrounds."""
