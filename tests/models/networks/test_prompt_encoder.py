"""Prompts to tokens, by hand: positions are sines and cosines, labels choose what is added."""

from __future__ import annotations

import pytest
import torch

from medsam.models.networks.prompt_encoder import PromptEncoder, RandomPositions


@pytest.fixture
def encoder() -> PromptEncoder:
    """A frame of 8 pixels; one frequency for x and one for y; what is added tells what it stands for."""
    encoder = PromptEncoder(image_size=8, grid=4, channels=4)
    encoder.pe_layer.positional_encoding_gaussian_matrix.copy_(torch.eye(2))
    with torch.no_grad():
        for index, kind in enumerate(encoder.point_embeddings):
            kind.weight.fill_(10.0 * (index + 1))
        encoder.not_a_point_embed.weight.fill_(100.0)
        encoder.no_mask_embed.weight.copy_(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
    return encoder


def close(given: torch.Tensor, expected: list) -> None:
    torch.testing.assert_close(given, torch.tensor(expected, dtype=torch.float32), atol=1e-5, rtol=0)


def test_a_position_is_its_sines_and_cosines() -> None:
    positions = RandomPositions(2)
    positions.positional_encoding_gaussian_matrix.copy_(torch.eye(2))
    close(positions(torch.tensor([0.0, 0.0])), [0, 0, 1, 1])  # a full turn back
    close(positions(torch.tensor([0.625, 0.5])), [1, 0, 0, 1])  # a quarter turn in x


# pixel (4.5, 3.5) has its middle at 0.625, 0.5 of the frame: the sine of x is 1, the cosine of y is 1
AT = [1.0, 0.0, 0.0, 1.0]


@torch.no_grad()
def test_labels_choose_what_is_added_to_a_point(encoder: PromptEncoder) -> None:
    points = torch.tensor([[[4.5, 3.5], [4.5, 3.5], [4.5, 3.5]]])
    tokens = encoder.embed_points(points, torch.tensor([[1, 0, -1]]))
    close(tokens[0], [[v + 20 for v in AT], [v + 10 for v in AT], [100.0] * 4])


@torch.no_grad()
def test_a_box_is_two_corners(encoder: PromptEncoder) -> None:
    # -0.5, -0.5 is the corner of the frame itself
    tokens = encoder.embed_boxes(torch.tensor([[-0.5, -0.5, 4.5, 3.5]]))
    close(tokens[0], [[30, 30, 31, 31], [v + 40 for v in AT]])


@torch.no_grad()
def test_points_come_before_boxes_and_without_a_box_end_in_a_filling_point(encoder: PromptEncoder) -> None:
    points, labels = torch.tensor([[[4.5, 3.5]]]), torch.tensor([[1]])
    box = torch.tensor([[-0.5, -0.5, 4.5, 3.5]])
    inside = [v + 20 for v in AT]
    close(encoder.sparse(None, points, labels)[0], [inside, [100.0] * 4])
    close(encoder.sparse(box, points, labels)[0], [inside, [30, 30, 31, 31], [v + 40 for v in AT]])
    assert encoder.sparse(box, None, None).shape == (1, 2, 4)


@torch.no_grad()
def test_image_positions_change_with_columns_in_x_and_with_rows_in_y(encoder: PromptEncoder) -> None:
    positions = encoder.image_positions()
    sines = [1.0, -1.0, 1.0, -1.0]  # of turns by -3/4, -1/4, 1/4, 3/4
    close(positions[0], [sines] * 4)
    close(positions[1], [[value] * 4 for value in sines])
    close(positions[2:], [[[0.0] * 4] * 4] * 2)


@torch.no_grad()
def test_masks_become_a_map_of_the_grid(encoder: PromptEncoder) -> None:
    assert encoder.embed_masks(torch.zeros(3, 1, 16, 16)).shape == (3, 4, 4, 4)
    close(encoder.no_mask(), [[[[1.0]], [[2.0]], [[3.0]], [[4.0]]]])
