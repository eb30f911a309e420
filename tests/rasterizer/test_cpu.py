"""The CPU back-end against the reference, and what only it promises: determinism, threads, forks."""

import os
import re
import signal
import subprocess
import threading

import numba
import numpy as np
import pytest
import torch

from diff_gaussian_rasterization import Splats, compile_ahead, cpu, rasterize, reference
from diff_gaussian_rasterization.cpu import compilation
from diff_gaussian_rasterization.cpu.threads import kernel
from tests.rasterizer.scenes import (
    draw,
    leaves_of,
    random_loss,
    relative_error,
    render_with_gradients,
    scenes,
)

SCENES = scenes()


def single(*tensors):
    return type(tensors[0])(*(t.float() if isinstance(t, torch.Tensor) else t for t in tensors[0]))


@pytest.mark.parametrize("name", SCENES)
def test_cpu_equals_reference(name):
    scene = SCENES[name]()
    # The same float32 inputs for both, and the same depth order: what is left is rounding.
    scene = scene._replace(
        splats=single(scene.splats), view=single(scene.view), background=scene.background.float()
    )
    result, gradients = render_with_gradients(rasterize, scene, torch.float32, backend="cpu")
    order = cpu.draw_order(scene.splats, scene.view)
    truth, true_gradients = render_with_gradients(reference.rasterize, scene, torch.float64, order=order)
    assert truth.alpha.max() > 0.01
    assert torch.equal(result.radii, truth.radii)
    for field in ("image", "depth", "alpha"):
        value, true_value = getattr(result, field), getattr(truth, field)
        assert value.dtype == torch.float32 and value.shape == true_value.shape
        assert ((value - true_value).abs() > 1e-4 * true_value.abs().max()).double().mean() < 1e-3, field
        assert relative_error(value, true_value) < 1e-4, field
    for key, gradient in gradients.items():
        assert gradient.dtype == torch.float32
        assert relative_error(gradient, true_gradients[key]) < 1e-3, key


def test_order_is_front_to_back_and_holds_the_drawn():
    scene = SCENES["part behind the camera"]()
    order = cpu.draw_order(single(scene.splats), scene.view)
    result = rasterize(*scene, backend="cpu")
    assert torch.equal(order.sort().values, result.radii.nonzero()[:, 0])
    depths = reference.project(scene.splats, scene.view).depths[order]
    assert (depths.diff() > -1e-6).all()


def test_bitwise_equal_for_any_number_of_threads():
    scene = SCENES["many"]()
    before = torch.get_num_threads()
    runs = []
    try:
        for num_threads in (1, 2, 2, 3):
            torch.set_num_threads(num_threads)
            runs.append(render_with_gradients(rasterize, scene, torch.float32, backend="cpu"))
    finally:
        torch.set_num_threads(before)
    for result, gradients in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(result, runs[0][0]))
        assert all(torch.equal(gradients[name], runs[0][1][name]) for name in gradients)


