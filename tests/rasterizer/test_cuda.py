"""The CUDA back-end against the reference, and what only it promises: batches, overflow, graphs, threads."""

import threading

import pytest
import torch

from diff_gaussian_rasterization import Splats, View, cuda, has_short_lists, rasterize
from diff_gaussian_rasterization.cuda import device, plan
from tests.rasterizer.scenes import (
    Scene,
    assert_equals_reference,
    camera,
    draw,
    leaves_of,
    on_device,
    random_loss,
    relative_error,
    render_with_gradients,
    scenes,
    splats,
)

pytestmark = pytest.mark.gpu
SCENES = scenes()


def on_gpu(scene: Scene, dtype: torch.dtype = torch.float32, name: str = "cuda") -> Scene:
    return on_device(scene, name, dtype)


def check(scene: Scene, own_order: bool = True) -> None:
    """Compare with the reference, in the back-end's own depth order."""
    scene = on_gpu(scene)
    order = cuda.draw_order(scene.splats, scene.view).cpu() if own_order else None
    assert_equals_reference(rasterize, scene, order)


@pytest.mark.parametrize("name", SCENES)
def test_cuda_equals_reference(name):
    check(SCENES[name]())


@pytest.mark.parametrize("name", ["many", "degree 3", "cov3d and colors"])
def test_cuda_equals_reference_in_their_own_orders(name):
    check(SCENES[name](), own_order=False)


@pytest.mark.parametrize("num", [1, 2, 33, 5000])
def test_any_number_of_gaussians(num):
    check(Scene(splats(num, size=0.05), camera(96, 80), torch.rand(3).double()))


@pytest.mark.parametrize("size", [(1, 1), (17, 1), (1, 33), (200, 130)])
def test_any_size(size):
    check(Scene(splats(100), camera(*size), torch.rand(3).double()))


def test_large_image_of_many_gaussians_is_finite_and_agrees_with_the_cpu():
    scene = Scene(splats(300_000, size=0.004), camera(2048, 2048), torch.rand(3).double())
    result, gradients = render_with_gradients(rasterize, on_gpu(scene), torch.float32)
    truth, true_gradients = render_with_gradients(rasterize, scene, torch.float32)
    # own orders: neighbours in z swap where float32 cannot tell them apart
    assert ((result.image.cpu() - truth.image).abs() > 1e-4).double().mean() < 5e-3
    for key, gradient in gradients.items():
        assert relative_error(gradient.cpu(), true_gradients[key]) < 1e-2, key


def test_image_is_the_same_bit_for_bit():
    scene = on_gpu(Scene(splats(5000, size=0.1), camera(200, 150), torch.rand(3).double()))
    first = rasterize(*scene)
    for _ in range(5):
        assert all(torch.equal(a, b) for a, b in zip(rasterize(*scene), first))


@pytest.mark.parametrize("per_view", [False, True, "mixed"])
def test_batch_equals_loop(per_view):
    num_views = 3
    scene = on_gpu(SCENES["many"]())
    cameras = scene.view.world_to_camera.repeat(num_views, 1, 1)
    cameras[:, :3, 3] += 0.1 * torch.randn(num_views, 3, device="cuda")
    intrinsics = scene.view.intrinsics * (1 + 0.1 * torch.rand(num_views, 1, device="cuda"))
    view = scene.view._replace(world_to_camera=cameras, intrinsics=intrinsics)
    sets = {name: t for name, t in scene.splats._asdict().items() if t is not None}
    for name in sets:
        if per_view is True or (per_view == "mixed" and name in ("means", "opacities")):
            sets[name] = sets[name] + 0.01 * torch.rand(num_views, *sets[name].shape, device="cuda")
    leaves = {**sets, "world_to_camera": cameras, "intrinsics": intrinsics, "background": scene.background}
    leaves["means2d"] = torch.zeros(num_views, 1500, 3, device="cuda")

    def run(backend, device):
        own = {name: t.detach().to(device, copy=True).requires_grad_() for name, t in leaves.items()}
        result = draw(rasterize, scene._replace(view=view), own, backend=backend)
        return result, torch.autograd.grad(random_loss(result), list(own.values()))

    result, gradients = run("cuda", "cuda")
    truth, true_gradients = run("cpu", "cpu")
    assert result.image.shape == (num_views, 3, 48, 64) and result.radii.shape == (num_views, 1500)
    assert ((result.image.cpu() - truth.image).abs() > 1e-4).double().mean() < 5e-3
    for name, gradient, truth in zip(leaves, gradients, true_gradients):
        assert gradient.shape == truth.shape
        assert relative_error(gradient.cpu(), truth) < 1e-2, name


