"""Metadata as other programs, other versions of img2vid and damage may leave it, for fuzzing."""

from typing import Any

from hypothesis import strategies as st

from img2vid.settings import SampleSettings

_TEXT = st.text(st.characters(categories=None), max_size=40) | st.sampled_from(
    ["x" * 5000, "\ud800", "\x1b[2J", "../.."]
)
_NUMBERS = st.integers() | st.floats() | st.sampled_from([10**400, -(10**400), 1e308, 2**63, 2**64, -1, 0])
_SCALARS = st.none() | st.booleans() | _NUMBERS | _TEXT
_DEEP = st.integers(1, 60).map(lambda depth: _nested(depth))
JSON_VALUES: st.SearchStrategy[Any] = _DEEP | st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=8,
)
"""Any value of a JSON file within the limits of `img2vid.documents`."""

_SETTINGS = st.builds(
    lambda changed, dropped, added: {
        **{name: value for name, value in SampleSettings().model_dump().items() if name not in dropped},
        **changed,
        **added,
    },
    st.dictionaries(st.sampled_from(list(SampleSettings.model_fields)), JSON_VALUES, max_size=3),
    st.sets(st.sampled_from(list(SampleSettings.model_fields)), max_size=3),
    st.just({}) | st.dictionaries(_TEXT, JSON_VALUES, max_size=2),
)
METADATA: st.SearchStrategy[Any] = JSON_VALUES | st.builds(
    lambda others, settings: {**others, "settings": settings},
    st.dictionaries(
        st.sampled_from(["picture", "picture_sha256", "device", "provider", "threads", "memory", "compile", "program"]),
        JSON_VALUES,
        max_size=4,
    ),
    _SETTINGS | JSON_VALUES,
)
"""Metadata of a video: mostly settings with a few wrong, missing or unknown ones."""


def _nested(depth: int) -> Any:
    value: Any = 1
    for level in range(depth):
        value = {"settings": value} if level % 2 else [value]
    return value
