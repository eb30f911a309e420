import math

import numpy as np
import pytest
import torch
from scipy import special

from utils.spherical_harmonics import (
    dc_to_rgb,
    degree_of,
    eval_sh,
    num_bases,
    rgb_to_dc,
    sh_bases,
    sh_to_rgb,
)


def _directions(num=40, seed=0):
    vectors = torch.randn(num, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(vectors, dim=-1)


def _legendre_bases(directions, degree):
    """Real harmonics by associated Legendre functions, with the Condon-Shortley sign on every order."""
    x, y, z = directions.numpy().T
    azimuth = np.arctan2(y, x)
    columns = []
    for band in range(degree + 1):
        for m in range(-band, band + 1):
            order = abs(m)
            factorials = math.factorial(band - order) / math.factorial(band + order)
            scale = math.sqrt((2 * band + 1) / (4 * math.pi) * factorials)
            # lpmv holds the sign (-1)^m.
            column = scale * special.lpmv(order, band, z)
            if m:
                angular = np.cos(order * azimuth) if m > 0 else np.sin(order * azimuth)
                column = math.sqrt(2) * column * angular
            columns.append(column)
    return torch.from_numpy(np.stack(columns, axis=-1))


def test_bases_agree_with_associated_legendre_functions():
    directions = _directions()
    torch.testing.assert_close(sh_bases(directions, 3), _legendre_bases(directions, 3), rtol=0, atol=1e-12)


def test_bases_are_orthonormal_on_the_sphere():
    # Exact for the degree-6 products.
    nodes, weights = np.polynomial.legendre.leggauss(8)
    azimuths = 2 * np.pi * np.arange(16) / 16
    z, azimuth = np.repeat(nodes, 16), np.tile(azimuths, 8)
    radius = np.sqrt(1 - z**2)
    directions = torch.from_numpy(np.stack((radius * np.cos(azimuth), radius * np.sin(azimuth), z), axis=-1))
    bases = sh_bases(directions, 3)
    measure = torch.from_numpy(np.repeat(weights, 16) * 2 * np.pi / 16)
    products = bases.T @ (measure[:, None] * bases)
    torch.testing.assert_close(products, torch.eye(16).double(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_eval_sums_the_bases_of_the_degree_that_the_coefficients_have(degree):
    directions = _directions(6)
    coefficients = torch.randn(6, num_bases(degree), 3, dtype=torch.float64)
    expected = torch.einsum("ns,nsc->nc", _legendre_bases(directions, degree), coefficients)
    torch.testing.assert_close(eval_sh(coefficients, directions), expected)


def test_degree_one_reads_minus_y_z_minus_x():
    bases = sh_bases(torch.eye(3), 1)[:, 1:] / math.sqrt(3 / (4 * math.pi))
    expected = torch.tensor([[0.0, 0, -1], [-1, 0, 0], [0, 1, 0]])
    torch.testing.assert_close(bases, expected)


def test_dc_shows_its_colour_from_everywhere_and_converts_back():
    rgb = torch.rand(6, 3, dtype=torch.float64)
    torch.testing.assert_close(sh_to_rgb(rgb_to_dc(rgb)[:, None], _directions(6)), rgb)
    torch.testing.assert_close(dc_to_rgb(rgb_to_dc(rgb)), rgb)


def test_colours_are_not_below_zero():
    dark = torch.full((1, 1, 3), -10.0)
    assert torch.equal(sh_to_rgb(dark, torch.tensor([[0.0, 0, 1]])), torch.zeros(1, 3))


def test_number_of_bases_inverts_and_refuses_what_is_no_square():
    assert [degree_of(num_bases(degree)) for degree in range(4)] == [0, 1, 2, 3]
    for bases in (0, 3, 5, 25):
        with pytest.raises(ValueError, match=f"1, 4, 9 or 16, got {bases}"):
            degree_of(bases)
