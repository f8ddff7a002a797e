"""Camera orbits around an object: the angles of each view, and the camera poses for reconstruction programs.

Elevations are degrees above the horizon, azimuths degrees around the vertical axis. The last view is the input's: its
azimuth is 360 or, on a random path, 0, as in the reference.
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FIELD_OF_VIEW = 33.8
"""Angle in degrees between the left and right edge of a square view in SV3D's training data (Voleti et al. 2024)."""
DISTANCE = 2.0
"""Distance of the cameras from the object's center; the unit is arbitrary, as SV3D knows no scale."""

POINTS = 84
"""Points of a random path before it is sampled, as in the reference; also its number of waves."""
SMOOTHING = 5
"""Points of the moving average over elevations."""
CYCLES = np.arange(1, 5)
"""Numbers of cycles that a wave can have on its way around."""
TRIES = 200
"""Random paths to draw before one that passes over a pole is flattened."""
Points = NDArray[np.float64]


@dataclass(frozen=True)
class Orbit:
    """Elevation and azimuth of each view in degrees."""

    elevations: tuple[float, ...]
    azimuths: tuple[float, ...]

    @property
    def polars_rad(self) -> tuple[float, ...]:
        """Angle of each view from the vertical axis in radians."""
        return tuple(math.radians(90 - elevation) for elevation in self.elevations)

    @property
    def azimuths_rad(self) -> tuple[float, ...]:
        """Azimuth of each view in radians."""
        return tuple(math.radians(azimuth) for azimuth in self.azimuths)

    def positions(self) -> Points:
        """Return the cameras' positions on a unit sphere as (T, 3), with z up and the azimuth 0 on the x axis."""
        elevation, azimuth = np.radians(self.elevations), np.radians(self.azimuths)
        level = np.cos(elevation)
        return np.stack([level * np.cos(azimuth), level * np.sin(azimuth), np.sin(elevation)], axis=1)

    def poses(self) -> Points:
        """Return camera-to-world matrices (T, 4, 4) whose axes are right, up and backward, as OpenGL has them."""
        elevation, azimuth, zeros = np.radians(self.elevations), np.radians(self.azimuths), np.zeros(len(self.azimuths))
        backward = self.positions()
        right = np.stack([-np.sin(azimuth), np.cos(azimuth), zeros], axis=1)
        rise = -np.sin(elevation)
        up = np.stack([rise * np.cos(azimuth), rise * np.sin(azimuth), np.cos(elevation)], axis=1)
        poses = np.tile(np.eye(4), (len(zeros), 1, 1))
        poses[:, :3] = np.stack([right, up, backward, DISTANCE * backward], axis=2)
        return poses


def path_of(metadata: Mapping[str, Any]) -> Orbit | None:
    """Return the camera path in the metadata of a video, or None if it has none or an invalid one."""
    try:
        angles = [tuple(map(float, metadata["camera_path"][name])) for name in ("elevations", "azimuths")]
    except (KeyError, TypeError, ValueError):
        return None
    valid = len(angles[0]) == len(angles[1]) and all(map(math.isfinite, (*angles[0], *angles[1])))
    return Orbit(*angles) if valid else None


def level(num_frames: int, elevation: float) -> Orbit:
    """Return evenly spaced views at one elevation."""
    azimuths = (360 * (view + 1) / num_frames for view in range(num_frames))
    return Orbit((float(elevation),) * num_frames, tuple(azimuths))


def dynamic(num_frames: int, elevation: float, seed: int) -> Orbit:
    """Return a random closed path that ends at the input's view; the same seed gives the same path for any length.

    The elevation is a smoothed sum of random waves around `elevation`, the azimuth grows in random steps (Voleti et al.
    2024). With 21 views the distribution is the reference's. A path must not pass over a pole: it is drawn again, and
    flattened if no other is found.
    """
    rng = random.Random(seed)
    rises = _rises(rng)
    for _ in range(TRIES):
        if np.abs(elevation + rises).max() < 90:
            break
        rises = _rises(rng)
    else:  # the waves are odd functions, so they fall as far as they rise
        rises *= (90 - abs(elevation)) / np.abs(rises).max()
    at = np.arange(num_frames) * POINTS / num_frames
    azimuths = np.interp(at, np.arange(POINTS + 1), _azimuths(rng))
    elevations = elevation + np.interp(at, np.arange(POINTS + 1), [*rises, rises[0]])
    elevations = np.minimum(np.maximum(elevations, -90), 90)
    return Orbit(*(tuple(np.roll(angles, -1).tolist()) for angles in (elevations, azimuths)))


def _rises(rng: random.Random) -> Points:
    """Draw the elevations of a path's `POINTS` points above the mean, which is reached at the first point."""
    heights = np.zeros(len(CYCLES))
    for _ in range(POINTS):
        cycles, height = int(len(CYCLES) * rng.random()), 0.5 + 9.5 * rng.random()
        heights[cycles] += height if rng.random() < 0.5 else -height
    # A moving average over a whole wave shrinks it and keeps its form.
    half = math.pi / POINTS * CYCLES
    heights *= np.sin(SMOOTHING * half) / (SMOOTHING * np.sin(half))
    return heights @ np.sin(2 * half[:, None] * np.arange(POINTS))


def _azimuths(rng: random.Random) -> Points:
    """Draw the azimuths of a path's `POINTS` points and of its end at 360: random steps around the object."""
    steps = np.array([2 * rng.random() for _ in range(POINTS - 1)])
    last = 360 - 360 / POINTS * 2 * rng.random()
    return np.concatenate([[0.0], np.cumsum(steps * (last / steps.sum())), [360.0]])


def transforms(orbit: Orbit, files: Sequence[str], width: int, height: int) -> dict[str, Any]:
    """Return the contents of nerfstudio's transforms.json for one picture file per view.

    The longer side of a view is taken to have `FIELD_OF_VIEW`, and pixels to be square.
    """
    focal = max(width, height) / (2 * math.tan(math.radians(FIELD_OF_VIEW / 2)))
    rows = zip(files, orbit.elevations, orbit.azimuths, orbit.poses().tolist(), strict=True)
    return {
        "camera_model": "OPENCV",
        "w": width,
        "h": height,
        "fl_x": focal,
        "fl_y": focal,
        "cx": width / 2,
        "cy": height / 2,
        "camera_angle_x": 2 * math.atan(width / (2 * focal)),
        "camera_angle_y": 2 * math.atan(height / (2 * focal)),
        "frames": [
            {"file_path": file, "transform_matrix": pose, "elevation": elevation, "azimuth": azimuth}
            for file, elevation, azimuth, pose in rows
        ],
    }
