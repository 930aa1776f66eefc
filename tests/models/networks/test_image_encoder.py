"""The ViT encoder: windows, relative positions and attention by hand; both halves make the whole."""

from __future__ import annotations

import pytest
import torch
from random_weights import fill

from medsam.errors import CheckpointError
from medsam.models.networks.image_encoder import (
    ImageEncoder,
    WindowAttention,
    join_windows,
    lay_out_table,
    pad_to_windows,
    resize_table,
    split_windows,
)


def small() -> ImageEncoder:
    return fill(ImageEncoder(channels=24, depth=3, heads=3, global_blocks=(1,), image_size=256, window=5))


def test_windows_are_cut_row_by_row_and_joined_again() -> None:
    x = torch.arange(48).view(2, 4, 6, 1)
    windows = split_windows(x, 2)
    assert windows.shape == (12, 2, 2, 1)
    assert windows[0, ..., 0].tolist() == [[0, 1], [6, 7]]
    assert windows[1, ..., 0].tolist() == [[2, 3], [8, 9]]
    assert windows[3, ..., 0].tolist() == [[12, 13], [18, 19]]
    assert windows[6, 0, 0, 0] == 24
    assert torch.equal(join_windows(windows, 2, 4, 6), x)


def test_padding_fills_up_to_whole_windows_with_the_value_of_each_channel() -> None:
    x = torch.ones(1, 2, 3, 2)
    padded = pad_to_windows(x, 2, torch.tensor([5.0, 7.0]))
    assert padded[0, ..., 0].tolist() == [[1, 1, 1, 5], [1, 1, 1, 5]]
    assert padded[0, ..., 1].tolist() == [[1, 1, 1, 7], [1, 1, 1, 7]]
    assert pad_to_windows(x, 1, torch.zeros(2)) is x


def test_relative_positions_by_hand() -> None:
    table = torch.tensor([[-1.0], [0.0], [1.0]])
    assert lay_out_table(table, 2)[..., 0].tolist() == [[0, -1], [1, 0]]  # query row minus key row
    resized = resize_table(torch.tensor([[0.0], [3.0], [6.0]]), 3)
    torch.testing.assert_close(resized[:, 0], torch.tensor([0.0, 1.2, 3.0, 4.8, 6.0]))
    assert resize_table(table, 2) is table


@pytest.mark.parametrize("path", ["sdpa", "explicit"])
@torch.no_grad()
def test_attention_by_hand(path) -> None:
    attention = WindowAttention(1, 1, table_size=2)
    attention.path = path
    attention.rel_pos_h[2] = 100.0  # a key one row above the query
    qkv = torch.zeros(1, 2, 2, 3)
    qkv[..., 0] = 1.0
    qkv[..., 2] = torch.tensor([[1.0, 3.0], [5.0, 7.0]])
    # the upper row has nothing above and takes the mean of all values, the lower row the mean of the upper
    assert attention.attend(qkv)[0, ..., 0].tolist() == [[4.0, 4.0], [2.0, 2.0]]
    attention.query_rows = 1
    assert attention.attend(qkv)[0, ..., 0].tolist() == [[4.0, 4.0], [2.0, 2.0]]


@torch.no_grad()
def test_stem_and_tail_make_the_whole() -> None:
    encoder = small()
    image = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(1))
    whole = encoder(image)
    assert whole.shape == (1, 256, 16, 16)
    for count in (1, 2, 3):
        torch.testing.assert_close(encoder.tail(encoder.stem(image, count), count), whole)
    encoder.use_attention("explicit")
    torch.testing.assert_close(encoder(image), whole, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("count", [0, 4])
def test_a_tail_of_more_blocks_than_there_are_is_refused(count: int) -> None:
    with pytest.raises(CheckpointError, match=f"a tail of {count} blocks; expected 1 to 3"):
        small().tail_parts(count)
