"""Orbits: the reference's numbers at one elevation, its distribution on random paths, and camera poses."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from img2vid.orbit import DISTANCE, FIELD_OF_VIEW, Orbit, dynamic, level, transforms

LENGTHS = st.integers(1, 64)
SEEDS = st.integers(0, 2**32 - 1)


@given(LENGTHS, st.floats(-90, 90))
def test_level_orbits_are_the_references(num_frames: int, elevation: float) -> None:
    orbit = level(num_frames, elevation)
    azimuths = np.linspace(0, 2 * np.pi, num_frames + 1)[1:]
    np.testing.assert_allclose(orbit.azimuths_rad, azimuths, rtol=0, atol=1e-12)
    np.testing.assert_allclose(orbit.polars_rad, [np.deg2rad(90 - elevation)] * num_frames, rtol=0, atol=1e-12)


@given(LENGTHS, SEEDS, st.floats(-90, 90))
def test_random_paths_close_between_the_poles_reproducibly(num_frames: int, seed: int, elevation: float) -> None:
    orbit = dynamic(num_frames, elevation, seed)
    assert orbit == dynamic(num_frames, elevation, seed)
    assert len(orbit.elevations) == len(orbit.azimuths) == num_frames
    assert orbit.azimuths[-1] == 0
    assert orbit.elevations[-1] == pytest.approx(elevation, abs=1e-9)
    assert all(-90 <= each <= 90 for each in orbit.elevations)
    assert list(orbit.azimuths[:-1]) == sorted(orbit.azimuths[:-1])
    assert all(0 <= each < 360 for each in orbit.azimuths)


@given(SEEDS)
def test_a_seed_gives_one_path_for_all_lengths(seed: int) -> None:
    """The 84 points of the path contain those of every divisor of 84."""
    whole = dynamic(84, 5, seed)
    for num_frames in (1, 2, 12, 21, 42):
        step = 84 // num_frames
        part = dynamic(num_frames, 5, seed)
        np.testing.assert_allclose(part.elevations, whole.elevations[step - 1 :: step], atol=1e-9)
        np.testing.assert_allclose(part.azimuths, whole.azimuths[step - 1 :: step], atol=1e-9)


def test_seeds_give_different_paths() -> None:
    assert len({dynamic(21, 5, seed).elevations for seed in range(20)}) == 20


def test_random_paths_have_the_references_distribution() -> None:
    """Closed forms, for paths around the horizon without rejection: each smoothed wave has a known variance.

    84 waves of 1 to 4 cycles have amplitudes uniform in [0.5, 10]; a moving average of 5 of 84 points shrinks a wave of
    k cycles by sin(5 k pi / 84) / (5 sin(k pi / 84)). Rejected paths are the widest, so the bound is from above.
    """
    amplitude = (10**3 - 0.5**3) / (3 * 9.5)
    shrunk = [math.sin(5 * k * math.pi / 84) / (5 * math.sin(k * math.pi / 84)) for k in (1, 2, 3, 4)]
    deviation = math.sqrt(84 * amplitude / 2 * np.mean(np.square(shrunk)))
    orbits = [dynamic(21, 0, seed) for seed in range(300)]
    elevations = np.array([orbit.elevations for orbit in orbits])
    found = math.sqrt(np.mean(np.square(elevations)))
    assert 0.65 * deviation < found < deviation
    assert abs(elevations.mean()) < 0.1  # the waves are odd functions
    azimuths = np.array([orbit.azimuths for orbit in orbits])
    steps = np.diff(azimuths[:, :-1], axis=1)
    # 80 steps in 83 add up to 360 minus a last step of 360 / 84 on average, also for steps of four points.
    assert steps.mean() == pytest.approx((360 - 360 / 84) / 83 * 4, rel=0.01)
    single = (360 / 84) / math.sqrt(3)  # uniform from 0 to twice the mean
    assert steps.std() == pytest.approx(2 * single, rel=0.05)


def test_neighboring_views_of_a_random_path_are_close() -> None:
    """The slope of a wave of at most 4 cycles is bounded, so that steps are smaller than between independent draws."""
    elevations = np.array([dynamic(84, 0, seed).elevations for seed in range(50)])
    assert np.abs(np.diff(elevations, axis=1)).mean() < 0.3 * elevations.std()


@given(st.floats(-89, 89), st.floats(0, 360))
def test_cameras_look_at_the_object_upright(elevation: float, azimuth: float) -> None:
    (pose,) = Orbit((elevation,), (azimuth,)).poses()
    rotation, position = pose[:3, :3], pose[:3, 3]
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)
    np.testing.assert_allclose(position - DISTANCE * rotation[:, 2], 0, atol=1e-12)  # backward leads away from it
    assert rotation[2, 0] == 0  # the horizon is level
    assert rotation[2, 1] > 0
    assert math.degrees(math.asin(position[2] / DISTANCE)) == pytest.approx(elevation, abs=1e-6)


def test_known_poses() -> None:
    front, side, top = Orbit((0, 0, 90), (0, 90, 0)).poses()
    np.testing.assert_allclose(front[:3], [[0, 0, 1, DISTANCE], [1, 0, 0, 0], [0, 1, 0, 0]], atol=1e-12)
    np.testing.assert_allclose(side[:3, 3], [0, DISTANCE, 0], atol=1e-12)
    np.testing.assert_allclose(top[:3], [[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, DISTANCE]], atol=1e-12)


def test_transforms_hold_the_pose_of_each_picture_and_the_lens() -> None:
    orbit = level(3, 10)
    found = transforms(orbit, ["0.png", "1.png", "2.png"], 576, 576)
    assert [frame["file_path"] for frame in found["frames"]] == ["0.png", "1.png", "2.png"]
    np.testing.assert_array_equal([frame["transform_matrix"] for frame in found["frames"]], orbit.poses())
    assert (found["w"], found["h"], found["cx"], found["cy"]) == (576, 576, 288, 288)
    assert math.degrees(found["camera_angle_x"]) == pytest.approx(FIELD_OF_VIEW)
    assert found["fl_x"] == found["fl_y"] == pytest.approx(288 / math.tan(math.radians(FIELD_OF_VIEW / 2)))
    with pytest.raises(ValueError, match="zip"):
        transforms(orbit, ["0.png"], 576, 576)
