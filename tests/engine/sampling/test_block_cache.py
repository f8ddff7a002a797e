"""Block cache: evaluations that compute the inner blocks, and the cached results that the others use."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from img2vid.engine import Conditioning
from img2vid.engine.sampling.block_cache import BlockCache

CALLS = st.lists(st.lists(st.sampled_from(["cond", "uncond"]), max_size=4), max_size=12)
"""Evaluations in each step of a run."""


def conditioning() -> Conditioning:
    return Conditioning(torch.zeros(1), torch.zeros(1), torch.zeros(1))


def run(every: int, steps: list[list[str]]) -> list[list[tuple[bool, int]]]:
    """Return, per evaluation, True if the blocks were computed, and the index of the evaluation with the result."""
    cache, count = BlockCache(every), 0
    branches = {"cond": conditioning(), "uncond": conditioning()}
    evaluations_by_step: list[list[tuple[bool, int]]] = []
    for step in steps:
        evaluations_by_step.append([])
        for name in step:
            inner = cache.of(branches[name])
            result = inner.recall()
            evaluations_by_step[-1].append((result is None, count if result is None else int(result)))
            if result is None:
                inner.keep(torch.tensor(count))
            count += 1
        cache.next_step()
    return evaluations_by_step


@pytest.mark.parametrize("every", [1, 2, 3, 5])
def test_every_nth_step_is_full_and_the_others_use_the_last_full_one(every: int) -> None:
    evaluations_by_step = run(every, [["cond"]] * 11)
    assert evaluations_by_step == [[(step % every == 0, step - step % every)] for step in range(11)]


def test_both_evaluations_of_a_full_step_are_computed_and_the_second_is_kept() -> None:
    """Heun's second evaluation is at the noise level where the next step starts."""
    assert run(3, [["cond", "cond"]] * 4) == [
        [(True, 0), (True, 1)],
        [(False, 1), (False, 1)],
        [(False, 1), (False, 1)],
        [(True, 6), (True, 7)],
    ]


def test_each_branch_has_its_own_entry() -> None:
    assert run(2, [["uncond", "cond"]] * 2) == [[(True, 0), (True, 1)], [(False, 0), (False, 1)]]


def test_a_branch_that_was_not_evaluated_since_the_last_full_step_is_computed() -> None:
    """If guidance starts between two full steps, its cached result is missing or outdated."""
    steps = [["uncond", "cond"], ["cond"], ["cond"], ["cond"], ["uncond", "cond"], ["uncond", "cond"]]
    evaluations_by_step = run(3, steps)
    assert evaluations_by_step[4] == [(True, 5), (False, 4)]
    assert evaluations_by_step[5] == [(False, 5), (False, 4)]


def test_two_runs_share_nothing() -> None:
    same = conditioning()
    first, second = BlockCache(2), BlockCache(2)
    first.of(same).keep(torch.tensor(1))
    for cache in (first, second):
        cache.next_step()
    assert first.of(same).recall() is not None
    assert second.of(same).recall() is None


@given(st.integers(1, 6), CALLS)
def test_cached_results_are_never_older_than_the_last_full_step(every: int, steps: list[list[str]]) -> None:
    first_of_step = [sum(map(len, steps[:step])) for step in range(len(steps))]
    for step, evaluations in enumerate(run(every, steps)):
        assert all(used >= first_of_step[step - step % every] for _, used in evaluations)
        if step % every == 0:
            assert all(computed for computed, _ in evaluations)
