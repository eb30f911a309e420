"""Small avatars in their light form, made by chance: every attribute moves."""

import torch

from scene.avatar import Avatar
from scene.blendshapes import OFFSET_SIZES
from scene.cameras import Camera
from scene.light_head import NUM_POSE_FEATURES, Basis, LightHead, Neutral, Torso

NAMES = ("jawOpen", "eyeBlinkLeft", "mouthSmileLeft", "browInnerUp", "cheekPuff")
EFFECTS = {"xyz": 2e-3, "rotation": 4e-3, "log_scale": 4e-3, "opacity_logit": 8e-3, "color": 4e-3}


def make_light_avatar(num_splats: int = 300, num_bases: int = 1, num_components: int = 4) -> Avatar:
    """Splats in a ball before an off-centre camera of 61 x 47 pixels."""
    generator = torch.Generator().manual_seed(num_splats)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    neutral = Neutral(
        xyz=0.35 * random(num_splats, 3).clamp(-2, 2),
        rotation=random(num_splats, 4),
        log_scale=-3.2 + 0.6 * random(num_splats, 3),
        opacity_logit=2 * random(num_splats),
        sh=0.6 * random(num_splats, num_bases, 3),
    )
    size = len(NAMES)
    bases = {
        name: Basis(
            random(num_components, 2 * size + NUM_POSE_FEATURES),
            EFFECTS[name] * torch.ones(num_components),
            (40 * random(num_components, num_splats, channels)).clamp(-127, 127).to(torch.int8),
        )
        for name, channels in OFFSET_SIZES.items()
    }
    pose = torch.diag(torch.tensor([1.0, -1, -1, 1]))
    pose[:3, 3] = torch.tensor([0.05, -0.02, 3.0])
    torso = Torso.still(num_splats)._replace(mean_pose=pose[:3])
    ranges = torch.stack([torch.zeros(size), torch.full((size,), 0.4)])
    expression = torch.tensor([0.0, 0.1, 0, 0.2, 0])
    return Avatar(
        head=LightHead(neutral, bases, expression, ranges, torso),
        neutral_expression=expression,
        expression_names=NAMES,
        camera=Camera(pose, 90.0, 84.0, 33.0, 21.0, 61, 47),
        background=torch.tensor([1.0, 0.5, 0.25]),
        iteration=7,
        motion=0.3 * torch.rand(30, size, generator=generator),
        picture_size=(61, 47),
    )
