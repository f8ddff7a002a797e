"""Attention, compared with the formula with an explicit softmax."""

import pytest
import torch
from torch import Tensor

from img2vid.engine.nets.attention import Attention, SpatialVideoTransformer, TemporalBlock

DIM, CONTEXT, HEADS, HEAD_DIM = 12, 5, 3, 4


def attention(context_dim: int = CONTEXT) -> Attention:
    torch.manual_seed(1)
    return Attention(DIM, context_dim, HEADS, HEAD_DIM).requires_grad_(False)


def by_hand(layer: Attention, x: Tensor, context: Tensor) -> Tensor:
    """Compute softmax(q k / sqrt(d)) v per head, then concatenate and project."""
    query, key, value = layer.to_q(x), layer.to_k(context), layer.to_v(context)
    answers: list[Tensor] = []
    for head in range(HEADS):
        part = slice(head * HEAD_DIM, (head + 1) * HEAD_DIM)
        weights = (query[..., part] @ key[..., part].transpose(-1, -2) / HEAD_DIM**0.5).softmax(-1)
        answers.append(weights @ value[..., part])
    return layer.to_out(torch.cat(answers, dim=-1))


@pytest.mark.parametrize("tokens", [1, 2, 7])
@pytest.mark.parametrize("lead", [(2,), (2, 3)])
def test_cross_attention_to_one_token_or_many(tokens: int, lead: tuple[int, ...]) -> None:
    """With one token, the softmax is 1 and the result has one row for all queries."""
    layer, x, context = attention(), torch.randn(*lead, 6, DIM), torch.randn(*lead, tokens, CONTEXT)
    found = layer(x, context)
    assert found.shape == (*lead, 1 if tokens == 1 else 6, DIM)
    torch.testing.assert_close(found.expand(*lead, 6, DIM), by_hand(layer, x, context))


@pytest.mark.parametrize("tokens", [1, 5])
def test_self_attention(tokens: int) -> None:
    layer, x = attention(DIM), torch.randn(2, 3, tokens, DIM)
    torch.testing.assert_close(layer(x), by_hand(layer, x, x))


@pytest.mark.parametrize("tokens", [1, 3])
def test_time_looks_at_one_context_from_every_place(tokens: int) -> None:
    block = TemporalBlock(DIM, CONTEXT, HEADS, HEAD_DIM).requires_grad_(False)
    x, context = torch.randn(2, 4, 5, DIM), torch.randn(2, 1, tokens, CONTEXT)
    found = block(x, context)
    for place in range(4):
        alone = block(x[:, place : place + 1], context)
        torch.testing.assert_close(found[:, place : place + 1], alone)


def transformer(merge_factor: float = 0.0) -> SpatialVideoTransformer:
    torch.manual_seed(2)
    layer = SpatialVideoTransformer(
        32,
        2,
        16,
        depth=1,
        context_dim=CONTEXT,
        use_linear=True,
        merge_strategy="fixed",
        merge_factor=merge_factor,
        max_period=10_000,
    )
    return layer.requires_grad_(False)


def test_clips_do_not_see_each_other() -> None:
    layer, x, context = transformer(), torch.randn(6, 32, 4, 2), torch.randn(6, 1, CONTEXT)
    together = layer(x, context, 3)
    alone = [layer(x[part], context[part], 3) for part in (slice(3), slice(3, 6))]
    torch.testing.assert_close(together, torch.cat(alone))


def test_frames_see_each_other_only_through_the_temporal_branch() -> None:
    x, context = torch.randn(3, 32, 4, 2), torch.randn(3, 1, CONTEXT)
    changed = x.clone()
    changed[2] = torch.randn_like(x[2])
    spatial_only, blended = transformer(merge_factor=1.0), transformer(merge_factor=0.5)
    torch.testing.assert_close(spatial_only(changed, context, 3)[:2], spatial_only(x, context, 3)[:2])
    assert not torch.allclose(blended(changed, context, 3)[0], blended(x, context, 3)[0], atol=1e-3)


def test_equal_frames_are_distinguished_by_their_position() -> None:
    x, context = torch.randn(1, 32, 4, 2).expand(3, -1, -1, -1), torch.randn(1, 1, CONTEXT).expand(3, -1, -1)
    first, second, third = transformer()(x, context, 3)
    assert not torch.allclose(first, second, atol=1e-4)
    assert not torch.allclose(second, third, atol=1e-4)
