"""Training: stopping and resuming, initialization, and exports that the engine loads."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from training.autoencoder import build_picture_autoencoder, cosine, scale_latents, start_linear
from training.pictures import KEPT_APART, LOMIRI, SCIKIT_IMAGE
from training.stages import Recipe, Training
from training.training import WARM_STEPS, Average, Stage, psnr

from img2vid import paths
from img2vid.engine import load_engine
from img2vid.engine.config import load_config
from img2vid.options import LoadOptions

CONFIG = paths.CONFIGS / "svd_tiny.yaml"


def stage_of(work: Path, steps: int) -> tuple[nn.Module, Stage]:
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    return model, Stage("line", {"line": model}, work, steps=steps, rate=0.01)


def train(model: nn.Module, stage: Stage, stop_at: int | None = None) -> None:
    def loss_of(step: int) -> Tensor:
        if step == stop_at:
            raise KeyboardInterrupt
        x = torch.randn(8, 3, generator=torch.Generator().manual_seed(step))
        return (model(x) - x[:, :2]).square().mean()

    stage.run(loss_of, minutes=1, measure=dict)


def test_a_stopped_stage_goes_on_as_if_it_had_not_been_stopped(tmp_path: Path) -> None:
    model, stage = stage_of(tmp_path / "at once", 20)
    train(model, stage)

    first, stage_a = stage_of(tmp_path / "in two", 20)
    with pytest.raises(KeyboardInterrupt):
        train(first, stage_a, stop_at=10)
    second, stage_b = stage_of(tmp_path / "in two", 20)
    assert stage_b.step == 10
    train(second, stage_b)

    for whole, resumed in zip(model.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(whole, resumed)
    for name, value in stage.average.values.items():
        torch.testing.assert_close(value, stage_b.average.values[name])


def test_the_learning_rate_rises_and_falls_to_its_share(tmp_path: Path) -> None:
    torch.manual_seed(0)
    stage = Stage("line", {"line": nn.Linear(3, 2)}, tmp_path, steps=2000, rate=0.01, fall=0.5)
    rates = {}
    for step in (0, WARM_STEPS - 1, 1000, 2000):
        stage.step = step
        rates[step] = stage.share()
    assert rates[0] == pytest.approx(1 / WARM_STEPS)
    assert rates[WARM_STEPS - 1] > 0.95
    assert rates[1000] == pytest.approx(0.75)
    assert rates[2000] == pytest.approx(0.5)


def test_inner_weights_have_an_optimizer_of_their_own_and_are_taken_up_again(tmp_path: Path) -> None:
    def stage_of_two() -> tuple[nn.Module, Stage]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
        stage = Stage(
            "two",
            {"two": model},
            tmp_path,
            steps=8,
            rate=0.01,
            is_inner=lambda name, parameter: name == "two.0.weight",
            inner_rate=0.1,
        )
        return model, stage

    model, stage = stage_of_two()
    with pytest.raises(KeyboardInterrupt):
        train(model, stage, stop_at=4)
    again, resumed = stage_of_two()
    assert resumed.step == 4
    weight = again.get_parameter("0.weight")
    kept = resumed.optimizers[1].state[weight]["average"]
    torch.testing.assert_close(kept, stage.optimizers[1].state[model.get_parameter("0.weight")]["average"])
    train(again, resumed)
    assert resumed.step == 8
    assert not torch.equal(weight, model.get_parameter("0.weight"))


def test_latents_are_scaled_by_what_they_do_to_the_picture() -> None:
    torch.manual_seed(0)
    model = build_picture_autoencoder(load_config(CONFIG))
    start_linear(model)
    pictures = torch.nn.functional.interpolate(torch.rand(4, 3, 24, 24) * 2 - 1, (64, 64), mode="bicubic")
    with torch.no_grad():
        before = model.decode(model.encode_mode(pictures))
        scale_latents(model, pictures)
        z = model.encode_mode(pictures)
        torch.testing.assert_close(model.decode(z), before, atol=1e-4, rtol=1e-3)
        answers = []
        for latent in range(z.shape[1]):
            changed = z.clone()
            changed[:, latent] += 0.05 * torch.randn_like(z[:, latent])
            answers.append((model.decode(changed) - before).square().mean().sqrt() / 0.05)
    answer = torch.stack(answers)
    assert float(answer.std() / answer.mean()) < 0.1, "every latent answers to a change with as much of the picture"


def test_the_average_follows_the_weights_slowly() -> None:
    average = Average({"w": torch.zeros(1)}, 0.9)
    for step in range(1000, 1010):
        average.update({"w": torch.ones(1)}, step)
    assert float(average.values["w"]) == pytest.approx(1 - 0.9**10)


def test_a_fresh_autoencoder_already_passes_colors_and_brightness() -> None:
    torch.manual_seed(0)
    model = build_picture_autoencoder(load_config(CONFIG))
    start_linear(model)
    for brightness in (-0.7, 0.0, 0.6):
        ramp = torch.linspace(-0.3, 0.3, 64)[None, :] * torch.tensor([1.0, -1.0, 0.5])[:, None]
        picture = (brightness + ramp)[None, :, None, :].expand(1, 3, 64, 64)
        with torch.no_grad():
            assert psnr(model.decode(model.encode_mode(picture)), picture) > 21


def test_cosines_are_orthogonal() -> None:
    basis = torch.stack([cosine(latent) for latent in range(18)]).flatten(1)
    products = basis @ basis.T
    torch.testing.assert_close(products - products.diagonal().diag(), torch.zeros(18, 18), atol=1e-6, rtol=0)


def test_a_fresh_encoder_gives_cosines() -> None:
    torch.manual_seed(0)
    model = build_picture_autoencoder(load_config(CONFIG))
    start_linear(model)
    picture = torch.nn.functional.interpolate(torch.rand(1, 3, 24, 24) * 2 - 1, (64, 64), mode="bicubic")
    with torch.no_grad():
        latents = model.encode_mode(picture)[0].flatten(1)
    kernels = torch.stack([cosine(latent) for latent in range(len(latents))])
    expected = torch.nn.functional.conv2d(picture, kernels, stride=4)[0].flatten(1)
    for latent in range(len(latents)):
        assert float(torch.corrcoef(torch.stack([latents[latent], expected[latent]]))[0, 1]) > 0.9


def test_no_picture_is_both_trained_on_and_kept_apart_or_shown_as_an_example() -> None:
    trained_on = {*LOMIRI, *SCIKIT_IMAGE}
    assert not trained_on & set(KEPT_APART)
    credits_of_examples = (paths.PROJECT / "assets" / "README.md").read_text(encoding="utf-8")
    assert not [name for name in trained_on if name in credits_of_examples]


def test_an_export_is_what_the_engine_loads(tmp_path: Path) -> None:
    training = Training(CONFIG, tmp_path, Recipe())
    training.export(tmp_path / "svd_tiny.safetensors")
    engine = load_engine(CONFIG, tmp_path / "svd_tiny.safetensors", LoadOptions(device="cpu"))
    assert engine.latent_channels == 8
    assert (tmp_path / "svd_tiny.safetensors").stat().st_size < 20_000_000


def test_pictures_are_turned_into_numbers_from_minus_1_to_1() -> None:
    from training.pictures import to_tensor

    colors = to_tensor(Image.new("RGB", (2, 3), (255, 0, 127)))
    assert colors.shape == (3, 3, 2)
    assert colors[0].unique().tolist() == [1.0]
    assert colors[1].unique().tolist() == [-1.0]
