"""Fast version of the denoising network, built from a loaded VideoUNet."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from img2vid.engine.fast.convolutions import Conv, UpsampleConv, by_frames
from img2vid.engine.fast.norms import Norm
from img2vid.engine.fast.residual import FrameResidual, Frames, TimeResidual
from img2vid.engine.fast.tile_plan import TilePlan
from img2vid.engine.fast.transformer import Constants, Transformer
from img2vid.engine.fast.weights import PackedWeight, bias_of, expect, frozen, hold, hold_linears, unpacked
from img2vid.engine.nets.attention import SpatialVideoTransformer
from img2vid.engine.nets.blocks import Downsample, Upsample, VideoResBlock, sinusoidal_embedding
from img2vid.engine.nets.unet import VideoUNet
from img2vid.engine.sampling.block_cache import InnerBlocks


@dataclass(frozen=True)
class ClipConstants:
    """Values of the network that are constant for all steps of a clip.

    label: (1, e) or (t, e), the embedding of the vector of all frames or of each. transformers: in execution order.
    """

    label: Tensor
    transformers: list[Constants]


class Residual(nn.Module):
    """Residual block over space, then one over time. start: index of its two shifts in the vector of all shifts."""

    def __init__(self, block: VideoResBlock, start: int, budget: TilePlan) -> None:
        super().__init__()
        self.frames = FrameResidual(
            (block.in_layers[0], block.out_layers[0]),
            (block.in_layers[2], block.out_layers[3]),
            block.skip_connection,
            budget,
        )
        self.time = TimeResidual(block.time_stack, 1 - block.time_mixer.alpha(), budget)
        self.channels = len(self.frames.conv1.bias)
        self.start = start

    def forward(self, parts: Sequence[Tensor], shifts: Tensor) -> Tensor:
        """Concatenate clips (t, h, w, c) along channels and return a new (t, h, w, m). shifts: (all,) or (t, all)."""
        first, second = shifts[..., self.start : self.start + 2 * self.channels].chunk(2, -1)

        def take(span: slice) -> Tensor:
            return torch.cat([part[span] for part in parts], -1) if len(parts) > 1 else parts[0][span]

        t, height, width, _ = parts[0].shape
        channels = sum(part.shape[-1] for part in parts)
        x, moments = self.frames(Frames((t, height, width, channels), parts[0].dtype, take), first)
        return self.time(x, second, moments)


class FastUNet(nn.Module):
    """Fast equivalent of `VideoUNet` for clips whose frames share one image and one noise level.

    The constructor removes layers from the VideoUNet one by one, so that no weight exists twice. before_stage: callback
    that is called with each stage right before its weights are needed.
    """

    def __init__(self, net: VideoUNet, budget: TilePlan) -> None:
        super().__init__()
        self.config, self.budget = net.config, budget
        self.time_embed, self.label_emb = net.time_embed, net.label_emb
        shifts = _Shifts()
        self.down = nn.ModuleList(_fuse_stage(stage, shifts, budget) for stage in net.input_blocks)
        self.middle = _fuse_stage(net.middle_block, shifts, budget)
        self.up = nn.ModuleList(_fuse_stage(stage, shifts, budget) for stage in net.output_blocks)
        self.norm_out = Norm(expect(nn.GroupNorm, net.out[0]), budget)
        self.conv_out = Conv(expect(nn.Conv2d, net.out[2]))
        self.shift_weight: Tensor
        self.shift_bias = frozen(torch.cat(shifts.biases))
        hold(self, "shift_weight", shifts.weights, self.shift_bias)
        hold_linears(self)
        self._is_packed = any(isinstance(module, PackedWeight) for module in self.modules())
        self.before_stage: Callable[[nn.Module], None] = _no_op

    @property
    def stages(self) -> list[nn.Module]:
        """All stages in execution order."""
        return [*self.down, self.middle, *self.up]

    def precompute(self, crossattn: Tensor, vector: Tensor, num_frames: int) -> ClipConstants:
        """Compute the values that are constant for all steps of a clip.

        crossattn: (1, d). vector: (1, adm) for all frames, which is faster, or (t, adm) for each frame.
        """
        constants: list[Constants] = []
        for stage in self.stages:
            self.before_stage(stage)
            transformers = [layer for layer in stage.children() if isinstance(layer, Transformer)]
            for one in transformers:
                with self._unpacked(*one.constant_layers):
                    constants.append(one.precompute(crossattn[0], num_frames))
        with self._unpacked(self.label_emb):
            return ClipConstants(self.label_emb(vector), constants)

    def _unpacked(self, *modules: nn.Module) -> AbstractContextManager[None]:
        """Make packed weights of these modules and their children usable inside the block."""
        if not self._is_packed:
            return nullcontext()
        return unpacked([one for module in modules for one in module.modules()], self.shift_bias.dtype)

    def forward(
        self,
        clips: Sequence[Tensor],
        c_noise: Tensor,
        constants: Sequence[ClipConstants],
        inner: Sequence[InnerBlocks] | None = None,
    ) -> list[Tensor]:
        """Run several clips. Each is (t, in_channels, h, w) and returns (t, out_channels, h, w).

        c_noise: (1,), the noise level from the preconditioning. inner: for each clip, the cache of its inner blocks
        (all but the outermost input and output block) between steps; None disables caching.
        """
        # Weights that are moved or unpacked serve all clips of a stage before the next stage.
        if not self.budget.splits_clips or self._is_packed or self.before_stage is not _no_op:
            return self._run(clips, c_noise, constants, inner)

        def one(index: int) -> Tensor:
            cache = None if inner is None else inner[index : index + 1]
            return self._run(clips[index : index + 1], c_noise, constants[index : index + 1], cache)[0]

        return self.budget.apart(one, len(clips))

    def _run(
        self,
        clips: Sequence[Tensor],
        c_noise: Tensor,
        constants: Sequence[ClipConstants],
        inner: Sequence[InnerBlocks] | None,
    ) -> list[Tensor]:
        """Run clips stage by stage."""
        runs = [
            _Run(clip, self._shifts(c_noise, fixed), fixed, self.budget)
            for clip, fixed in zip(clips, constants, strict=True)
        ]
        self._descend(runs, self.down[:1])
        if inner is None:
            self._run_inner(runs)
        else:
            self._run_cached_inner(runs, inner)
        self._ascend(runs, self.up[-1:])
        return [self._output(run.x) for run in runs]

    def _run_inner(self, runs: Sequence["_Run"]) -> None:
        """Run all blocks except the outermost."""
        self._descend(runs, self.down[1:])
        self.before_stage(self.middle)
        with self._unpacked(self.middle):
            for run in runs:
                run.run_stage(self.middle)
        self._ascend(runs, self.up[:-1])

    def _run_cached_inner(self, runs: Sequence["_Run"], inner: Sequence[InnerBlocks]) -> None:
        """Use the cached results of the inner blocks; compute and cache missing ones."""
        results = [one.recall() for one in inner]
        self._run_inner([run for run, result in zip(runs, results, strict=True) if result is None])
        outermost = sum(isinstance(layer, Transformer) for layer in self.up[-1].children())
        for run, one, result in zip(runs, inner, results, strict=True):
            if result is None:
                one.keep(run.x)
            else:
                run.resume(result, outermost)

    def _descend(self, runs: Sequence["_Run"], stages: nn.ModuleList) -> None:
        for stage in stages:
            self.before_stage(stage)
            with self._unpacked(stage):
                for run in runs:
                    run.run_stage(stage)
                    run.skips.append(run.x)

    def _ascend(self, runs: Sequence["_Run"], stages: nn.ModuleList) -> None:
        for stage in stages:
            self.before_stage(stage)
            with self._unpacked(stage):
                for run in runs:
                    run.run_stage(stage, run.skips.pop())

    def _shifts(self, c_noise: Tensor, constants: ClipConstants) -> Tensor:
        """Return (all,) or (t, all), the shifts of all residual blocks at a noise level, in order of the blocks."""
        level = sinusoidal_embedding(c_noise, self.config.model_channels).to(self.shift_bias.dtype)
        own = [self, *self.time_embed.modules()] if self._is_packed else []
        with unpacked(own, self.shift_bias.dtype):
            emb = self.time_embed(level)
            shifts = F.linear(F.silu(emb + constants.label), self.shift_weight, self.shift_bias)
        return shifts[0] if len(shifts) == 1 else shifts

    def _output(self, x: Tensor) -> Tensor:
        with self._unpacked(self.conv_out):
            out = by_frames(lambda frames: self.conv_out(self.norm_out.silu(frames)), x, self.budget)
        return out.permute(0, 3, 1, 2)


class _Run:
    """State of one clip during a pass through the network."""

    def __init__(self, clip: Tensor, shifts: Tensor, constants: ClipConstants, budget: TilePlan) -> None:
        self.x = clip.permute(0, 2, 3, 1).contiguous()
        self.skips: list[Tensor] = []
        self._shifts, self._budget = shifts, budget
        self._all = constants.transformers
        self._constants: Iterator[Constants] = iter(self._all)

    def resume(self, x: Tensor, transformers: int) -> None:
        """Continue from the cached x, with `transformers` transformers left to run."""
        self.x = x
        self._constants = iter(self._all[len(self._all) - transformers :])

    def run_stage(self, stage: nn.Module, *skips: Tensor) -> None:
        """Run the layers of a stage; the first one also gets the skip connections."""
        for layer in stage.children():
            if isinstance(layer, Residual):
                self.x = layer([self.x, *skips], self._shifts)
            elif isinstance(layer, Transformer):
                self.x = layer(self.x, next(self._constants))
            else:
                self.x = by_frames(layer, self.x, self._budget)


def _no_op(stage: nn.Module) -> None:
    """Do nothing: default `before_stage` for networks whose weights stay on the device."""


class _Shifts:
    """Layers that map the embedding to each residual block's shifts, collected to be fused into one layer."""

    def __init__(self) -> None:
        self.weights: list[Tensor] = []
        self.biases: list[Tensor] = []
        self.width = 0

    def take(self, block: VideoResBlock) -> int:
        """Append both layers of a block and return the start index of their shifts."""
        start = self.width
        for layers in (block.emb_layers, block.time_stack.emb_layers):
            assert layers is not None
            linear = expect(nn.Linear, layers[1])
            self.weights.append(linear.weight)
            self.biases.append(bias_of(linear))
            self.width += linear.out_features
        return start


def _fuse_stage(stage: nn.Module, shifts: _Shifts, budget: TilePlan) -> nn.ModuleList:
    """Return the fast version of a stage's layers; the stage is empty afterwards."""
    fused = nn.ModuleList()
    for name, layer in list(stage.named_children()):
        fused.append(_fuse(layer, shifts, budget))
        delattr(stage, name)
    return fused


def _fuse(layer: nn.Module, shifts: _Shifts, budget: TilePlan) -> nn.Module:
    if isinstance(layer, VideoResBlock):
        return Residual(layer, shifts.take(layer), budget)
    if isinstance(layer, SpatialVideoTransformer):
        return Transformer(layer, budget)
    if isinstance(layer, Upsample):
        return UpsampleConv(layer.conv)
    return Conv(layer.op if isinstance(layer, Downsample) else expect(nn.Conv2d, layer))
