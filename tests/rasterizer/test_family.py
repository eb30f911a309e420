"""The 3DGS family's API on top of `rasterize`."""

import torch

from diff_gaussian_rasterization import (
    GaussianRasterizationSettings,
    GaussianRasterizer,
    Splats,
    View,
    rasterize,
)
from tests.rasterizer.scenes import camera, cov3d_of, relative_error, splats


def settings_of(view: View, *, degree: int = 3, scale_modifier: float = 1.0) -> GaussianRasterizationSettings:
    """Settings as code of the family makes them: a projection matrix with w = z, both matrices transposed."""
    fx, fy, cx, cy = view.intrinsics.unbind()
    near, far = 0.01, 100.0
    projection = torch.zeros(4, 4, dtype=torch.float64)
    projection[0, 0], projection[0, 2] = 2 * fx / view.width, 2 * cx / view.width - 1
    projection[1, 1], projection[1, 2] = 2 * fy / view.height, 2 * cy / view.height - 1
    projection[2, 2], projection[2, 3], projection[3, 2] = far / (far - near), -far * near / (far - near), 1
    return GaussianRasterizationSettings(
        image_height=view.height,
        image_width=view.width,
        tanfovx=view.width / (2 * fx.item()),
        tanfovy=view.height / (2 * fy.item()),
        bg=torch.tensor([0.3, 0.1, 0.7]).double(),
        scale_modifier=scale_modifier,
        viewmatrix=view.world_to_camera.T,
        projmatrix=(projection @ view.world_to_camera).T,
        sh_degree=degree,
        campos=torch.linalg.inv(view.world_to_camera)[:3, 3],
        prefiltered=False,
        debug=False,
    )


def test_rasterizer_returns_what_rasterize_returns():
    view, s = camera(center=(20.0, 19.0)), splats()
    means2d = torch.zeros(60, 3, dtype=torch.float64, requires_grad=True)
    settings = settings_of(view)
    rasterizer = GaussianRasterizer(raster_settings=settings)
    image, radii, depth = rasterizer(
        means3D=s.means,
        means2D=means2d,
        opacities=s.opacities[:, None],
        shs=s.sh,
        scales=s.scales,
        rotations=s.rotations,
    )
    other = torch.zeros(60, 3, dtype=torch.float64, requires_grad=True)
    truth = rasterize(s, view, settings.bg, means2d=other)
    torch.testing.assert_close(image, truth.image, atol=1e-6, rtol=0)
    torch.testing.assert_close(depth, truth.depth[None], atol=1e-5, rtol=0)
    assert torch.equal(radii, truth.radii)
    image.square().sum().backward()
    truth.image.square().sum().backward()
    torch.testing.assert_close(means2d.grad, other.grad, rtol=1e-4, atol=1e-5)
    assert means2d.grad.abs().sum() > 0


def test_degree_colours_covariances_and_scale_modifier():
    view, s = camera(), splats()
    rasterizer = GaussianRasterizer(settings_of(view, degree=1, scale_modifier=1.5))
    background = rasterizer.raster_settings.bg
    image = rasterizer(s.means, None, s.opacities, shs=s.sh, scales=s.scales, rotations=s.rotations)[0]
    truth = rasterize(s._replace(sh=s.sh[:, :4], scales=1.5 * s.scales), view, background)
    torch.testing.assert_close(image, truth.image, atol=1e-6, rtol=0)

    rasterizer = GaussianRasterizer(settings_of(view))
    colors, cov3d = s.sh[:, 0], cov3d_of(s.scales, s.rotations)
    image = rasterizer(s.means, None, s.opacities, colors_precomp=colors, cov3D_precomp=cov3d)[0]
    truth = rasterize(Splats(s.means, s.opacities, s.scales, s.rotations, colors=colors), view, background)
    torch.testing.assert_close(image, truth.image, atol=1e-6, rtol=0)


def test_mark_visible_is_the_near_plane():
    view = camera()._replace(world_to_camera=torch.eye(4, dtype=torch.float64))
    points = torch.tensor([[0.0, 0, 0.19], [0, 0, 0.21], [50, 0, 1], [0, 0, -1]]).double()
    visible = GaussianRasterizer(settings_of(view)).markVisible(points)
    assert visible.tolist() == [False, True, True, False]


def test_camera_gradients_pass_through_the_matrices():
    view, s = camera(center=(20.0, 19.0)), splats()

    def gradients(draw) -> tuple[torch.Tensor, ...]:
        leaves = [t.clone().requires_grad_() for t in (view.world_to_camera, view.intrinsics)]
        image = draw(View(*leaves, view.width, view.height))
        return torch.autograd.grad(image.square().sum(), leaves)

    def by_the_family(view: View) -> torch.Tensor:
        rasterizer = GaussianRasterizer(settings_of(view))
        return rasterizer(s.means, None, s.opacities, shs=s.sh, scales=s.scales, rotations=s.rotations)[0]

    truth = gradients(lambda view: rasterize(s, view, settings_of(view).bg).image)
    for gradient, true_gradient in zip(gradients(by_the_family), truth):
        assert true_gradient.any() and relative_error(gradient, true_gradient) < 1e-5
