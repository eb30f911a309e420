"""Splats as glTF (.glb) with Khronos' extension KHR_gaussian_splatting: points with attributes of its own.

Scale and opacity are linear, rotations are xyzw, each SH basis is an attribute. glTF's axes are the avatar's
own: y up, the face looks along +z.
"""

import numpy as np

from diff_gaussian_rasterization import Splats
from rendering.formats.glb import GlbArrays
from utils.spherical_harmonics import degree_of

EXTENSION = "KHR_gaussian_splatting"
POINTS = 0


def gltf_bytes(splats: Splats) -> bytes:
    """Encode splats with SH."""
    arrays = GlbArrays()
    sh, rotations = _numpy(splats.sh), _numpy(splats.rotations)  # [N, S, 3], [N, 4] wxyz
    rotations = rotations / np.linalg.norm(rotations, axis=1, keepdims=True)
    attributes = {
        "POSITION": arrays.add(_numpy(splats.means), has_range=True),
        f"{EXTENSION}:ROTATION": arrays.add(rotations[:, [1, 2, 3, 0]]),
        f"{EXTENSION}:SCALE": arrays.add(_numpy(splats.scales)),
        f"{EXTENSION}:OPACITY": arrays.add(_numpy(splats.opacities)),
    }
    bases = [(level, n) for level in range(degree_of(sh.shape[1]) + 1) for n in range(2 * level + 1)]
    for place, (degree, order) in enumerate(bases):
        attributes[f"{EXTENSION}:SH_DEGREE_{degree}_COEF_{order}"] = arrays.add(sh[:, place])
    how = {
        "kernel": "ellipse",
        "colorSpace": "srgb_rec709_display",
        "projection": "perspective",
        "sortingMethod": "cameraDistance",
    }
    primitive = {"mode": POINTS, "attributes": attributes, "extensions": {EXTENSION: how}}
    return arrays.encoded(
        {
            "extensionsUsed": [EXTENSION],
            "scene": 0,
            "scenes": [{"nodes": [0]}],
            "nodes": [{"name": "avatar", "mesh": 0}],
            "meshes": [{"primitives": [primitive]}],
        }
    )


def _numpy(values) -> np.ndarray:
    return values.detach().cpu().float().numpy()
