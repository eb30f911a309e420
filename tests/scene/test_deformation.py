import math

import numpy as np
import pytest
import torch

from scene.deformation import DeformationField, positional_encoding


def test_positional_encoding_matches_scalar_definition():
    points = torch.randn(5, 3, dtype=torch.float64)
    encoded = positional_encoding(points, num_frequencies=10)  # [5, 63]
    for row, point in zip(encoded.tolist(), points.tolist(), strict=True):
        sines = [math.sin(2**i * x) for i in range(10) for x in point]
        cosines = [math.cos(2**i * x) for i in range(10) for x in point]
        np.testing.assert_allclose(row, point + sines + cosines, rtol=1e-12)


def plain_forward(field: DeformationField, xyz: torch.Tensor, expression: torch.Tensor):
    """The textbook form: the expression is repeated for every point and concatenated."""
    inputs = torch.cat(
        [positional_encoding(xyz, field.num_frequencies), expression.expand(len(xyz), -1)], dim=1
    )
    hidden = inputs
    for i, layer in enumerate(field.layers):
        if i == field.rejoin_at and i > 0:
            encoding, own = inputs[:, : field.encoding_size], inputs[:, field.encoding_size :]
            hidden = torch.cat([hidden, encoding, own], dim=1)
        hidden = torch.relu(layer(hidden))
    return field.xyz_head(hidden), field.rotation_head(hidden), field.log_scale_head(hidden)


@pytest.mark.parametrize(("depth", "width"), [(8, 256), (4, 64), (1, 16)])
def test_shared_expression_gives_the_same_as_concatenation(depth, width):
    torch.manual_seed(0)
    field = DeformationField(signal_size=7, depth=depth, width=width).double()
    for head in (field.xyz_head, field.rotation_head, field.log_scale_head):
        torch.nn.init.normal_(head.weight)
    xyz, expression = torch.randn(11, 3).double(), torch.randn(7).double()
    for offset, expected in zip(field(xyz, expression), plain_forward(field, xyz, expression), strict=True):
        torch.testing.assert_close(offset, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("depth", "width"), [(4, 64), (2, 16), (1, 16)])
def test_two_signals_give_each_gaussian_the_offsets_and_gradients_of_its_own(depth, width):
    torch.manual_seed(0)
    field = DeformationField(signal_size=7, depth=depth, width=width).double()
    for head in (field.xyz_head, field.rotation_head, field.log_scale_head):
        torch.nn.init.normal_(head.weight)
    xyz, is_second = torch.randn(11, 3).double(), torch.arange(11) % 3 == 0
    signals = torch.randn(2, 7).double().requires_grad_()
    rows = signals[is_second.long()]  # [11, 7]
    expected = [
        torch.cat(parts) for parts in zip(*(plain_forward(field, x[None], r) for x, r in zip(xyz, rows)))
    ]
    leaves, pulls = [signals, *field.parameters()], [torch.randn_like(offset) for offset in expected]
    expected_gradients = torch.autograd.grad(expected, leaves, pulls)
    offsets = field(xyz, signals, torch.stack([~is_second, is_second], dim=1).double())
    gradients = torch.autograd.grad(list(offsets), leaves, pulls)
    for found, wanted in zip((*offsets, *gradients), (*expected, *expected_gradients), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-10)


def test_paper_field_has_the_published_sizes():
    field = DeformationField(signal_size=76)
    assert len(field.layers) == 8 and field.encoding_size == 63
    assert [layer.in_features for layer in field.layers] == [139, 256, 256, 256, 256 + 139, 256, 256, 256]


def test_no_gradient_reaches_the_means():
    field = DeformationField(signal_size=3, depth=2, width=8)
    xyz = torch.randn(4, 3, requires_grad=True)
    expression = torch.randn(3, requires_grad=True)
    sum(offset.sum() for offset in field(xyz, expression)).backward()
    assert xyz.grad is None
    assert expression.grad.abs().sum() > 0
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in field.layers[0].parameters())


def test_field_starts_as_almost_no_motion():
    torch.manual_seed(0)
    field = DeformationField(signal_size=52)
    offsets = field(torch.rand(100, 3) - 0.5, torch.rand(52))
    assert max(offset.abs().max() for offset in offsets) < 1e-2