@pytest.mark.parametrize("flat", [False, True])
def test_overflowing_lists_are_drawn_and_reported_and_grow(monkeypatch, capsys, flat):
    num = 2000
    drawn = splats(num, size=0.1)
    # All at one depth: nothing but the index tells them apart.
    if flat:
        drawn = drawn._replace(means=drawn.means * torch.tensor([1.0, 1.0, 0.0]))
    scene = Scene(drawn, camera(40, 30), torch.rand(3).double())
    kept = device.device_of(0)
    monkeypatch.setattr(kept, "_least_capacity", 256)
    monkeypatch.setattr(kept, "capacity", lambda *_: 256)
    plan._plan.cache_clear()
    truth = rasterize(*on_gpu(scene))
    check(scene)
    torch.cuda.synchronize()
    monkeypatch.undo()
    plan._plan.cache_clear()
    monkeypatch.setattr(kept, "_least_capacity", 256)
    monkeypatch.setenv("DIFF_GAUSSIAN_RASTERIZATION_DEBUG", "1")
    capsys.readouterr()
    # Every tile has some 390 splats or more. (So many tiles do not begin with a head's lists.)
    assert kept.capacity(num, 30_000, 1) > 256
    assert "more than its list could hold" in capsys.readouterr().err
    result = rasterize(*on_gpu(scene))
    assert torch.equal(result.image, truth.image)


def test_graph_with_short_lists_is_reported_until_another_call_makes_room(monkeypatch):
    scene = on_gpu(Scene(splats(2000, size=0.1), camera(40, 30), torch.rand(3).double()))
    kept = device.device_of(0)
    monkeypatch.setattr(kept, "_least_capacity", 256)
    monkeypatch.setattr(kept, "capacity", lambda *_: 256)
    plan._plan.cache_clear()
    rasterize(*scene)
    torch.cuda.synchronize()
    kept._overflow.value = 0
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        rasterize(*scene)
    assert not has_short_lists(scene.splats.means.device)
    graph.replay()
    torch.cuda.synchronize()
    # The greatest of the tiles' counts, nearly: several blocks may write theirs at once.
    assert has_short_lists(scene.splats.means.device) and kept._overflow.value > 256
    monkeypatch.undo()
    plan._plan.cache_clear()
    monkeypatch.setattr(kept, "_least_capacity", 256)
    rasterize(*scene)
    assert not has_short_lists(scene.splats.means.device)
    graph.replay()
    torch.cuda.synchronize()
    assert not has_short_lists(scene.splats.means.device)


@pytest.fixture
def dirty_memory():
    """What the allocator hands out holds NaN, where it is not new."""
    torch.cuda.empty_cache()
    # Floats: its pools of small and of large blocks.
    sizes = [1 << 16, 1 << 18, 1 << 22] * 8
    blocks = [torch.full((size,), torch.nan, device="cuda") for size in sizes]
    del blocks


def views_of(scene: Scene, sets: str) -> Scene:
    """One view ("one"), or three that share the Gaussians ("shared") or have some each ("per view")."""
    if sets == "one":
        return scene
    cameras, intrinsics = scene.view.world_to_camera.repeat(3, 1, 1), scene.view.intrinsics.repeat(3, 1)
    cameras[:, 0, 3] += torch.tensor([0.0, 0.2, -0.4]).to(cameras)
    view, drawn = scene.view._replace(world_to_camera=cameras, intrinsics=intrinsics), scene.splats
    if sets == "per view":
        drawn = Splats(*(None if t is None else torch.stack([t, 0.9 * t, 0.8 * t]) for t in drawn))
    return scene._replace(splats=drawn, view=view)


