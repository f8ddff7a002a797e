"""Cache of the network's inner blocks between steps (Ma et al. 2024, "DeepCache").

The outputs of the inner blocks, most of which run at a lower resolution, change little from one step to the next. The
outermost blocks run at every step and reuse the inner blocks' output of an earlier step.
"""

from dataclasses import dataclass

from torch import Tensor

from img2vid.engine.interface import Conditioning


@dataclass
class Clock:
    """Step counter of a run, starting at 0. All blocks are computed at every `every`-th step, a full step."""

    every: int
    step: int = 0

    @property
    def last_full(self) -> int:
        """Most recent full step, which may be the current one."""
        return self.step - self.step % self.every


class InnerBlocks:
    """Last output of the inner blocks for one conditioning."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._result: Tensor | None = None
        self._step = -1

    def recall(self) -> Tensor | None:
        """Return the cached input of the outermost output block, or None if the inner blocks must be computed.

        They must be computed at each evaluation in a full step, and if there was no evaluation since the last full step
        began because guidance was inactive.
        """
        last_full = self._clock.last_full
        return self._result if self._clock.step > last_full and self._step >= last_full else None

    def keep(self, result: Tensor) -> None:
        """Store a result. If a sampler evaluates twice per step, the second, at the closer noise level, is kept."""
        if self._clock.every > 1:
            self._result, self._step = result, self._clock.step


class BlockCache:
    """Cache of one run, with one entry per conditioning; nothing is cached if `every` is 1."""

    def __init__(self, every: int) -> None:
        self._clock = Clock(every)
        self._branches: dict[int, InnerBlocks] = {}

    def next_step(self) -> None:
        """Advance to the next step after the sampler finishes one."""
        self._clock.step += 1

    def of(self, conditioning: Conditioning) -> InnerBlocks:
        """Return the entry of a conditioning, which must be the same object throughout the run."""
        return self._branches.setdefault(id(conditioning), InnerBlocks(self._clock))
