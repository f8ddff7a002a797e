"""The inner blocks of the network, kept between steps (Ma et al. 2024, "DeepCache").

From one step to the next the inner blocks, most of which see the clip at a lower resolution, give much the same; the
outermost ones do not. So the latter run at every step, and join what the inner ones gave some steps ago.
"""

from dataclasses import dataclass

from torch import Tensor

from img2vid.engine.interface import Conditioning


@dataclass
class Clock:
    """Which step of a run it is, from 0 on, and how often all blocks are computed: every `every`-th step is full."""

    every: int
    step: int = 0

    @property
    def last_full(self) -> int:
        """The newest full step, which may be this one."""
        return self.step - self.step % self.every


class InnerBlocks:
    """What the inner blocks gave for one conditioning when they were computed last."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: Tensor | None = None
        self._step = -1

    def recall(self) -> Tensor | None:
        """What the outermost output block gets from them, or None where they are to be computed.

        That is so at each evaluation in a full step, and where none was made since the last full step began, because
        guidance did not act meanwhile.
        """
        last_full = self._clock.last_full
        return self._kept if self._clock.step > last_full and self._step >= last_full else None

    def keep(self, result: Tensor) -> None:
        """Takes what was computed. Samplers that evaluate twice a step leave the second, at the nearer noise level."""
        if self._clock.every > 1:
            self._kept, self._step = result, self._clock.step


class BlockCache:
    """The inner blocks of one run, for each of its conditionings apart; with `every` 1 nothing is kept."""

    def __init__(self, every: int) -> None:
        self._clock = Clock(every)
        self._branches: dict[int, InnerBlocks] = {}

    def next_step(self) -> None:
        """The sampler has finished a step."""
        self._clock.step += 1

    def of(self, conditioning: Conditioning) -> InnerBlocks:
        """Those of a conditioning, which must be the same object as long as the run lasts."""
        return self._branches.setdefault(id(conditioning), InnerBlocks(self._clock))
