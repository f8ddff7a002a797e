"""Pages of the dashboard, which `python3 scripts/run.py` opens in the browser."""

import streamlit as st

import img2vid
from img2vid.ui.branding import ICON, LOGO
from img2vid.ui.compare.page import compare
from img2vid.ui.gallery.page import gallery
from img2vid.ui.models.page import models
from img2vid.ui.sample.page import sample
from img2vid.ui.sweeps.page import sweeps
from img2vid.ui.system.page import system

st.set_page_config(
    page_title="img2vid",
    page_icon=ICON,
    layout="wide",
    menu_items={"About": f"img2vid {img2vid.__version__} turns an image into a short video."},
)
st.logo(LOGO, icon_image=ICON)
st.navigation(
    [
        st.Page(sample, title="Sample", icon=":material/movie:", default=True),
        st.Page(compare, title="Compare", icon=":material/compare:"),
        st.Page(sweeps, title="Sweeps", icon=":material/grid_on:"),
        st.Page(gallery, title="Gallery", icon=":material/photo_library:"),
        st.Page(models, title="Models", icon=":material/deployed_code:"),
        st.Page(system, title="System", icon=":material/memory:"),
    ]
).run()
