"""sgm engine: the error if sgm does not import, and equal results of both engines if it does."""

import importlib
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from golden_models import CPU, golden_model, relative_error
from torch import Tensor

from img2vid import paths
from img2vid.engine import Conditioning, ConditioningSettings, Engine, SamplerSettings, StepInfo, load_engine
from img2vid.engine.backends.sgm import adapt, import_sgm
from img2vid.engine.sampling.discretization import make_sigmas
from img2vid.engine.weights.random import write_random_checkpoint
from img2vid.errors import BadInput, Cancelled, CheckpointError, EngineUnavailable
from img2vid.versions import find_version

GOLDEN = golden_model("tiny_svd")
REMEDY = "run `python -m pip install -r requirements/sgm.txt`, or choose the native engine"
FRAMES = 3
Pair = tuple[Conditioning, Conditioning]


# Without a working sgm


def unload_sgm(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "sgm"]:
        monkeypatch.delitem(sys.modules, name)


def test_without_sgm_the_error_has_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    unload_sgm(monkeypatch)
    monkeypatch.setitem(sys.modules, "sgm", None)
    with pytest.raises(EngineUnavailable) as caught:
        load_engine(GOLDEN.config, GOLDEN.checkpoint, replace(CPU, provider="sgm"))
    message = str(caught.value)
    assert message.startswith("the sgm engine cannot run here: importing sgm failed with ModuleNotFoundError: ")
    assert message.endswith(REMEDY)
    assert "\n" not in message


@pytest.mark.parametrize("fault", ["import no_such_package_at_all", "raise RuntimeError('torn\\napart')", "x = 1 / 0"])
def test_a_broken_sgm_is_an_error_and_never_a_silent_switch(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    unload_sgm(monkeypatch)
    (tmp_path / "sgm").mkdir()
    (tmp_path / "sgm" / "__init__.py").write_text(f"print('greetings')\n{fault}\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    with pytest.raises(EngineUnavailable, match="importing sgm failed with") as caught:
        import_sgm()
    assert str(caught.value).endswith(REMEDY)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is not None
    assert capsys.readouterr().out == ""
    unload_sgm(monkeypatch)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"memory": "stages"}, "memory stages; leave it at resident or choose the native engine"),
        ({"compile": True}, "compile True; leave it at False or choose the native engine"),
        ({"decoder_precision": "fp16"}, "decoder_precision fp16; leave it at fp32 or choose the native engine"),
    ],
)
def test_options_of_the_native_engine_are_rejected(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput) as caught:
        load_engine(GOLDEN.config, GOLDEN.checkpoint, replace(CPU, provider="sgm", **options))
    assert str(caught.value) == f"the sgm engine does not support {sentence}"


def test_configurations_are_changed_only_where_no_result_changes() -> None:
    tree = {
        "target": "sgm.models.diffusion.DiffusionEngine",
        "params": {
            "ckpt_path": "svd.safetensors",
            "sampler_config": {"target": "x"},
            "network_config": {"params": {"use_checkpoint": True, "spatial_transformer_attn_type": "softmax-xformers"}},
            "parts": [{"attn_type": "vanilla-xformers", "ch": 32}],
            "clip": {"target": "sgm.modules.encoders.modules.FrozenOpenCLIPImageEmbedder", "params": {"version": "x"}},
        },
    }
    assert adapt(tree) == {
        "target": "sgm.models.diffusion.DiffusionEngine",
        "params": {
            "network_config": {"params": {"use_checkpoint": False, "spatial_transformer_attn_type": "softmax"}},
            "parts": [{"attn_type": "vanilla", "ch": 32}],
            "clip": {"target": "sgm.modules.encoders.modules.FrozenOpenCLIPImageEmbedder", "params": {"version": None}},
        },
    }
    assert tree["params"]["ckpt_path"] == "svd.safetensors"


# Both engines with the same new weights


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Engine, Engine]:
    """Return the native and the sgm engine."""
    pytest.importorskip("sgm")
    checkpoint = write_random_checkpoint(GOLDEN.config, tmp_path_factory.mktemp("random") / "mine.safetensors", seed=7)
    native, sgm = (
        load_engine(GOLDEN.config, checkpoint, replace(CPU, provider=provider)) for provider in ("native", "sgm")
    )
    return native, sgm


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def condition(engine: Engine, height: int = 64, width: int = 64) -> Pair:
    return engine.condition(
        draw(1, 3, height, width, seed=1).clamp(-1, 1),
        ConditioningSettings(0.1, FRAMES, fps=9, motion_bucket_id=90),
        cond_noise=draw(1, 3, height, width, seed=2),
    )


