"""Common parts of all stages: a resumable loop, a moving average of the weights, a log."""

import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor, nn

from img2vid.files import whole_file
from training.muon import Muon

WARM_STEPS = 300
"""Steps of learning rate warm-up; large first steps would destroy the initialization."""
DECAY = 0.999
"""Decay of the moving average of the weights, per step."""


class Average:
    """Exponential moving average of a module's parameters (Karras et al. 2022, appendix F)."""

    def __init__(self, parameters: Mapping[str, Tensor], decay: float) -> None:
        self.decay = decay
        self.values = {name: value.detach().clone() for name, value in parameters.items()}

    @torch.no_grad()
    def update(self, parameters: Mapping[str, Tensor], step: int) -> None:
        """Move the average towards the parameters, faster in early steps."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in parameters.items():
            self.values[name].lerp_(value.detach(), 1 - decay)


class Stage:
    """One stage of training: its modules, optimizers and saved state."""

    def __init__(
        self,
        name: str,
        modules: dict[str, nn.Module],
        work: Path,
        *,
        steps: int,
        rate: float,
        fall: float = 0.05,
        is_inner: Callable[[str, nn.Parameter], bool] = lambda name, parameter: False,
        inner_rate: float = 0.0,
    ) -> None:
        """Create or resume a stage. Muon updates the parameters for which `is_inner` is True, AdamW the others."""
        self.name, self.work, self.steps, self.fall = name, work, steps, fall
        self.parameters = {
            f"{prefix}.{key}": value
            for prefix, module in modules.items()
            for key, value in module.named_parameters()
            if value.requires_grad
        }
        inner = {name for name, value in self.parameters.items() if is_inner(name, value)}
        others = [value for name, value in self.parameters.items() if name not in inner]
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.999), weight_decay=0.0)
        ]
        self.rates = [rate]
        if inner:
            self.optimizers.append(Muon([self.parameters[name] for name in sorted(inner)], lr=inner_rate))
            self.rates.append(inner_rate)
        self.average = Average(self.parameters, DECAY)
        self.step = 0
        self.state_file = work / f"{name}.pt"
        work.mkdir(parents=True, exist_ok=True)
        if self.state_file.is_file():
            self._resume()

    def _resume(self) -> None:
        state = torch.load(self.state_file, weights_only=True, map_location="cpu")
        with torch.no_grad():
            for name, value in self.parameters.items():
                value.copy_(state["parameters"][name])
                self.average.values[name].copy_(state["average"][name])
        for optimizer, kept in zip(self.optimizers, state["optimisers"], strict=True):
            optimizer.load_state_dict(kept)
        self.step = state["step"]

    def save(self) -> None:
        """Write the state atomically."""
        state = {
            "parameters": {name: value.detach().cpu() for name, value in self.parameters.items()},
            "average": {name: value.cpu() for name, value in self.average.values.items()},
            "optimisers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
        }
        with whole_file(self.state_file) as part:
            torch.save(state, part)

    def share(self) -> float:
        """Return the current learning rate factor: a warm-up, then half a cosine down to `fall`."""
        warm = min(1.0, (self.step + 1) / min(WARM_STEPS, max(self.steps // 5, 1)))
        fall = self.fall + (1 - self.fall) * (1 + math.cos(math.pi * min(1.0, self.step / self.steps))) / 2
        return warm * fall

    def run(self, loss_of: Callable[[int], Tensor], *, minutes: float, measure: Callable[[], dict[str, float]]) -> None:
        """Train until the steps or minutes are used up. `loss_of` gets the step number.

        The state is also saved on Ctrl-C.
        """
        try:
            self._train(loss_of, time.monotonic() + 60 * minutes, measure)
        finally:
            self.save()
        self._log(measure())

    def _train(self, loss_of: Callable[[int], Tensor], end: float, measure: Callable[[], dict[str, float]]) -> None:
        losses: list[float] = []
        started, first = time.monotonic(), self.step
        while self.step < self.steps and time.monotonic() < end:
            for optimizer, rate in zip(self.optimizers, self.rates, strict=True):
                for group in optimizer.param_groups:
                    group["lr"] = rate * self.share()
            loss = loss_of(self.step)
            for parameter in self.parameters.values():
                parameter.grad = None
            loss.backward()
            nn.utils.clip_grad_norm_(self.parameters.values(), 1.0)
            for optimizer in self.optimizers:
                optimizer.step()
            self.step += 1
            self.average.update(self.parameters, self.step)
            losses.append(float(loss.detach()))
            if self.step % 50 == 0:
                pace = (time.monotonic() - started) / (self.step - first)
                self._log({"loss": fmean(losses), "seconds_a_step": round(pace, 3)})
                losses.clear()
            if self.step % 200 == 0:
                self.save()
                self._log(measure())

    def _log(self, values: dict[str, float]) -> None:
        row = {"stage": self.name, "step": self.step, **{key: round(value, 5) for key, value in values.items()}}
        print(json.dumps(row), flush=True)
        with (self.work / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(row) + "\n")

    def use_average(self) -> None:
        """Copy the averaged weights into the modules."""
        with torch.no_grad():
            for name, value in self.parameters.items():
                value.copy_(self.average.values[name])


def psnr(a: Tensor, b: Tensor) -> float:
    """Return the peak signal-to-noise ratio in dB of images in [-1, 1], after clamping."""
    error = (a.clamp(-1, 1) - b.clamp(-1, 1)).square().mean()
    return float(10 * torch.log10(4 / error.clamp_min(1e-10)))