def test_threads_may_render_at_once():
    names = ["many", "degree 3", "needles", "wide"]
    alone = [render_with_gradients(rasterize, SCENES[name](), torch.float32) for name in names]
    together = [None] * len(names)
    before = torch.get_num_threads()

    def work(index):
        for _ in range(5):
            together[index] = render_with_gradients(rasterize, SCENES[names[index]](), torch.float32)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(len(names))]
    try:
        torch.set_num_threads(2)
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    finally:
        torch.set_num_threads(before)
    for (result, gradients), (other_result, other_gradients) in zip(alone, together):
        assert all(torch.equal(a, b) for a, b in zip(result, other_result))
        assert all(torch.equal(gradients[name], other_gradients[name]) for name in gradients)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_forked_child_renders_too():
    scene = SCENES["degree 3"]()
    truth = rasterize(*scene, backend="cpu").image
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        try:
            os._exit(0 if torch.equal(rasterize(*scene, backend="cpu").image, truth) else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_every_output_is_written(monkeypatch):
    scene = SCENES["part behind the camera"]()
    truth, true_gradients = render_with_gradients(rasterize, scene, torch.float32)
    torch_empty, numpy_empty = torch.empty, np.empty

    def poisoned(*args, **kwargs):
        return torch_empty(*args, **kwargs).fill_(torch.nan)

    def poisoned_array(shape, dtype=np.float64):
        return np.full_like(numpy_empty(shape, dtype), 77 if np.dtype(dtype).kind == "i" else np.nan)

    monkeypatch.setattr(torch, "empty", poisoned)
    monkeypatch.setattr(np, "empty", poisoned_array)
    result, gradients = render_with_gradients(rasterize, scene, torch.float32)
    assert all(torch.equal(a, b) for a, b in zip(result, truth))
    assert all(torch.equal(gradients[name], true_gradients[name]) for name in gradients)


@pytest.mark.parametrize(
    "wanted", [["opacities"], ["sh"], ["means", "means2d"], ["background"], ["world_to_camera"]]
)
def test_only_wanted_gradients_are_computed(wanted):
    scene = SCENES["degree 3"]()
    _, every = render_with_gradients(rasterize, scene, torch.float32)
    leaves = leaves_of(scene, torch.float32)
    for name, leaf in leaves.items():
        leaf.requires_grad_(name in wanted)
    random_loss(draw(rasterize, scene, leaves)).backward()
    for name, leaf in leaves.items():
        assert torch.equal(leaf.grad, every[name]) if name in wanted else leaf.grad is None


@pytest.mark.parametrize("output", ["image", "depth", "alpha"])
def test_loss_of_a_single_output(output):
    scene = SCENES["degree 3"]()
    gradients = {}
    for backend in ("cpu", "reference"):
        leaves = leaves_of(scene)
        getattr(draw(rasterize, scene, leaves, backend=backend), output).square().sum().backward()
        gradients[backend] = leaves["means"].grad
    assert relative_error(gradients["cpu"], gradients["reference"]) < 1e-3


def test_nothing_is_kept_without_gradients():
    scene = SCENES["degree 3"]()
    assert rasterize(*scene).image.grad_fn is None
    with torch.no_grad():
        assert draw(rasterize, scene, leaves_of(scene)).image.grad_fn is None


def test_kernels_compile_where_no_cache_folder_is_writable(monkeypatch):
    def njit(**options):
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: ("compiled", function, options)

    monkeypatch.setattr(numba, "njit", njit)
    state, _, options = kernel(abs)
    assert state == "compiled" and options["nogil"]


def test_half_precision_and_columns_of_opacity_are_accepted():
    scene = SCENES["degree 3"]()
    truth = rasterize(*scene)
    column = rasterize(scene.splats._replace(opacities=scene.splats.opacities[:, None]), *scene[1:])
    assert torch.equal(column.image, truth.image) and truth.image.dtype == torch.float64
    half = Splats(*(None if t is None else t.half() for t in scene.splats))
    result = rasterize(half, scene.view, scene.background)
    assert result.image.dtype == torch.float16
    # What rounding the inputs to 11 bits does.
    assert relative_error(result.image, truth.image) < 1e-2


def test_what_is_compiled_ahead_is_what_a_drawing_calls():
    scene = SCENES["degree 3"]()
    render_with_gradients(
        rasterize, scene._replace(splats=single(scene.splats)), torch.float32, backend="cpu"
    )
    for direction, kernels in compilation._KERNELS.items():
        compilation.compile_kernels(direction)
        # Another type of an argument would have made a second one.
        assert [len(k.signatures) for k in kernels] == [1] * len(kernels)
    # By now the cache on disk has all of them, unless no folder can be written.
    assert all(map(compilation._is_cached, kernels))


def test_kernels_that_no_cache_has_are_compiled_ahead_and_waited_for(monkeypatch):
    begun = []

    class Process:
        def __init__(self, command, stdout, stderr, **options):
            # Not our pipes: who reads them waits until all that hold them have ended.
            assert stdout == stderr == subprocess.DEVNULL
            self.direction, self.waited = re.search(r"'(\w+)'", command[-1])[1], 0
            exec(command[-1], {})
            begun.append(self)

        def wait(self):
            self.waited += 1

    monkeypatch.setattr(compilation.subprocess, "Popen", Process)
    monkeypatch.setattr(compilation, "_ahead", {})
    monkeypatch.setattr(compilation, "_not_yet_compiled", {"forward", "backward"})
    monkeypatch.setattr(compilation, "_is_cached", lambda kernel: kernel is not compilation.blend_backward)
    compile_ahead(torch.device("cpu"))
    compile_ahead(torch.device("cpu"))
    assert [process.direction for process in begun] == ["backward"]
    scene = SCENES["degree 3"]()
    for _ in range(2):
        render_with_gradients(rasterize, scene, torch.float32, backend="cpu")
    assert begun[0].waited == 1