def leaves_of_views(scene: Scene) -> dict[str, torch.Tensor]:
    leaves = leaves_of(scene, torch.float32)
    shape = *scene.view.world_to_camera.shape[:-2], scene.splats.means.shape[-2], 3
    return leaves | {"means2d": torch.zeros(shape, device="cuda", requires_grad=True)}


def assert_close_gradients(gradients, truth, leaves) -> None:
    for name, gradient, true_gradient in zip(leaves, gradients, truth, strict=True):
        # Sums by atomics, in another order; what is left of another pass would be as large as the gradient.
        assert relative_error(gradient, true_gradient) < 1e-3, name


@pytest.mark.parametrize("name", ["many", "part behind the camera", "cov3d and colors"])
@pytest.mark.parametrize("sets", ["one", "shared", "per view"])
def test_every_backward_pass_through_a_graph_gives_the_same_gradients(dirty_memory, name, sets):
    scene = views_of(on_gpu(SCENES[name]()), sets)
    leaves = leaves_of_views(scene)
    loss = random_loss(draw(rasterize, scene, leaves))
    runs = [torch.autograd.grad(loss, list(leaves.values()), retain_graph=True) for _ in range(3)]
    assert all(gradient.isfinite().all() for gradient in runs[0])
    for gradients in runs[1:]:
        assert_close_gradients(gradients, runs[0], leaves)


def test_every_backward_pass_gives_the_same_gradients_where_lists_overflow(monkeypatch):
    scene = on_gpu(Scene(splats(2000, size=0.1), camera(40, 30), torch.rand(3).double()))
    leaves = leaves_of(scene, torch.float32)
    expected = torch.autograd.grad(random_loss(draw(rasterize, scene, leaves)), list(leaves.values()))
    monkeypatch.setattr(device.device_of(0), "capacity", lambda *_: 256)
    plan._plan.cache_clear()
    loss = random_loss(draw(rasterize, scene, leaves))
    monkeypatch.undo()
    plan._plan.cache_clear()
    for _ in range(3):
        gradients = torch.autograd.grad(loss, list(leaves.values()), retain_graph=True)
        assert_close_gradients(gradients, expected, leaves)


def test_image_is_the_same_with_and_without_gradients():
    scene = on_gpu(SCENES["many"]())
    leaves = leaves_of(scene, torch.float32)
    result = draw(rasterize, scene, leaves)
    with torch.no_grad():
        other = draw(rasterize, scene, leaves)
    assert other.image.grad_fn is None and not result.radii.requires_grad
    assert all(torch.equal(a, b) for a, b in zip(result, other))


def test_threads_may_go_back_through_one_graph_at_once():
    scene = on_gpu(SCENES["many"]())
    leaves = leaves_of(scene, torch.float32)
    loss = random_loss(draw(rasterize, scene, leaves))
    truth = torch.autograd.grad(loss, list(leaves.values()), retain_graph=True)
    results = []

    def work():
        # In this thread, not in the device's.
        with torch.autograd.set_multithreading_enabled(False):
            for _ in range(20):
                results.append(torch.autograd.grad(loss, list(leaves.values()), retain_graph=True))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    torch.cuda.synchronize()
    assert len(results) == 80
    for gradients in results:
        assert_close_gradients(gradients, truth, leaves)


def test_cuda_graph_of_two_backward_passes_can_be_replayed():
    scene = on_gpu(SCENES["many"]())
    leaves = leaves_of(scene, torch.float32)
    inputs = list(leaves.values())
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    # The drawing is not captured, and is not drawn anew by a replay.
    with torch.cuda.stream(side):
        loss = random_loss(draw(rasterize, scene, leaves))
        truth = torch.autograd.grad(loss, inputs, retain_graph=True)
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=side):
        runs = [torch.autograd.grad(loss, inputs, retain_graph=True) for _ in range(2)]
    for _ in range(3):
        graph.replay()
        torch.cuda.synchronize()
        for gradients in runs:
            assert_close_gradients(gradients, truth, leaves)


def test_cuda_graph_draws_what_eager_draws():
    scene = on_gpu(SCENES["many"]())
    leaves = leaves_of(scene, torch.float32)
    weights = torch.randn(3, 48, 64, device="cuda")

    def step():
        result = draw(rasterize, scene, leaves)
        return result.image, *torch.autograd.grad(result.image, list(leaves.values()), weights)

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    with torch.no_grad():
        leaves["means"] += 0.05
    graph.replay()
    graph.replay()
    for value, truth in zip(captured, step()):
        assert relative_error(value, truth) < 1e-4


