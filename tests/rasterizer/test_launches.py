"""What kernels are launched with, on a device that is not there: the structs of C, addresses, gradients."""

import re
import shutil
import struct
import subprocess
from typing import NamedTuple

import pytest
import torch
from torch.autograd import forward_ad

from diff_gaussian_rasterization import Splats, View, cuda
from diff_gaussian_rasterization.cuda import compiler, plan
from tests.rasterizer.scenes import camera, splats
from tests.rasterizer.sources import OPTIONS, FakeKernel, fields_of, needs_cc, needs_nvrtc, structs_of


def test_layouts_have_a_code_for_every_field_of_the_structs(kernels):
    names = {
        name
        for path in compiler.KERNELS.glob("*.cu")
        for name in re.findall(r"\b(\w+)\(\s*const __grid_constant__", path.read_text())
    }
    assert set(kernels) == names
    for name, kernel in kernels.items():
        codes = "".join(
            int(count or 1) * code for count, code in re.findall(r"(\d*)([Pif])", kernel.layout[:-2])
        )
        assert kernel.layout.endswith("0P"), name
        assert codes == "".join(field.code for field in kernel.fields), name


@needs_cc
def test_structs_are_laid_out_in_c_as_in_python(kernels, tmp_path):
    for source in {kernel.source for kernel in kernels.values()}:
        _check_offsets(source, kernels, tmp_path)


