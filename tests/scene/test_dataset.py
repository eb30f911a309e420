import threading

import cv2
import numpy as np
import pytest
import torch

from scene import dataset as dataset_module
from scene.dataset import FrameDataset, resolve_size
from scene.dataset_readers import read_clip
from scene.frame_decoding import composite
from tests.synthetic import BALL_COLOR, write_clip
from utils.errors import UserError


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clips") / "clip", num_frames=10)


@pytest.fixture(scope="module")
def clip(root):
    return read_clip(root, only_head=True)


@pytest.fixture
def decoded(monkeypatch):
    """Ids of the frames that are decoded, in order."""
    ids = []
    load = dataset_module.load_frame

    def recording(record, *args):
        ids.append(record.image_id)
        return load(record, *args)

    monkeypatch.setattr(dataset_module, "load_frame", recording)
    return ids


def stored(root, image_id):
    """Image, matte and head of a frame, read independently."""
    image = cv2.imread(str(root / "ori_imgs" / f"{image_id}.png"))[..., ::-1] / 255
    matte = cv2.imread(str(root / "mask" / f"{image_id + 1}.png"), cv2.IMREAD_GRAYSCALE) / 255
    parsing = cv2.imread(str(root / "parsing" / f"{image_id}.png"))[..., ::-1]
    return image, matte, (parsing == (0, 0, 255)).all(axis=-1)


# Frames are kept in 8 bits.
HALF_A_LEVEL = 0.5 / 255 + 1e-6


@pytest.mark.parametrize("background", [(0, 0, 0), (1, 1, 1), (0.2, 0.5, 0.9)])
@pytest.mark.parametrize("only_head", [False, True])
def test_frames_are_composited_on_the_background(root, clip, background, only_head):
    frame = FrameDataset(clip, [4, 7], background=background, only_head=only_head)[1]
    image, matte, head = stored(root, 7)
    alpha = matte * head if only_head else matte
    expected = image * alpha[..., None] + np.array(background) * (1 - alpha[..., None])
    assert (frame.index, frame.image_id) == (7, 7)
    np.testing.assert_allclose(frame.image.permute(1, 2, 0), expected, atol=HALF_A_LEVEL)
    np.testing.assert_allclose(frame.matte, alpha, atol=1e-6)
    np.testing.assert_allclose(frame.expression, clip.frames[7].expression)


def test_resizing_averages_the_composited_image_over_areas(root, clip):
    frame = FrameDataset(clip, [3], resolution=4, background=(1, 1, 1))[0]
    image, matte, _ = stored(root, 3)
    full = image * matte[..., None] + 1 - matte[..., None]
    expected = full.reshape(6, 4, 8, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(frame.image.permute(1, 2, 0), expected, atol=HALF_A_LEVEL)
    np.testing.assert_allclose(frame.matte, matte.reshape(6, 4, 8, 4).mean(axis=(1, 3)), atol=HALF_A_LEVEL)


def test_the_outline_takes_no_colour_from_the_old_background():
    # The left half is the person; the old background is black.
    rgb = np.zeros((4, 4, 3), np.uint8)
    rgb[:, :2] = 200
    alpha = np.zeros((4, 4), np.uint8)
    alpha[:, :2] = 255
    # The mean of 200 and 255, of 255 and 0.
    shrunk = composite(rgb, alpha, np.ones(3), (1, 1))
    np.testing.assert_array_equal(shrunk[0, 0], [228, 228, 228, 128])


@pytest.mark.parametrize(
    ("resolution", "size"),
    [(-1, (513, 384)), (1, (513, 384)), (2, (256, 192)), (4, (128, 96)), (8, (64, 48)), (171, (171, 128))],
)
def test_resolution_divides_or_is_the_width(resolution, size):
    assert resolve_size(513, 384, resolution) == size


def test_intrinsics_follow_the_size_exactly(clip):
    camera = FrameDataset(clip, [0], resolution=20)[0].camera
    assert (camera.width, camera.height) == (20, 15)
    assert (camera.fx, camera.fy) == (96 * 20 / 32, 96 * 15 / 24)
    assert (camera.cx, camera.cy) == (16 * 20 / 32, 12 * 15 / 24)
    assert camera.near == clip.near


def test_the_ball_projects_to_its_pixels(clip):
    """Geometry and pixels agree: the origin of the world is the middle of the ball."""
    frame = FrameDataset(clip, [2], resolution=64)[0]
    x, y, z, _ = (frame.camera.world_to_camera @ torch.tensor([0.0, 0, 0, 1])).tolist()
    column, row = frame.camera.fx * x / z + frame.camera.cx, frame.camera.fy * y / z + frame.camera.cy
    color = 255 * frame.image[:, int(row), int(column)].numpy()
    np.testing.assert_allclose(color / color[0], np.array(BALL_COLOR) / BALL_COLOR[0], atol=0.02)


@pytest.mark.parametrize("budget_frames", [0, 3, 10, 1000])
def test_cache_stays_in_its_budget_and_changes_no_frame(clip, decoded, budget_frames):
    frame_bytes = 32 * 24 * 4
    cached = FrameDataset(clip, range(10), cache_bytes=budget_frames * frame_bytes + frame_bytes - 1)
    first = [cached[i].image for i in range(10)]
    assert decoded == list(range(10))
    second = [cached[i].image for i in range(10)]
    assert decoded[10:] == list(range(min(budget_frames, 10), 10))
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)
    kept = sum(pixels.numel() for pixels in cached._cache.values())
    assert kept <= (budget_frames + 1) * frame_bytes