NOISE = draw(FRAMES, 4, 8, 8, seed=3)


@pytest.fixture(scope="module")
def pair(both: tuple[Engine, Engine]) -> Pair:
    return condition(both[0])


CHURN = {"s_churn": 2.0, "s_tmin": 0.05, "s_tmax": 50.0, "s_noise": 1.01}
LINEAR = {"max_scale": 2.5, "min_scale": 1.0}
RUNS: dict[str, SamplerSettings] = {
    "euler": SamplerSettings(),
    "euler churn": SamplerSettings(sampler_params=CHURN),
    "heun": SamplerSettings("HeunEDMSampler"),
    "heun churn": SamplerSettings("HeunEDMSampler", sampler_params={**CHURN, "s_churn": 100.0}),
    "euler ancestral": SamplerSettings("EulerAncestralSampler"),
    "euler ancestral eta": SamplerSettings("EulerAncestralSampler", sampler_params={"eta": 0.4, "s_noise": 0.9}),
    "2s ancestral": SamplerSettings("DPMPP2SAncestralSampler"),
    "2s ancestral eta": SamplerSettings("DPMPP2SAncestralSampler", sampler_params={"eta": 0.4, "s_noise": 0.9}),
    "2m": SamplerSettings("DPMPP2MSampler"),
    **{f"lms {n}": SamplerSettings("LinearMultistepSampler", sampler_params={"order": n}) for n in (1, 2, 3, 4)},
    "vanilla": SamplerSettings(guider="VanillaCFG", guider_params={"scale": 3.0}),
    "identity": SamplerSettings(guider="IdentityGuider", guider_params={}),
    "identity 2s": SamplerSettings("DPMPP2SAncestralSampler", guider="IdentityGuider", guider_params={}),
    "edm": SamplerSettings(discretization_params={"sigma_min": 0.01, "sigma_max": 80.0, "rho": 3.0}),
    "ddpm": SamplerSettings(discretization="LegacyDDPMDiscretization", discretization_params={}),
    "ddpm 2m": SamplerSettings(
        "DPMPP2MSampler",
        discretization="LegacyDDPMDiscretization",
        discretization_params={"linear_start": 0.001, "linear_end": 0.02, "num_timesteps": 500},
    ),
    **{
        f"triangle {number}": SamplerSettings(guider="TrianglePredictionGuider", guider_params={**LINEAR, **more})
        for number, more in enumerate(
            (
                {},
                {"period": 1},
                {"period": 0.5},
                {"period": [1.0, 0.4], "period_fusing": "max"},
                {"period": [1.0, 0.4], "period_fusing": "mean"},
                {"period": [0.7, 0.4, 1.3], "period_fusing": "multiply"},
            )
        )
    },
}
RUNS = {name: replace(settings, num_steps=5) for name, settings in RUNS.items()}


def run(engine: Engine, pair: Pair, settings: SamplerSettings) -> tuple[Tensor, list[StepInfo], torch.Generator]:
    steps: list[StepInfo] = []
    generator = torch.Generator().manual_seed(11)
    latents = engine.sample(NOISE, *pair, settings, on_step=steps.append, generator=generator)
    return latents, steps, generator


@pytest.mark.sgm
@pytest.mark.parametrize("name", RUNS)
def test_sampling_agrees_step_by_step(name: str, both: tuple[Engine, Engine], pair: Pair) -> None:
    settings = RUNS[name]
    (native, ours, our_generator), (sgm, theirs, their_generator) = (run(engine, pair, settings) for engine in both)
    assert [(step.step, step.total, step.sigma) for step in ours] == [
        (step.step, step.total, pytest.approx(step.sigma, rel=1e-6)) for step in theirs
    ]
    for our, their in zip(ours, theirs, strict=True):
        assert relative_error(our.denoised, their.denoised) <= 1e-4, f"step {our.step} differs first"
    assert relative_error(native, sgm) <= 1e-4
    if "Ancestral" in settings.sampler:
        draw_like_sgm = torch.randn(NOISE.shape, generator=our_generator)  # sgm draws unused noise at the last step
        assert draw_like_sgm.shape == NOISE.shape
    assert torch.equal(our_generator.get_state(), their_generator.get_state())