def test_streams_and_threads_draw_at_once():
    names = ["many", "degree 3", "needles", "wide"]
    alone = [rasterize(*on_gpu(SCENES[name]())).image for name in names]
    inputs = [on_gpu(SCENES[name]()) for name in names]
    torch.cuda.synchronize()
    wrong = []

    def work(index):
        with torch.cuda.stream(torch.cuda.Stream()):
            for _ in range(20):
                if not torch.equal(rasterize(*inputs[index]).image, alone[index]):
                    wrong.append(names[index])

    workers = [threading.Thread(target=work, args=(i,)) for i in range(len(names))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
@pytest.mark.parametrize("own_thread", [True, False])
def test_two_devices_draw_in_turn(own_thread):
    """The current device stays the first; forward and backward go where the tensors are."""
    on_each = [on_gpu(SCENES["degree 3"](), name=name) for name in ("cuda:1", "cuda:0", "cuda:1")]
    with torch.autograd.set_multithreading_enabled(own_thread):
        drawn = [render_with_gradients(rasterize, scene, torch.float32) for scene in on_each]
    assert torch.cuda.current_device() == 0
    for scene, (result, gradients) in zip(on_each, drawn):
        assert result.image.device == scene.background.device
        torch.testing.assert_close(result.image.cpu(), drawn[1][0].image.cpu(), rtol=0, atol=1e-6)
        for key, gradient in gradients.items():
            assert gradient.device == scene.background.device
            assert relative_error(gradient.cpu(), drawn[1][1][key].cpu()) < 1e-4, key


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_other_dtypes_are_converted_and_results_come_in_theirs(dtype):
    scene = SCENES["degree 3"]()
    result = rasterize(*on_gpu(scene, dtype))
    assert result.image.dtype == result.depth.dtype == dtype and result.radii.dtype == torch.int32
    assert relative_error(result.image.cpu(), rasterize(*scene).image) < 1e-2


def test_inputs_that_are_not_contiguous_or_aligned():
    scene = on_gpu(SCENES["degree 3"]())
    truth = rasterize(*scene)

    def awkward(t):
        buffer = torch.empty(t.numel() + 1, device="cuda")
        buffer[1:] = t.flatten()
        return buffer[1:].view(t.shape)

    drawn = Splats(*(None if t is None else awkward(t) for t in scene.splats))
    drawn = drawn._replace(means=scene.splats.means.T.contiguous().T, opacities=drawn.opacities[:, None])
    view = scene.view._replace(world_to_camera=scene.view.world_to_camera.T.contiguous().T)
    assert torch.equal(rasterize(drawn, view, scene.background).image, truth.image)


def test_gradients_survive_checkpointing():
    from torch.utils.checkpoint import checkpoint

    scene = on_gpu(SCENES["degree 3"]())
    leaves = leaves_of(scene, torch.float32)
    truth = torch.autograd.grad(draw(rasterize, scene, leaves).image.square().sum(), leaves["means"])[0]
    image = checkpoint(lambda: draw(rasterize, scene, leaves).image, use_reentrant=False)
    value = torch.autograd.grad(image.square().sum(), leaves["means"])[0]
    assert relative_error(value, truth) < 1e-5


def test_tensors_on_different_devices_are_refused():
    scene = on_gpu(SCENES["degree 3"]())
    with pytest.raises(ValueError, match=r"splats\.opacities: is on cpu, but splats\.means is on cuda"):
        rasterize(scene.splats._replace(opacities=scene.splats.opacities.cpu()), *scene[1:])


def test_family_camera_is_made_by_one_kernel():
    from tests.rasterizer.test_family import settings_of

    view = camera(center=(20.0, 19.0))
    settings = settings_of(view)
    made = cuda.family_view(settings.viewmatrix.float().cuda(), settings.projmatrix.float().cuda(), 45, 34)
    assert isinstance(made, View) and relative_error(made.intrinsics.cpu(), view.intrinsics) < 1e-5
    assert relative_error(made.world_to_camera.cpu(), view.world_to_camera) < 1e-6