def _check_offsets(source: str, kernels: dict[str, FakeKernel], folder) -> None:
    structs = structs_of(source)
    ours = [kernel for kernel in kernels.values() if kernel.source == source]
    needed = [name for name in structs if any(uses(kernel.struct, name, structs) for kernel in ours)]
    needed = sorted(needed, key=lambda name: sum(uses(name, other, structs) for other in needed))
    lines = ["#include <stddef.h>", "typedef unsigned uint32;", "typedef unsigned long long uint64;"]
    lines += ["typedef struct float4 float4;"]
    lines += [f"typedef struct {name} {{{structs[name]}}} {name};" for name in needed]
    lines += [f"_Static_assert({claim});" for kernel in ours for claim in claims(kernel)]
    path = folder / f"{source}.c"
    path.write_text("\n".join(lines))
    result = subprocess.run(["cc", "-std=c11", "-fsyntax-only", path], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def uses(name: str, other: str, structs: dict[str, str]) -> bool:
    """Whether a struct is another one or holds it."""
    held = [word for word in re.findall(r"\w+", structs[name]) if word in structs]
    return name == other or any(uses(inner, other, structs) for inner in held)


def claims(kernel: FakeKernel) -> list[str]:
    """What has to hold in C of the struct of a kernel's arguments, for static assertions."""
    sizes = [f'sizeof({kernel.struct}) == {struct.calcsize(kernel.layout)}, "{kernel.struct}"']
    codes = [field.code for field in kernel.fields]
    offsets = [struct.calcsize("".join(codes[:k]) + f"0{codes[k]}") for k in range(len(codes))]
    return sizes + [
        f'offsetof({kernel.struct}, {field.path}) == {offset}, "{kernel.struct}.{field.path}"'
        for field, offset in zip(kernel.fields, offsets)
    ]


@needs_nvrtc
@pytest.mark.parametrize("source", OPTIONS)
def test_structs_have_the_same_size_in_cuda_and_in_python(kernels, tmp_path, monkeypatch, source):
    """Not the offsets: NVRTC 13.0 has no offsetof."""
    for path in compiler.KERNELS.iterdir():
        shutil.copy(path, tmp_path)
    sizes = [claims(kernel)[0] for kernel in kernels.values() if kernel.source == source]
    lines = [f'#include "{source}"', *(f"static_assert({claim});" for claim in sizes)]
    (tmp_path / "layout.cu").write_text("\n".join(lines))
    monkeypatch.setattr(compiler, "KERNELS", tmp_path)
    compiler.compile_source("layout.cu", (7, 5), OPTIONS[source][0])


def test_gaussians_are_in_the_order_of_splats():
    names = [field.path for field in fields_of("GaussianPointers", structs_of("project.cu"))]
    assert names == list(Splats._fields)


class Rendering(NamedTuple):
    """What the kernels were given, forward and backward, as tensors."""

    plan: plan.Plan
    splats: Splats
    view: View
    radii: torch.Tensor
    workspace: torch.Tensor
    background: torch.Tensor
    images: tuple[torch.Tensor, ...]
    v_images: tuple[torch.Tensor | None, ...]
    v_splats: list[torch.Tensor | None]
    v_means2d: torch.Tensor
    v_camera: torch.Tensor


@pytest.fixture(params=[None, False, True], ids=["one view", "shared", "per view"])
def rendering(kernels, request) -> Rendering:
    """50 Gaussians on 5 x 3 tiles: one view, two of the same Gaussians, or two of a set each."""
    per_view, drawn, view = request.param, splats(50), camera(70, 33)
    drawn = Splats(*(None if t is None else t.float() for t in drawn))
    matrix, intrinsics = view.world_to_camera.float().T.contiguous().T, view.intrinsics.float()
    batch = () if per_view is None else (2,)
    if batch:
        matrix, intrinsics = torch.stack([matrix, matrix]), torch.stack([intrinsics, intrinsics])
    if per_view:
        drawn = Splats(*(None if t is None else torch.stack([t, t]) for t in drawn))
    view = view._replace(world_to_camera=matrix, intrinsics=intrinsics)
    call = plan.plan_of(drawn, view)
    images = torch.zeros(*batch, 3, 33, 70), *torch.zeros(2, *batch, 33, 70)
    made = Rendering(
        call,
        drawn,
        view,
        radii=torch.zeros(*batch, 50, dtype=torch.int32),
        workspace=torch.zeros(call.size_with_rows, dtype=torch.uint8),
        background=torch.zeros(3),
        images=images,
        v_images=(torch.zeros_like(images[0]), None, None),
        v_splats=[None if t is None else torch.empty_like(t) for t in drawn],
        v_means2d=torch.zeros(*batch, 50, 3),
        v_camera=torch.zeros(call.views, 16),
    )
    head = call.head(drawn, matrix, intrinsics, view.near)
    call.project(head, made.radii, made.workspace)
    call.blend(images, made.radii, made.background, made.workspace)
    v_inputs = *made.v_splats, made.v_means2d, made.v_camera
    call.backward(head, images, made.radii, made.workspace, made.v_images, v_inputs)
    return made


def address(tensor: torch.Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def is_per_view(r: Rendering) -> bool:
    return r.splats.means.ndim == 3


def test_projection_is_told_where_everything_lies(kernels, rendering):
    r, project = rendering, kernels["project_forward"]
    launched, matrix = project.launched, r.view.world_to_camera
    for name, tensor in r.splats._asdict().items():
        assert launched[f"gaussians.{name}"] == address(tensor)
    assert launched["camera.world_to_camera"] == address(matrix)
    strides = [launched[f"camera.{name}_stride"] for name in ("view", "row", "column")]
    assert strides == [*((0, *matrix.stride())[-3:])]
    assert launched["camera.intrinsics"] == address(r.view.intrinsics)
    assert launched["camera.width"] == 70 and launched["camera.height"] == 33
    assert launched["camera.near_plane"] == pytest.approx(r.view.near)
    assert launched["per_view"] == is_per_view(r) and project.grid == (1, r.plan.views)


def test_blending_is_told_where_everything_lies(kernels, rendering):
    r, blend = rendering, kernels["blend_forward"]
    assert blend.grid == (15, r.plan.views) and blend.shared <= blend.most_shared
    for field, tensor in zip(("image", "depth", "alpha"), r.images):
        assert blend.launched[f"out.{field}"] == address(tensor)
    assert blend.launched["background"] == address(r.background)
    assert blend.launched["tiles.width"] == 70 and blend.launched["tiles.height"] == 33
    sizes = dict(num=50, tiles_x=5, tiles_y=3, capacity=r.plan.capacity, radii=address(r.radii))
    for launched, prefix in ((kernels["project_forward"].launched, ""), (blend.launched, "tiles.")):
        assert all(launched[prefix + name] == value for name, value in sizes.items())


def test_parts_of_the_workspace_lie_one_after_another_for_both_kernels(kernels, rendering):
    r, views, start = rendering, rendering.plan.views, address(rendering.workspace)
    project, blend = kernels["project_forward"].launched, kernels["blend_forward"].launched
    names = ("tile_counts", "splats", "lists", "orders")
    places = [blend[f"tiles.{name}"] - start for name in names]
    assert [project[name] - start for name in names[:3]] == places[:3]
    places.append(project["v_rows"] - start)
    lengths = [4 * 15 * views, 48 * 50 * views, *(size * 15 * views * r.plan.capacity for size in (8, 4))]
    lengths.append(48 * 50 * views)
    assert places[0] == 0 and places[1] % 16 == places[2] % 8 == places[4] % 16 == 0
    assert places[4] == r.plan.size
    for place, length, end in zip(places, lengths, [*places[1:], r.plan.size_with_rows], strict=True):
        assert place + length <= end


def test_backward_is_told_where_everything_lies(kernels, rendering):
    r = rendering
    project, blend = kernels["project_backward"].launched, kernels["blend_backward"].launched
    for field, tensor, v_tensor in zip(("image", "depth", "alpha"), r.images, r.v_images):
        assert blend[f"out.{field}"] == address(tensor)
        assert blend[f"v_out.{field}"] == address(v_tensor)
    for name, tensor in zip(Splats._fields, r.v_splats):
        assert project[f"v_{name}"] == address(tensor)
    assert project["v_rows"] == blend["v_rows"] == address(r.workspace) + r.plan.size
    assert project["radii"] == address(r.radii)
    assert project["v_means2d"] == address(r.v_means2d) and project["columns"] == 3
    assert project["v_camera"] == address(r.v_camera)
    assert project["num_views"] == r.plan.views and project["per_view"] == is_per_view(r)
    assert kernels["project_backward"].grid == (1, r.plan.views if is_per_view(r) else 1)


def rendered(kernels, leaves: Splats, wanted=()):
    """What cuda.rasterize returns where nothing is drawn, with gradients for the leaves that are named."""
    leaves = Splats(*(None if t is None else t.float() for t in leaves))
    for name in wanted:
        getattr(leaves, name).requires_grad_()
    view = camera()
    view = view._replace(world_to_camera=view.world_to_camera.float(), intrinsics=view.intrinsics.float())
    return leaves, cuda.rasterize(leaves, view, torch.zeros(3))


def test_rows_of_sums_are_cleared_where_there_can_be_a_backward_pass(kernels):
    _, result = rendered(kernels, splats(50))
    assert kernels["project_forward"].launched["v_rows"] == 0 and result.image.grad_fn is None
    with torch.no_grad():
        _, result = rendered(kernels, splats(50), ["opacities"])
    assert kernels["project_forward"].launched["v_rows"] == 0 and result.image.grad_fn is None

    _, result = rendered(kernels, splats(50), ["opacities"])
    cleared = kernels["project_forward"].launched["v_rows"]
    assert cleared and not result.radii.requires_grad
    for _ in range(2):
        result.image.sum().backward(retain_graph=True)
        for name in ("blend_backward", "project_backward"):
            assert kernels[name].launched.pop("v_rows") == cleared


def test_only_wanted_gradients_are_asked_for(kernels):
    leaves, result = rendered(kernels, splats(50), ["opacities", "sh"])
    result.depth.sum().backward()
    launched = kernels["project_backward"].launched
    asked = {field[2:] for field, value in launched.items() if field.startswith("v_") and value}
    assert asked == {"rows", "opacities", "sh"}
    assert leaves.opacities.grad.shape == (50,) and leaves.means.grad is None


def test_second_derivatives_are_refused(kernels):
    leaves, result = rendered(kernels, splats(50), ["opacities"])
    (first,) = torch.autograd.grad(result.image.square().sum(), leaves.opacities, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


@pytest.mark.parametrize("wanted", [[], ["means"]])
def test_derivatives_that_are_not_there_are_refused(kernels, wanted):
    """And not silently left out, where no node of autograd would be made."""
    leaves, _ = rendered(kernels, splats(50), wanted)
    view = View(torch.eye(4), torch.ones(4), 45, 34)

    def image(means):
        return cuda.rasterize(leaves._replace(means=means), view, None).image

    means = torch.zeros(50, 3)
    with pytest.raises(RuntimeError, match="setup_context"):
        torch.func.grad(lambda means: image(means).sum())(means)
    with pytest.raises(RuntimeError, match="setup_context"):
        torch.func.vmap(image)(means[None])
    with forward_ad.dual_level(), pytest.raises(RuntimeError, match="jvp"):
        image(forward_ad.make_dual(means, means))
