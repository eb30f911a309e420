"""Differentiable rasterizer of 3D Gaussians: `rasterize(splats, view)` and the 3DGS family's class names."""

from .api import compile_ahead, has_kernels, has_short_lists, rasterize
from .family import GaussianRasterizationSettings, GaussianRasterizer, set_interface
from .types import Rasterization, Splats, View

__all__ = [
    "GaussianRasterizationSettings",
    "GaussianRasterizer",
    "Rasterization",
    "Splats",
    "View",
    "compile_ahead",
    "has_kernels",
    "has_short_lists",
    "rasterize",
    "set_interface",
]