def test_frames_handed_out_are_copies(clip):
    frames = FrameDataset(clip, [0])
    kept = frames[0].image.clone()
    frames[0].image.zero_()
    assert torch.equal(frames[0].image, kept)


def test_an_order_is_yielded_as_given_and_decoded_ahead_by_threads(clip, monkeypatch):
    threads = set()
    load = dataset_module.load_frame

    def recording(*args):
        threads.add(threading.current_thread())
        return load(*args)

    monkeypatch.setattr(dataset_module, "load_frame", recording)
    frames = FrameDataset(clip, range(10), cache_bytes=0)
    order = [5, 1, 1, 9, 0, 5, 2, 8, 3, 7, 6, 4, 9, 9]
    for position, frame in zip(order, frames.frames(order), strict=True):
        assert frame.index == position
        assert torch.equal(frame.image, frames[position].image)
    assert threads - {threading.main_thread()}


def test_waiting_frames_are_bounded(clip):
    frames = FrameDataset(clip, range(10), cache_bytes=0)
    frames.prefetch(range(10))
    frames.prefetch(range(10))
    assert len(frames._pending) <= dataset_module.AHEAD
    assert frames[0].index == 0
    assert frames[9].index == 9


def test_a_damaged_frame_ends_in_a_user_error_also_from_a_thread(tmp_path):
    root = write_clip(tmp_path / "clip", 3)
    clip = read_clip(root)
    # Damaged after it was checked.
    (root / "ori_imgs" / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    frames = FrameDataset(clip, range(3))
    frames.prefetch([0, 1])
    assert frames[0].index == 0
    with pytest.raises(UserError, match=r"1\.png: cannot be decoded"):
        frames[1]


def test_frames_that_are_kept_are_decoded_before_they_are_asked_for_and_only_once(clip, decoded):
    frames = FrameDataset(clip, range(10), cache_bytes=6 * 32 * 24 * 4)
    frames.preload()
    frames.preload()
    expected = FrameDataset(clip, range(10), cache_bytes=0)
    for _ in range(2):
        for position in (7, 3, 0, 9, 5, 3):
            assert torch.equal(frames[position].image, expected[position].image)
    # Not those beyond the budget; what is asked for is not decoded again.
    assert decoded.count(3) == 1 + 4
    assert set(decoded) == {*range(6), 7, 9}


def test_frames_are_those_of_their_positions_whatever_came_first(clip):
    frames = FrameDataset(clip, [4, 2, 8])
    last = frames[2]
    frames.preload()
    for position in range(3):
        frame = FrameDataset(clip, [[4, 2, 8][position]])[0]
        assert torch.equal(frame.image, frames[position].image)
        assert torch.equal(frame.matte, frames[position].matte)
    assert torch.equal(frames[2].image, last.image)


@pytest.mark.parametrize("background", [(0, 0, 0), (1, 1, 1), (0.2, 0.5, 0.9)])
def test_compositing_at_the_size_of_the_files_equals_blending_every_pixel(background):
    random = np.random.default_rng(0)
    rgb = random.integers(0, 256, (64, 48, 3), dtype=np.uint8)
    alpha = random.choice(np.array([0, 1, 90, 200, 254, 255], np.uint8), (64, 48))
    weight = alpha.astype(np.float32)[..., None] / 255
    blended = rgb * weight + 255 * np.array(background, np.float32) * (1 - weight)
    composited = composite(rgb, alpha, np.array(background, np.float32), (48, 64))
    np.testing.assert_array_equal(composited[..., :3], np.rint(blended))
    np.testing.assert_array_equal(composited[..., 3], alpha)


def test_positions_end(clip):
    frames = FrameDataset(clip, [1, 2])
    assert len(frames) == 2
    # Ends with IndexError, as a list does.
    assert [frame.index for frame in frames] == [1, 2]
    with pytest.raises(IndexError):
        frames[2]


def test_a_long_clip_is_never_held_whole_by_a_small_budget(clip):
    """5,000 frames of 512 x 512 take 5.2 GB in 8 bits; a budget of 1 GB keeps a fifth of them."""
    from dataclasses import replace

    long = replace(clip, frames=clip.frames * 500)
    frames = FrameDataset(long, range(5000), resolution=512, cache_bytes=10**9)
    assert frames.frame_bytes == 512 * 384 * 4
    assert frames.num_cached_at_most == 10**9 // (512 * 384 * 4)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_cache_without_cuda_is_refused(clip):
    with pytest.raises(UserError, match="--data_device cuda: no such usable CUDA device"):
        FrameDataset(clip, [0], data_device="cuda")


@pytest.mark.gpu
def test_frames_are_kept_on_the_gpu_where_they_fit(clip):
    frames = FrameDataset(clip, range(10), device="cuda")
    assert frames.data_device.type == "cuda"
    assert frames[3].image.device.type == "cuda"
    assert frames[3].camera.world_to_camera.device.type == "cuda"
    torch.testing.assert_close(
        frames[3].image.cpu(), FrameDataset(clip, range(10))[3].image, atol=1e-6, rtol=0
    )
    assert FrameDataset(clip, range(10), device="cuda", data_device="cpu")[3].image.device.type == "cuda"
