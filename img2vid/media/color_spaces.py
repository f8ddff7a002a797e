"""Color spaces that files declare by numbers instead of a lookup table, and their conversion to sRGB.

Primaries and transfer have the code points of ITU-T H.273, which PNG, AVIF, HEIF and ICC profiles share. HDR transfers
(PQ, HLG) are tone mapped as in browsers: in Rec. 2020, with a curve over the largest channel that preserves hues.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Matrix = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.float32]
Curve = Callable[[Floats], Floats]

HDR_WHITE, HDR_PEAK = 203.0, 1000.0
"""Luminance of diffuse white, and the brightest one if a file names none, in nits (ITU-R BT.2408)."""

_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_D65, _C, _E, _DCI = (0.3127, 0.3290), (0.310, 0.316), (1 / 3, 1 / 3), (0.314, 0.351)
_PRIMARIES = {
    1: (0.640, 0.330, 0.300, 0.600, 0.150, 0.060, *_D65),
    4: (0.670, 0.330, 0.210, 0.710, 0.140, 0.080, *_C),
    5: (0.640, 0.330, 0.290, 0.600, 0.150, 0.060, *_D65),
    6: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *_D65),
    7: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *_D65),
    8: (0.681, 0.319, 0.243, 0.692, 0.145, 0.049, *_C),
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, *_D65),
    10: (1.0, 0.0, 0.0, 1.0, 0.0, 0.0, *_E),
    11: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, *_DCI),
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, *_D65),
    22: (0.630, 0.340, 0.295, 0.605, 0.155, 0.077, *_D65),
}
_UNSPECIFIED, _SRGB_CURVE, _PQ, _HLG = 2, 13, 16, 18
BT709_CURVES = (1, 6, 11, 14, 15)
"""Transfers of cameras: the same curve under several numbers."""
_ROWS_AT_ONCE = 1 << 20  # pixels converted together, which bounds the memory


@dataclass(frozen=True)
class ColorSpace:
    """Colors of stored RGB values from 0 to 1."""

    curve: Curve
    """From stored to linear values; 1 is diffuse white."""
    to_xyz: Matrix
    """From linear RGB to XYZ relative to D50."""
    hdr_peak: float = 0.0
    """Brightest luminance of an HDR image in nits; 0 in an ordinary image."""
    hlg: bool = False
    """Linear values are the scene's, before HLG's system gamma."""

    def is_srgb(self) -> bool:
        """Return whether conversion changes no 8-bit value by more than 1."""
        probe = probe_colors()
        return int(np.abs(self.to_srgb(probe).astype(int) - probe).max()) <= 1

    def to_srgb(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Convert pixels (H, W, 3)."""
        with np.errstate(all="ignore"):  # declared exponents may be absurd
            table = np.nan_to_num(self.curve(np.arange(256) / 255)).clip(0, 1e6).astype(np.float32)
        between = _REC2020 if self.hdr_peak else _SRGB
        first: Matrix = np.linalg.inv(between) @ self.to_xyz
        last: Matrix = np.linalg.inv(_SRGB) @ between
        result = np.empty(pixels.shape, np.uint8)
        rows = max(1, _ROWS_AT_ONCE // pixels.shape[1])
        for top in range(0, len(pixels), rows):
            part = pixels[top : top + rows]
            linear = _times(first, table[part])
            if self.hdr_peak:
                linear = _times(last, self._tone_mapped(linear))
            result[top : top + rows] = _ENCODED[(linear.clip(0, 1) * 65535 + 0.5).astype(np.uint16)]
        return result

    def _tone_mapped(self, linear: Pixels) -> Pixels:
        """Fit linear Rec. 2020 into 0 to 1."""
        if self.hlg:
            luminance = np.maximum(_times(_LUMINANCE, linear), 0)
            linear = np.multiply(linear, luminance**0.2 * (HDR_PEAK / HDR_WHITE), dtype=np.float32)
        largest: Pixels = np.maximum(np.max(linear, axis=-1, keepdims=True), 1e-6)
        return np.multiply(linear, _tone_curve(largest, self.hdr_peak / HDR_WHITE) / largest)


def from_code_points(primaries: int, transfer: int, *, bt709: float = 0.0, peak: float = HDR_PEAK) -> ColorSpace | None:
    """Return the space of these H.273 numbers, or None if one of them is not known.

    Unspecified numbers mean sRGB. `bt709` is the gamma of the BT.709 family of transfers; 0 means that of sRGB, as
    browsers show AVIF images. `peak` is the brightest luminance of an HDR image, in nits.
    """
    corners = _PRIMARIES.get(1 if primaries == _UNSPECIFIED else primaries)
    if transfer in BT709_CURVES:
        curve = _power(bt709) if bt709 else _srgb_curve
    else:
        curve = _TRANSFERS.get(_SRGB_CURVE if transfer == _UNSPECIFIED else transfer)
    if corners is None or curve is None:
        return None
    hdr = max(peak, HDR_WHITE) if transfer in (_PQ, _HLG) else 0.0
    return ColorSpace(curve, _to_xyz(corners), hdr, transfer == _HLG)


def from_gamma(gamma: float, corners: Sequence[float] | None) -> ColorSpace | None:
    """Return the space of an exponent and chromaticities (red, green, blue, white: x and y), or None if impossible."""
    curve = _power(1 / gamma)
    if corners is not None and not corners[-1]:
        return None
    try:
        return ColorSpace(curve, _to_xyz(corners or _PRIMARIES[1]))
    except np.linalg.LinAlgError:
        return None


def space_of_profile(profile: bytes) -> ColorSpace | None:
    """Return the space of the code points in an ICC profile, or None if it has none or it is damaged.

    HDR profiles have them, because their curves cannot express HDR.
    """
    try:
        (count,) = struct.unpack_from(">I", profile, 128)
        for index in range(min(count, 200)):
            name, start = struct.unpack_from(">4sI", profile, 132 + 12 * index)
            if name == b"cicp":
                return from_code_points(*struct.unpack_from("2B", profile, start + 8))
    except struct.error:
        pass
    return None


def probe_colors() -> npt.NDArray[np.uint8]:
    """Return 8-bit colors (1, N, 3) that tell color spaces apart: all grays and a grid of colors."""
    steps = range(0, 256, 51)
    grid = [(red, green, blue) for red in steps for green in steps for blue in steps]
    return np.array([[*grid, *((gray, gray, gray) for gray in range(256))]], np.uint8)


def _times(matrix: Matrix, colors: Pixels) -> Pixels:
    """Return matrix times color for colors (..., 3)."""
    return np.matmul(colors, np.transpose(matrix.astype(np.float32)))


def _to_xyz(corners: Sequence[float]) -> Matrix:
    """Return the matrix from linear RGB to XYZ, with white adapted to D50, the white of ICC profiles."""
    red, green, blue, light = ((x, y, 1 - x - y) for x, y in zip(corners[::2], corners[1::2], strict=True))
    columns = np.stack([red, green, blue], axis=1)
    white = np.array(light) / light[1]
    scaled: Matrix = np.multiply(columns, np.linalg.solve(columns, white))
    cones: Matrix = np.divide(np.matmul(_BRADFORD, _D50), np.matmul(_BRADFORD, white))
    return np.matmul(np.linalg.inv(_BRADFORD), np.matmul(np.diagflat(cones), np.matmul(_BRADFORD, scaled)))


_SRGB, _REC2020 = _to_xyz(_PRIMARIES[1]), _to_xyz(_PRIMARIES[9])
_LUMINANCE = np.array([[0.2627, 0.6780, 0.0593]])
"""Of linear Rec. 2020."""


def _power(exponent: float) -> Curve:
    return lambda stored: stored**exponent


def _srgb_curve(stored: Floats) -> Floats:
    return np.where(stored <= 0.04045, stored / 12.92, ((stored + 0.055) / 1.055) ** 2.4)


def _smpte240m_curve(stored: Floats) -> Floats:
    return np.where(stored < 0.0912, stored / 4, ((stored + 0.1115) / 1.1115) ** (1 / 0.45))


def _pq_curve(stored: Floats) -> Floats:
    """Linear light of SMPTE ST 2084, relative to diffuse white."""
    root = stored ** (32 / 2523)
    return ((root - 0.8359375).clip(0) / (18.8515625 - 18.6875 * root)) ** (8192 / 1305) * (10_000 / HDR_WHITE)


def _hlg_curve(stored: Floats) -> Floats:
    """Scene light from 0 to 1 of ITU-R BT.2100."""
    return np.where(stored <= 0.5, stored**2 / 3, (np.exp((stored - 0.55991073) / 0.17883277) + 0.28466892) / 12)


_TRANSFERS: dict[int, Curve] = {
    4: _power(2.2),
    5: _power(2.8),
    7: _smpte240m_curve,
    8: _power(1.0),
    _SRGB_CURVE: _srgb_curve,
    _PQ: _pq_curve,
    17: lambda stored: stored**2.6 * (52.37 / 48),
    _HLG: _hlg_curve,
}


def _encode() -> npt.NDArray[np.uint8]:
    """Return the 8-bit sRGB values of 65,536 linear ones."""
    linear = np.arange(65536) / 65535
    stored = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return (stored * 255 + 0.5).astype(np.uint8)


_ENCODED = _encode()


def _tone_curve(light: Pixels, peak: float) -> Pixels:
    """Map light (1 is diffuse white) to 0 to 1: a line up to diffuse white, then a parabola up to `peak`.

    Diffuse white gets darker the more range there is above it, down to one half at 1,000 nits.
    """
    white = 1 - 0.5 * min(1.0, float(np.log(peak) / np.log(HDR_PEAK / HDR_WHITE)))
    if peak <= 1:
        return light.clip(0, 1)
    middle_x, middle_y = 0.35 + 0.65 / white, 0.35 * white + 0.65
    # The parabola is a Bezier curve from (1, white) over (middle_x, middle_y) to (peak, 1); solve it for x.
    a, b = 1 - 2 * middle_x + peak, 2 * (middle_x - 1)
    x = light.clip(1, peak) - 1
    t = 2 * x / (b + np.sqrt(b * b + 4 * a * x))
    bent = white + 2 * t * (middle_y - white) + t * t * (white - 2 * middle_y + 1)
    return np.where(light <= 1, light * white, bent)
