"""The CPU's part of a frame against numpy and torch."""

import numpy as np
import pytest

from scene.avatar import save_avatar
from tests.web.light_avatars import make_light_avatar
from tests.web.pages import as_json, open_modules

pytestmark = pytest.mark.browser
SORT = """async ({ depths, near }) => {
  const { DepthSorter } = await import('/sorting.js');
  const sorter = new DepthSorter(depths.length);
  sorter.sort(Float32Array.from(depths).reverse(), near); // what lay there before must not matter
  return Array.from(sorter.sort(Float32Array.from(depths), near));
}"""


def sort(browser, depths, near=0.2):
    with open_modules(browser) as page:
        values = [float(depth) for depth in depths]
        return np.array(page.evaluate(SORT, {"depths": values, "near": near}), dtype=int)


def test_the_order_is_from_back_to_front_in_sixteen_bits(browser):
    depths = np.random.default_rng(0).uniform(1, 4, 20_000).astype(np.float32)
    order = sort(browser, depths)
    assert sorted(order) == list(range(len(depths)))
    assert np.diff(depths[order]).max() <= 3 / 65535 * 1.01
    assert (depths[order[0]], depths[order[-1]]) == pytest.approx((depths.max(), depths.min()), abs=1e-4)


def test_splats_before_the_near_plane_are_left_out(browser):
    assert list(sort(browser, [0.1, 3, 0.5, 1, -5], near=0.5)) == [1, 3]
    assert list(sort(browser, [0.1, -1])) == []


def test_equal_depths_keep_their_order(browser):
    assert list(sort(browser, [2, 2, 2])) == [0, 1, 2]


def test_depths_are_those_of_the_light_head_within_what_is_left_out(browser, tmp_path):
    avatar = make_light_avatar()
    save_avatar(avatar, tmp_path / "a.safetensors")
    expression = avatar.expression(jawOpen=0.9, cheekPuff=0.6)
    with open_modules(browser, {"a": (tmp_path / "a.safetensors").read_bytes()}) as page:
        found = page.evaluate(
            """async ({ expression, camera }) => {
              const { fetchAvatar } = await import('/avatar_data.js');
              const { componentWeights, depthsOf, features, sortedByReach } = await import('/blending.js');
              const avatar = await fetchAvatar('/a');
              const weights = componentWeights(avatar.bases.xyz, features(avatar, expression));
              const moves = sortedByReach(avatar.bases.xyz, avatar.numSplats);
              return [0, 5e-4].map((tolerance) => {
                const out = new Float32Array(avatar.numSplats);
                return Array.from(depthsOf(avatar, moves, weights, camera.worldToCamera, out, tolerance));
              });
            }""",
            {"expression": expression.tolist(), "camera": as_json(avatar.camera)},
        )
    means = avatar.head(avatar.camera, expression).means
    true = avatar.camera.project(means)[:, 2].numpy()
    # Places have 16 bits in the file.
    np.testing.assert_allclose(found[0], true, atol=1e-4)
    # Each of four components may leave out so much on each axis.
    np.testing.assert_allclose(found[1], true, atol=4 * 5e-4 * 3**0.5 + 1e-4)
