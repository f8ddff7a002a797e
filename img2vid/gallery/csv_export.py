"""Measurements of videos as CSV, one row per video."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from img2vid.gallery.entries import Entry

BYTE_ORDER_MARK = "\ufeff"
"""Lets Excel detect UTF-8."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Prefixes that spreadsheets interpret as a formula."""


def csv_row(labels: Mapping[str, Any], entry: Entry | None, state: str = "done") -> dict[str, Any]:
    """Return a video as one row: `labels`, then its measurements, then its settings that no label names.

    Names have units in brackets; unknown values are empty (None). Without an entry, the row has only labels and state.
    Drifts are in percent over the clip.
    """
    values: dict[str, Any] = {**labels, "state": state}
    if entry is None:
        return values
    result, measured = entry.result, entry.measurement
    values |= {
        "seconds (s)": round(result.seconds, 3) if result.seconds else None,
        "peak memory (MB)": round(result.memory / 1e6, 1) if result.memory else None,
        "motion (pixels per frame)": None if measured is None else _short(measured.mean_motion),
        "PSNR of the first frame (dB)": None if measured is None else _short(measured.psnr),
        "SSIM of the first frame": None if measured is None else _short(measured.ssim),
        "flicker (levels of 255)": None if measured is None else _short(measured.mean_flicker),
        "sharpness (levels squared)": None if measured is None else _short(measured.mean_sharpness),
        "sharpness drift (%)": None if measured is None else _short(100 * measured.sharpness_drift),
        "contrast (levels of 255)": None if measured is None else _short(measured.mean_contrast),
        "contrast drift (%)": None if measured is None else _short(100 * measured.contrast_drift),
        "video": str(result.video),
    }
    settings = entry.settings.model_dump(exclude={"num_samples", *labels})
    return values | settings


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows with a header as CSV (RFC 4180) with a byte order mark. Missing values become empty fields."""
    names = list(dict.fromkeys(name for one in rows for name in one))
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(names)
    writer.writerows([_field(one.get(name)) for name in names] for one in rows)
    return BYTE_ORDER_MARK + text.getvalue()


def _short(number: float | None) -> float | None:
    return None if number is None else float(f"{number:.6g}")


def _field(value: object) -> object:
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else value
