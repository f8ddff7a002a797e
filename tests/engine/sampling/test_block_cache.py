"""At which evaluations the inner blocks are computed, and which result the others get."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from img2vid.engine import Conditioning
from img2vid.engine.sampling.block_cache import BlockCache

CALLS = st.lists(st.lists(st.sampled_from(["cond", "uncond"]), max_size=4), max_size=12)
"""For each step of a run the evaluations that are made in it."""


def conditioning() -> Conditioning:
    return Conditioning(torch.zeros(1), torch.zeros(1), torch.zeros(1))


def run(every: int, steps: list[list[str]]) -> list[list[tuple[bool, int]]]:
    """For each evaluation whether the blocks were computed, and the number of the evaluation whose result was used."""
    cache, count = BlockCache(every), 0
    branches = {"cond": conditioning(), "uncond": conditioning()}
    seen: list[list[tuple[bool, int]]] = []
    for step in steps:
        seen.append([])
        for name in step:
            inner = cache.of(branches[name])
            result = inner.recall()
            seen[-1].append((result is None, count if result is None else int(result)))
            if result is None:
                inner.keep(torch.tensor(count))
            count += 1
        cache.next_step()
    return seen


@pytest.mark.parametrize("every", [1, 2, 3, 5])
def test_every_nth_step_is_full_and_the_others_use_the_last_full_one(every: int) -> None:
    seen = run(every, [["cond"]] * 11)
    assert seen == [[(step % every == 0, step - step % every)] for step in range(11)]


def test_a_sampler_that_evaluates_twice_does_both_in_full_and_leaves_the_second() -> None:
    """Heun's second evaluation is made at the noise level at which the next step begins."""
    assert run(3, [["cond", "cond"]] * 4) == [
        [(True, 0), (True, 1)],
        [(False, 1), (False, 1)],
        [(False, 1), (False, 1)],
        [(True, 6), (True, 7)],
    ]


def test_each_branch_has_its_own() -> None:
    assert run(2, [["uncond", "cond"]] * 2) == [[(True, 0), (True, 1)], [(False, 0), (False, 1)]]


def test_a_branch_that_was_not_evaluated_since_the_last_full_step_is_computed() -> None:
    """Guidance that begins to act between two full steps has nothing to use, or what is long out of date."""
    steps = [["uncond", "cond"], ["cond"], ["cond"], ["cond"], ["uncond", "cond"], ["uncond", "cond"]]
    seen = run(3, steps)
    assert seen[4] == [(True, 5), (False, 4)]
    assert seen[5] == [(False, 5), (False, 4)]


def test_two_runs_share_nothing() -> None:
    same = conditioning()
    first, second = BlockCache(2), BlockCache(2)
    first.of(same).keep(torch.tensor(1))
    for cache in (first, second):
        cache.next_step()
    assert first.of(same).recall() is not None
    assert second.of(same).recall() is None


@given(st.integers(1, 6), CALLS)
def test_what_is_used_is_never_from_before_the_last_full_step(every: int, steps: list[list[str]]) -> None:
    first_of_step = [sum(map(len, steps[:step])) for step in range(len(steps))]
    for step, evaluations in enumerate(run(every, steps)):
        assert all(used >= first_of_step[step - step % every] for _, used in evaluations)
        if step % every == 0:
            assert all(computed for computed, _ in evaluations)
