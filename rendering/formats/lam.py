"""A light head as a LAM zip, the format that OpenAvatarChat plays: a mesh with one vertex a splat.

NAME/skin.glb holds that mesh, its morph targets by ARKit's names and a small skeleton, NAME/offset.ply the
splats with their distance to their vertex (none), NAME/vertex_order.json the vertex of each splat and
NAME/animation.glb clips in which the skeleton rests. What a coefficient moves is all that the format holds:
it keeps neither how colours, opacities, turns and sizes change with it, nor colours that change with the
view; those are as they look from the front.
"""

import io
import json
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from diff_gaussian_rasterization import Splats
from rendering.driving.live_link import ARKIT_NAMES
from rendering.formats.glb import GlbArrays
from scene.avatar import Avatar, are_arkit
from scene.views import Drive
from utils.errors import UserError
from utils.ply import save_ply
from utils.spherical_harmonics import degree_of, sh_bases

# ARKit's 52 without the tongue, as the published file has them.
MORPH_NAMES = tuple(name for name in ARKIT_NAMES if name != "tongueOut")
# Name and parent of each joint, the root by the name that the player looks for. All rest at the origin; the
# head holds all splats.
JOINTS = (("hip", None), ("neck", 0), ("head", 1), ("jaw", 2), ("leftEye", 2), ("rightEye", 2))
HEAD_JOINT = 2
# The player tells clips by their place: so many of each, in this order.
CLIPS = (("hello", 2), ("idle", 1), ("speak", 6), ("think", 3))
# The player's camera looks at the head of a standing person: metres in a unit of ours, and where our origin
# (between the ears) comes to lie.
SCALE, PLACE = 0.42, (0.0, 1.65, 0.0)
FLOATS_OF_MATRIX = 16
SH_DEGREE_0 = 0.28209479177387814


def lam_zip(avatar: Avatar, name: str) -> bytes:
    """Encode an avatar in its light form. Raises UserError where its coefficients are not ARKit's."""
    if avatar.expression_names is None or not are_arkit(avatar.expression_names):
        raise UserError("--format lam: the avatar's coefficients are not ARKit's; expected jawOpen, ...")
    splats = avatar.head(avatar.camera, Drive(avatar.neutral_expression))
    vertices = SCALE * splats.means + splats.means.new_tensor(PLACE)
    files = {
        "skin.glb": _skin(vertices, SCALE * morph_targets(avatar, splats.means)),
        "offset.ply": _offsets(
            splats._replace(scales=SCALE * splats.scales), front_colors(splats, avatar.camera.center)
        ),
        "vertex_order.json": json.dumps(list(range(len(splats.means)))).encode(),
        "animation.glb": _animation(),
    }
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        # The player finds the folder's name by an entry for it. A fixed time: the same avatar gives the same
        # file.
        for file, data in {"": b"", **files}.items():
            entry = zipfile.ZipInfo(f"{name}/{file}", (1980, 1, 1, 0, 0, 0))
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED)
    return content.getvalue()


@torch.no_grad()
def morph_targets(avatar: Avatar, at_rest: Tensor) -> Tensor:
    """How far each coefficient at 1 moves every splat: [51, N, 3]; zeros of what the avatar does not have."""
    known = set(avatar.expression_names)
    return torch.stack(
        [
            avatar.head(avatar.camera, Drive(avatar.expression(**{name: 1.0}))).means - at_rest
            if name in known
            else torch.zeros_like(at_rest)
            for name in MORPH_NAMES
        ]
    )


def front_colors(splats: Splats, center: Tensor) -> Tensor:
    """SH of degree 0 that look from `center` [3] as all degrees do: [N, 3]."""
    directions = F.normalize(splats.means - center, dim=1)
    bases = sh_bases(directions, degree_of(splats.sh.shape[1]))  # [N, S]
    return torch.einsum("ns,nsc->nc", bases, splats.sh) / bases[:, :1]


def _skin(means: Tensor, targets: Tensor) -> bytes:
    arrays, num_splats = GlbArrays(), len(means)
    joints, weights = np.zeros((num_splats, 4), np.uint8), np.zeros((num_splats, 4), np.float32)
    joints[:, 0], weights[:, 0] = HEAD_JOINT, 1
    # Triangles only because players skin those and no points: each vertex is in one of them.
    corners = np.minimum(np.arange(-(-num_splats // 3) * 3), num_splats - 1).astype(np.uint32)
    inverse_bind = np.tile(np.eye(4, dtype=np.float32).reshape(1, FLOATS_OF_MATRIX), (len(JOINTS), 1))
    primitive = {
        "attributes": {
            "POSITION": arrays.add(_numpy(means), has_range=True),
            "JOINTS_0": arrays.add(joints),
            "WEIGHTS_0": arrays.add(weights),
        },
        "indices": arrays.add(corners),
        "targets": [{"POSITION": arrays.add(_numpy(target), has_range=True)} for target in targets],
    }
    mesh = {
        "primitives": [primitive],
        "weights": [0.0] * len(targets),
        "extras": {"targetNames": list(MORPH_NAMES)},
    }
    skin = {
        "joints": list(range(len(JOINTS))),
        "skeleton": 0,
        "inverseBindMatrices": arrays.add(inverse_bind),
    }
    return arrays.encoded(
        {
            "scene": 0,
            "scenes": [{"nodes": [0, len(JOINTS)]}],
            "nodes": [*_joint_nodes(), {"name": "avatar", "mesh": 0, "skin": 0}],
            "meshes": [mesh],
            "skins": [skin],
        }
    )


def _animation() -> bytes:
    """Clips of a second in which the head does not turn."""
    arrays = GlbArrays()
    times = arrays.add(np.array([0, 1], np.float32), has_range=True)
    still = arrays.add(np.array([[0, 0, 0, 1]] * 2, np.float32))
    clip = {
        "samplers": [{"input": times, "output": still}],
        "channels": [{"sampler": 0, "target": {"node": HEAD_JOINT, "path": "rotation"}}],
    }
    return arrays.encoded(
        {
            "scene": 0,
            "scenes": [{"nodes": [0]}],
            "nodes": _joint_nodes(),
            "animations": [
                {"name": f"{name}{place}", **clip} for name, count in CLIPS for place in range(count)
            ],
        }
    )


def _joint_nodes() -> list[dict]:
    nodes = []
    for place, (name, _) in enumerate(JOINTS):
        children = [child for child, (_, parent) in enumerate(JOINTS) if parent == place]
        nodes.append({"name": name, **({"children": children} if children else {})})
    return nodes


def _offsets(splats: Splats, colors: Tensor) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "offset.ply"
        save_ply(
            path,
            means=torch.zeros_like(splats.means),
            # The player takes these as the colour itself.
            sh_dc=0.5 + SH_DEGREE_0 * colors,
            sh_rest=splats.sh[:, 1:1],
            opacity_logits=torch.logit(splats.opacities, eps=1e-6),
            log_scales=splats.scales.log(),
            rotations=splats.rotations,
        )
        return path.read_bytes()


def _numpy(values: Tensor) -> np.ndarray:
    return values.detach().cpu().float().numpy()
