"""Rendering: order of the random draws, progress events and errors."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from img2vid.engine import (
    Clip,
    Conditioning,
    ConditioningSettings,
    Engine,
    Parts,
    SamplerSettings,
    StepInfo,
    decode_latents,
    sample_latents,
)
from img2vid.engine.backends.native import NativeEngine
from img2vid.errors import Cancelled, Img2VidError, OutOfMemory
from img2vid.progress import Event, OnEvent, StageClock, ignore

SAMPLER = SamplerSettings("EulerAncestralSampler", 2)
FRAMES, HEIGHT, WIDTH = 3, 32, 48
Events = list[Event]


def clip(seed: int = 23, num_frames: int = FRAMES, **changes: float) -> Clip:
    numbers = {"fps": 6, "motion_bucket_id": 127, "cond_aug": 0.5, **changes}
    return Clip(seed, ConditioningSettings(num_frames=num_frames, **numbers), SAMPLER)


def picture() -> NDArray[np.float32]:
    return np.linspace(-1, 1, 3 * HEIGHT * WIDTH, dtype=np.float32).reshape(3, HEIGHT, WIDTH)


class RecordingEngine:
    """Engine that records its arguments and decodes to a fixed gray."""

    size_step, downsampling, latent_channels, scale_factor = 8, 8, 4, 0.18215
    conditioned_on: list[str] = ["fps", "motion_bucket_id", "cond_aug"]  # noqa: RUF012 - type of the protocol
    parts: Parts = {}  # noqa: RUF012 - type of the protocol

    def __init__(self, latent: float = 0.0, gray: float = 0.0, notice: str = "") -> None:
        self.latent, self.gray, self.notice = latent, gray, notice
        self.conditioned: dict[str, Any] = {}
        self.noise = self.drawn_later = self.decoded = torch.empty(0)
        self.chunks = 0

    def condition(
        self, image: Tensor, settings: ConditioningSettings, *, cond_noise: Tensor
    ) -> tuple[Conditioning, Conditioning]:
        self.conditioned = {"image": image, "settings": settings, "cond_noise": cond_noise}
        half = Conditioning(torch.zeros(FRAMES, 1, 5), torch.zeros(FRAMES, 4, 4, 6), torch.zeros(FRAMES, 9))
        return half, half

    def sample(
        self,
        noise: Tensor,
        cond: Conditioning,
        uncond: Conditioning,
        settings: SamplerSettings,
        *,
        on_step: Callable[[StepInfo], None] | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        assert on_step is not None
        self.noise, self.drawn_later = noise, torch.randn(2, generator=generator)
        for step in range(1, settings.num_steps + 1):
            on_step(StepInfo(step, settings.num_steps, 1.0 / step, noise))
        return torch.full_like(noise, self.latent)

    def decode(
        self,
        latents: Tensor,
        decode_t: int,
        on_chunk: Callable[[int, int], None] | None = None,
        on_notice: Callable[[str], None] | None = None,
    ) -> Tensor:
        assert on_chunk is not None
        assert on_notice is not None
        self.decoded, self.chunks = latents, decode_t
        on_chunk(2, FRAMES)
        if self.notice:
            on_notice(self.notice)
        on_chunk(3, FRAMES)
        return torch.full((FRAMES, 3, HEIGHT, WIDTH), self.gray)


def render(engine: Engine, one: Clip, on_event: OnEvent) -> NDArray[np.uint8]:
    clock = StageClock(on_event)
    return decode_latents(engine, sample_latents(engine, picture(), one, clock), 2, clock)


def render_with(engine: Engine, one: Clip | None = None) -> tuple[NDArray[np.uint8], Events]:
    events: Events = []
    return render(engine, one or clip(), events.append), events


def test_one_generator_draws_conditioning_noise_then_latents_then_the_samplers_noise() -> None:
    engine = RecordingEngine()
    render_with(engine)
    generator = torch.Generator().manual_seed(23)
    assert torch.equal(engine.conditioned["cond_noise"], torch.randn(1, 3, HEIGHT, WIDTH, generator=generator))
    assert torch.equal(engine.noise, torch.randn(FRAMES, 4, HEIGHT // 8, WIDTH // 8, generator=generator))
    assert torch.equal(engine.drawn_later, torch.randn(2, generator=generator))


def test_the_engine_is_given_the_clips_numbers() -> None:
    engine = RecordingEngine(latent=0.25)
    render_with(engine, clip(fps=12, motion_bucket_id=40, cond_aug=0.1))
    given = engine.conditioned
    assert torch.equal(given["image"], torch.as_tensor(picture())[None])
    assert given["settings"] == ConditioningSettings(0.1, FRAMES, fps=12, motion_bucket_id=40)
    assert engine.chunks == 2
    assert (engine.decoded == 0.25).all()


def test_progress_reports_stages_steps_and_previews_in_order() -> None:
    _, events = render_with(RecordingEngine())
    assert [(event.stage, event.step, event.total) for event in events] == [
        ("condition", 0, 1),
        ("condition", 1, 1),
        ("sample", 0, 2),
        ("sample", 1, 2),
        ("sample", 2, 2),
        ("decode", 0, 3),
        ("decode", 2, 3),
        ("decode", 3, 3),
    ]
    steps = [event for event in events if event.frames is not None]
    assert [(event.stage, event.sigma) for event in steps] == [("sample", 1.0), ("sample", 0.5)]
    assert all(event.frames is not None and event.frames.shape == (FRAMES, 4, 6, 3) for event in steps)


def test_notices_of_the_decoder_become_progress_events() -> None:
    _, events = render_with(RecordingEngine(notice="decoded again"))
    decode_events = [(event.stage, event.step, event.notice) for event in events if event.stage == "decode"]
    assert decode_events == [("decode", 0, ""), ("decode", 2, ""), ("decode", 2, "decoded again"), ("decode", 3, "")]


@pytest.mark.parametrize(("gray", "byte"), [(-1.0, 0), (-3.0, 0), (0.0, 128), (0.5, 191), (1.0, 255), (1.5, 255)])
def test_frames_are_clamped_and_rounded_to_bytes(gray: float, byte: int) -> None:
    frames, _ = render_with(RecordingEngine(gray=gray))
    assert (frames.shape, frames.dtype) == ((FRAMES, HEIGHT, WIDTH, 3), np.uint8)
    assert (frames == byte).all()


@pytest.mark.parametrize(
    ("engine", "what"),
    [
        (RecordingEngine(latent=float("nan")), "latents"),
        (RecordingEngine(latent=float("inf")), "latents"),
        (RecordingEngine(gray=float("nan")), "frames"),
    ],
)
def test_nan_or_infinity_is_an_error_and_not_a_black_video(engine: RecordingEngine, what: str) -> None:
    with pytest.raises(Img2VidError, match=f"the {what} contain NaN or infinity.*choose precision fp32"):
        render_with(engine)


def test_stored_latents_give_the_same_frames(small_engine: NativeEngine) -> None:
    whole, _ = render_with(small_engine)
    latents = sample_latents(small_engine, picture(), clip(), StageClock(ignore))
    other = decode_latents(small_engine, latents, 1, StageClock(ignore))
    events: Events = []
    again = decode_latents(small_engine, latents, 2, StageClock(events.append))
    assert whole.tobytes() == again.tobytes() != other.tobytes()
    assert [(event.stage, event.step, event.total) for event in events] == [("decode", step, 3) for step in (0, 2, 3)]


@pytest.mark.parametrize("stage", ["condition", "sample", "decode"])
def test_out_of_memory_names_the_stage(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **more: object) -> None:
        raise MemoryError

    engine = RecordingEngine()
    monkeypatch.setattr(engine, stage, fail)
    with pytest.raises(OutOfMemory, match=f"stage '{stage}'"):
        render_with(engine)


@pytest.mark.parametrize(("stage", "step"), [("condition", 0), ("sample", 1), ("decode", 2)])
def test_an_exception_from_progress_stops_the_run(stage: str, step: int, small_engine: NativeEngine) -> None:
    seen: Events = []

    def stop(event: Event) -> None:
        seen.append(event)
        if (event.stage, event.step) == (stage, step):
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        render(small_engine, clip(), stop)
    assert (seen[-1].stage, seen[-1].step) == (stage, step)


def test_the_same_seed_gives_the_same_bytes_whatever_ran_before(small_engine: NativeEngine) -> None:
    first, _ = render_with(small_engine)
    torch.manual_seed(5)
    other, _ = render_with(small_engine, clip(seed=24))
    render_with(small_engine, clip(num_frames=2))
    again, _ = render_with(small_engine)
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()
    assert first.shape == (FRAMES, HEIGHT, WIDTH, 3)


def test_the_global_generator_is_left_alone(small_engine: NativeEngine) -> None:
    before = torch.get_rng_state()
    render_with(small_engine)
    assert torch.equal(torch.get_rng_state(), before)
