"""Evaluation: the verdict, and complete metrics of one image."""

import numpy as np
import pytest
from training.evaluation import TARGETS, Evaluation, verdict


def test_a_verdict_knows_each_kind_of_target() -> None:
    reached = {name: target + (0 if relation != "under" else -0.1) for name, (target, relation) in TARGETS.items()}
    assert not [line for line in verdict(reached) if "NOT" in line]
    missed = {name: target + (-1 if relation == "at least" else 1) for name, (target, relation) in TARGETS.items()}
    assert len([line for line in verdict(missed) if "NOT" in line]) == len(TARGETS)


@pytest.mark.takes_long("samples six clips with a trained model")
def test_the_numbers_of_a_picture_are_complete_and_the_sheet_shows_it() -> None:
    evaluation = Evaluation("svd_tiny", num_steps=1, num_frames=4)
    row = evaluation.row("rocket")
    assert set(TARGETS) - set(row) == {"seconds_from_start_to_file", "megabytes"}
    assert row["round_trip_psnr"] > 20
    assert -1 <= row["similarity_of_seeds"] <= 1
    settings = evaluation.settings
    assert len(evaluation.videos["rocket"]) == 4
    sheet = np.asarray(evaluation.sheet())
    assert sheet.shape == (settings.height, settings.width * 3, 3)  # the image, frames 0 and 3
    assert (sheet[:, -settings.width :] == evaluation.videos["rocket"][3]).all()