@pytest.mark.sgm
@pytest.mark.parametrize(("height", "width"), [(64, 96), (224, 448), (320, 512), (512, 128)])
def test_conditioning_agrees_for_pictures_smaller_and_larger_than_clips(
    height: int, width: int, both: tuple[Engine, Engine]
) -> None:
    for ours, theirs in zip(*(condition(engine, height, width) for engine in both), strict=True):
        for part in ("crossattn", "concat", "vector"):
            assert relative_error(getattr(ours, part), getattr(theirs, part)) <= 1e-4, part


@pytest.mark.sgm
@pytest.mark.parametrize("decode_t", [1, 2, 5])
def test_decoding_agrees(decode_t: int, both: tuple[Engine, Engine]) -> None:
    latents = draw(5, 4, 8, 8, seed=4)
    progress: list[tuple[int, int]] = []
    native, sgm = (
        engine.decode(latents, decode_t, on_chunk=lambda done, total: progress.append((done, total))) for engine in both
    )
    assert relative_error(native, sgm) <= 1e-4
    assert progress[: len(progress) // 2] == progress[len(progress) // 2 :]
    with pytest.raises(BadInput, match="decode_t must be at least 1"):
        both[1].decode(latents, 0)


@pytest.mark.sgm
@pytest.mark.parametrize("sampler", ["EulerEDMSampler", "DPMPP2SAncestralSampler", "LinearMultistepSampler"])
def test_raising_from_on_step_stops_both(sampler: str, both: tuple[Engine, Engine], pair: Pair) -> None:
    for engine in both:
        seen: list[int] = []

        def stop(step: StepInfo, seen: list[int] = seen) -> None:
            seen.append(step.step)
            if step.step == 2:
                raise Cancelled("enough")

        with pytest.raises(Cancelled):
            engine.sample(NOISE, *pair, SamplerSettings(sampler, 5), on_step=stop)
        assert seen == [1, 2]


@pytest.mark.sgm
@pytest.mark.parametrize("lacks", [{"sampler": "ConsistencySampler"}, {"discretization": "AYSDiscretization"}])
def test_what_sgm_lacks_is_refused(lacks: dict[str, str], both: tuple[Engine, Engine], pair: Pair) -> None:
    settings = replace(SamplerSettings(num_steps=2, discretization_params={}), **lacks)
    with pytest.raises(BadInput, match=f"^sgm has no {next(iter(lacks.values()))}; choose another one or the native"):
        both[1].sample(NOISE, *pair, settings)


@pytest.mark.sgm
def test_noise_levels_agree_for_every_number_of_steps(both: tuple[Engine, Engine]) -> None:
    discretizer = importlib.import_module("sgm.modules.diffusionmodules.discretizer")
    for name in ("EDMDiscretization", "LegacyDDPMDiscretization"):
        theirs: Callable[[int], Tensor] = getattr(discretizer, name)()
        for num_steps in (*range(1, 101), 333, 999, 1000):
            torch.testing.assert_close(make_sigmas(name, num_steps, {}), theirs(num_steps), rtol=1e-5, atol=0)


@pytest.mark.sgm
def test_sgm_leaves_its_inputs_and_the_global_generator_alone(both: tuple[Engine, Engine], pair: Pair) -> None:
    before, noise = torch.get_rng_state(), NOISE.clone()
    run(both[1], pair, RUNS["euler ancestral"])
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(NOISE, noise)


@pytest.mark.sgm
@pytest.mark.parametrize(
    ("changed", "given"),
    [
        ({"guidance_sigma_min": 1.0}, r"guidance_sigma_min 1\.0; leave it at 0\.0"),
        ({"guidance_sigma_max": 50.0}, r"guidance_sigma_max 50\.0; leave it at inf"),
        ({"block_cache": 2}, "block_cache 2; leave it at 1"),
    ],
)
def test_approximations_are_refused_by_sgm(
    changed: dict[str, Any], given: str, both: tuple[Engine, Engine], pair: Pair
) -> None:
    with pytest.raises(
        BadInput, match=f"^the sgm engine has no approximations, got {given} or choose the native engine$"
    ):
        both[1].sample(NOISE, *pair, SamplerSettings(num_steps=1, **changed))


@pytest.mark.sgm
@pytest.mark.parametrize("sampler", ["EulerAncestralSampler", "DPMPP2SAncestralSampler"])
def test_eta_0_is_refused_where_sgm_cannot_do_it(sampler: str, both: tuple[Engine, Engine], pair: Pair) -> None:
    settings = SamplerSettings(sampler, 2, sampler_params={"eta": 0.0})
    both[0].sample(NOISE, *pair, settings)
    with pytest.raises(BadInput, match=f"sgm's {sampler} does not support eta 0; choose a small eta or the native"):
        both[1].sample(NOISE, *pair, settings)


@pytest.mark.sgm
def test_loading_and_running_print_nothing_on_standard_output(
    both: tuple[Engine, Engine], pair: Pair, capfd: pytest.CaptureFixture[str]
) -> None:
    progress: list[tuple[int, int]] = []
    engine = load_engine(
        GOLDEN.config, GOLDEN.checkpoint, replace(CPU, provider="sgm"), on_bytes=lambda *now: progress.append(now)
    )
    condition(engine)
    run(engine, pair, RUNS["2m"])
    engine.decode(NOISE, 3)
    assert capfd.readouterr().out == ""
    assert progress == sorted(progress)
    assert progress[-1][0] == progress[-1][1]


@pytest.mark.sgm
def test_wrong_files_and_settings_are_refused_as_by_the_native_engine(
    both: tuple[Engine, Engine], pair: Pair, tmp_path: Path
) -> None:
    other = golden_model("tiny_svd_image_decoder")
    with pytest.raises(CheckpointError, match="has a decoder without temporal layers"):
        load_engine(GOLDEN.config, other.checkpoint, replace(CPU, provider="sgm"))
    wrong: list[dict[str, Any]] = [
        {"sampler": "Euler"},
        {"guider": "TrianglePredictionGuider", "guider_params": {**LINEAR, "period": 0}},
        {"num_steps": 1001, "discretization": "LegacyDDPMDiscretization", "discretization_params": {}},
    ]
    for values in wrong:
        with pytest.raises(BadInput):
            both[1].sample(NOISE, *pair, SamplerSettings(**values))


# The bundled small checkpoints: another architecture, with trained weights


@pytest.mark.sgm
@pytest.mark.parametrize("name", ["svd_tiny", "svd_tiny_xt"])
def test_the_small_checkpoints_agree(name: str) -> None:
    pytest.importorskip("sgm")
    version = find_version(name)
    native, sgm = (
        load_engine(version.config_path, version.require_checkpoint(), replace(CPU, provider=provider))
        for provider in ("native", "sgm")
    )
    pairs = [condition(engine, 48, 80) for engine in (native, sgm)]
    noise = draw(FRAMES, native.latent_channels, 12, 20, seed=3)
    settings = SamplerSettings(num_steps=5)
    latents = [engine.sample(noise, *pair, settings) for engine, pair in zip((native, sgm), pairs, strict=True)]
    assert relative_error(*latents) <= 1e-4
    assert relative_error(native.decode(latents[0], 3), sgm.decode(latents[0], 3)) <= 1e-4


@pytest.mark.sgm
@pytest.mark.parametrize("extra", [True, False])
def test_parameter_names_agree_for_any_extra_layer_setting(extra: bool, tmp_path: Path) -> None:
    pytest.importorskip("sgm")
    from img2vid.engine.config import load_config
    from img2vid.engine.model import build_meta

    tree = yaml.safe_load((paths.CONFIGS / "svd_tiny.yaml").read_text(encoding="utf-8"))
    tree["model"]["params"]["network_config"]["params"]["extra_ff_mix_layer"] = extra
    config = tmp_path / "mine.yaml"
    config.write_text(yaml.safe_dump(tree), encoding="utf-8")
    import_sgm()
    theirs = importlib.import_module("sgm.util").instantiate_from_config(
        adapt(tree)["model"]["params"]["network_config"]
    )
    prefix = "model.diffusion_model."
    mine = {
        name: tuple(value.shape)
        for name, value in build_meta(load_config(config), paths.CONFIGS).weights().items()
        if name.startswith(prefix)
    }
    assert mine == {prefix + name: tuple(value.shape) for name, value in theirs.state_dict().items()}
