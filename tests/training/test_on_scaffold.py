"""How a run begins on a fitted head model: hair, colours, seats, body, and what can be wrong."""

import json

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

import export
import render
import train
from arguments import on_scaffold, parse_train_args
from parametric_head.landmarks import LOWER_LIDS, LOWER_LIP, UPPER_LIDS, UPPER_LIP
from parametric_head.zones import FACE, NECK, SKULL, zones
from tests.parametric_head.small_head import small_arrays, small_head
from tests.preparation.head_fit.talking_head import make_person
from tests.synthetic import edited_json, write_clip
from tests.training.mesh_clips import SIZE, Frames, lifted, make_fitted, make_frame
from training.on_scaffold import fitted_head
from training.on_scaffold.body import find_body, seat_on_body
from training.on_scaffold.build import start_on_scaffold
from training.on_scaffold.fitted_head import find_fitted_head
from training.on_scaffold.hair import hair_thickness
from training.on_scaffold.seats import FLATNESS, is_of_head, limits_of, seat
from training.on_scaffold.texture import paint
from training.on_scaffold.views import MOST_VIEWS, choose_views, inside_share
from training.start import fitted_head_of, open_data, scaffold_start_on
from utils.checkpoint import load_checkpoint
from utils.errors import UserError
from utils.spherical_harmonics import rgb_to_dc

NO_POINTS = np.zeros((0, 3))
YAWS = np.linspace(-45, 45, 9)


@pytest.fixture(scope="module")
def fitted():
    return make_fitted()


@pytest.fixture(scope="module")
def seating(fitted):
    """Of 20000 Gaussians under 1.2 cm of hair, nobody on the neck; and the thickness."""
    zone = zones(fitted.head)
    thickness = 1.2 * fitted.unit * (zone == SKULL)
    return seat(fitted, thickness, zone != NECK, 20_000, np.random.default_rng(0)), thickness


def views_of(*args, yaws=YAWS, **kwargs):
    return choose_views(Frames(make_frame(args[0], yaw, *args[1:], **kwargs) for yaw in yaws))


# Views


def test_frames_that_show_most_of_an_expression_are_among_the_views(fitted):
    frame = make_frame(fitted, 0)
    expressions = torch.zeros(200, len(frame.expression))
    expressions[77, 3], expressions[131, 5], expressions[150, 7] = 0.9, 0.6, 0.1
    expressions[:, 9] = 0.8
    small = frame._replace(image=frame.image[:, :8, :8])
    chosen = choose_views(Frames(small._replace(expression=expression) for expression in expressions))
    shown = np.stack([view.expression for view in chosen])
    assert shown[:, 3].max() == pytest.approx(0.9) and shown[:, 5].max() == pytest.approx(0.6)
    assert len(chosen) <= MOST_VIEWS + 3


def test_views_are_spread_over_the_clip_and_those_that_turn_most_are_among_them(fitted):
    frames = Frames(
        make_frame(fitted, yaw) for yaw in np.random.default_rng(0).permutation(np.arange(-20, 20))
    )
    frames = Frames(frame._replace(image=frame.image[:, :8, :8]) for frame in frames)
    found = [np.rad2deg(np.arctan2(view.eye[0], view.eye[2])).round() for view in choose_views(frames)]
    assert len(found) <= MOST_VIEWS and len(set(found)) == len(found) and {-20, 19} <= set(found)


def test_a_view_projects_as_its_camera_and_samples_pixels_at_their_middles(fitted):
    frame = make_frame(fitted, 20)
    (view,) = choose_views(Frames([frame]))
    points = torch.from_numpy(fitted.mesh.neutral[:50]).float()
    seen = points @ frame.camera.world_to_camera[:3, :3].T + frame.camera.world_to_camera[:3, 3]
    expected = frame.camera.fx * seen[:, :2] / seen[:, 2:] + SIZE / 2
    np.testing.assert_allclose(view.project(points.numpy()), expected.numpy(), atol=1e-2)
    np.testing.assert_allclose(view.eye, frame.camera.center.numpy(), atol=1e-6)
    picture = np.random.default_rng(0).random((SIZE, SIZE)).astype(np.float32)
    pixels = np.array([[10.5, 20.5], [11, 20.5], [-5, 3], [SIZE + 2, 3]])
    expected = [picture[20, 10], picture[20, 10:12].mean(), 7, 7]
    np.testing.assert_allclose(view.sample(picture, pixels, 7.0), expected, rtol=1e-5)


def test_the_front_is_visible_and_the_back_is_not(fitted):
    (view,) = views_of(fitted, yaws=[0])
    visible = view.visible(fitted.mesh.neutral, fitted.head.triangles)
    on_face = zones(fitted.head) == FACE
    assert visible[on_face & (fitted.normals[:, 2] > 0.5)].mean() > 0.95
    assert not visible[fitted.normals[:, 2] * (zones(fitted.head) == SKULL) < -0.3].any()


def test_points_are_inside_in_the_share_of_the_pictures_that_show_them(fitted):
    views = views_of(fitted)
    aside = 0.5 * SIZE / (3.2 * SIZE) * 3  # at the edge of the picture, seen from the front
    points = np.array([[0, 0, 0], [0, 0.9 * aside, 0], [0, 3 * aside, 0]])
    assert inside_share(views, points).tolist() == [1, 0, 0]
    empty = [view._replace(matte=np.zeros_like(view.matte)) for view in views[:3]]
    assert inside_share([*empty, *views[3:]], points[:1]).tolist() == [pytest.approx(6 / 9)]


# Hair


@pytest.mark.parametrize("centimetres", [0.0, 1.2, 2.5])
def test_hair_is_as_thick_as_the_matte_says_and_only_on_the_skull(fitted, centimetres):
    views = views_of(fitted, lifted(fitted, centimetres))
    thickness = hair_thickness(fitted, views) / fitted.unit
    on_skull = zones(fitted.head) == SKULL
    assert (thickness[~on_skull] == 0).all() and (thickness >= 0).all()
    # Rims, off the hairline: normals across the line of sight.
    sights = [fitted.mesh.neutral - view.eye for view in views]
    cosines = [(fitted.normals * s).sum(axis=1) / np.linalg.norm(s, axis=1) for s in sights]
    near_skin = fitted.head.triangles[~on_skull[fitted.head.triangles].all(axis=1)]
    inner = on_skull.copy()
    inner[near_skin.ravel()] = False
    is_rim = inner & (np.abs(cosines).min(axis=0) < 0.08)
    assert is_rim.sum() > 100
    assert np.abs(thickness[is_rim] - centimetres).max() < 0.2 + 0.08 * centimetres
    # Where no frame looks along the surface it goes on.
    assert np.abs(thickness[inner] - centimetres).max() < 0.3 + 0.2 * centimetres


# Colours


def test_colours_are_those_that_were_seen_and_of_the_mirror_side_where_none_was(fitted):
    x, y, z = fitted.head.neutral.T
    base = np.stack([0.5 + 0.02 * y, 0.5 + 0.01 * y, 0.45 - 0.03 * z], axis=1).clip(0.05, 0.95)
    colors = np.where(x[:, None] > 0, base, 1 - base)
    # From the left of the person only.
    views = views_of(fitted, None, colors, yaws=(10, 30, 50, 70))
    texture = paint(fitted, np.zeros_like(fitted.mesh.neutral), views)
    assert texture.seen.min() == 0 and texture.seen.max() == 1
    on_face, other = zones(fitted.head) == FACE, fitted.mirrored
    np.testing.assert_allclose(fitted.head.neutral[other], fitted.head.neutral * [-1, 1, 1], atol=1e-5)
    seen = on_face & (texture.seen > 0.99) & (abs(x) > 1)
    errors = np.abs(texture.color - colors).max(axis=1)[seen]
    assert seen.sum() > 100 and np.median(errors) < 2e-3 and np.mean(errors < 0.02) > 0.8
    unseen = on_face & (texture.seen < 0.01) & seen[other]
    assert unseen.sum() > 10
    to_mirror = np.abs(texture.color - colors[other]).max(axis=1)[unseen]
    to_truth = np.abs(texture.color - colors).max(axis=1)[unseen]
    assert np.median(to_mirror) < 0.02 and np.median(to_truth) > 0.1


def test_the_inside_of_a_shut_mouth_is_dark_and_what_faces_away_is_not_seen(fitted):
    texture = paint(fitted, np.zeros_like(fitted.mesh.neutral), views_of(fitted, yaws=(-10, 0, 10)))
    socket = fitted.head.part("mouth_socket")
    hidden = texture.seen[socket] == 0
    assert hidden.sum() > 10
    assert (texture.color[socket][hidden] < 0.25).all() and (texture.color[socket][hidden][:, 0] > 0.1).all()
    assert (texture.seen[(zones(fitted.head) == SKULL) & (fitted.normals[:, 2] < -0.3)] == 0).all()


# Seats


def corners_of(fitted, seating, points):
    return points[fitted.head.triangles[seating.triangle]]


def test_seats_lie_on_the_lifted_mesh_and_some_of_the_hair_below_it(fitted, seating):
    seating, thickness = seating
    top = fitted.mesh.neutral + thickness[:, None] * fitted.normals
    on_top = np.einsum("nk,nkc->nc", seating.barycentric, corners_of(fitted, seating, top))
    a, b, c = corners_of(fitted, seating, fitted.mesh.neutral).transpose(1, 0, 2)
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    below = ((on_top - seating.xyz) * normal).sum(axis=1)
    np.testing.assert_allclose(seating.xyz + below[:, None] * normal, on_top, atol=1e-9)
    depth = (seating.barycentric * thickness[fitted.head.triangles[seating.triangle]]).sum(axis=1)
    assert (below > -1e-9).all() and (below < depth + 1e-9).all()
    assert np.mean(below[depth > 0] > 1e-9) == pytest.approx(0.4, abs=0.03)
    np.testing.assert_allclose(seating.barycentric.sum(axis=1), 1)
    assert seating.barycentric.min() >= 0
    # Flat along the surface: the third axis is the normal.
    axes = Rotation.from_quat(np.roll(seating.rotation, -1, axis=1)).as_matrix()
    np.testing.assert_allclose(axes[..., 2], normal, atol=1e-6)
    np.testing.assert_allclose(seating.scale[:, 2], FLATNESS * seating.scale[:, 0])
    np.testing.assert_allclose(seating.scale[:, 1], seating.scale[:, 0])


def test_seats_are_denser_where_details_are_and_nowhere_where_nobody_is_wanted(fitted, seating):
    seating, thickness = seating
    head, zone = fitted.head, zones(fitted.head)
    top = fitted.mesh.neutral + thickness[:, None] * fitted.normals
    a, b, c = top[head.triangles].transpose(1, 0, 2)
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    count = np.bincount(seating.triangle, minlength=len(area))
    assert count.sum() == 20_000 and (count[(zone == NECK)[head.triangles].any(axis=1)] == 0).all()
    lips = fitted.person.places.of(head.neutral)[[*UPPER_LIP, *LOWER_LIP]]
    near = (cKDTree(lips).query(head.neutral)[0] < 1.2) & (zone == FACE)

    def density(where):
        return count[where].sum() / area[where].sum()

    of_skull = density((zone == SKULL)[head.triangles].all(axis=1))
    of_lips, of_teeth = density(near[head.triangles].all(axis=1)), density(head.is_in("teeth"))
    assert of_lips / of_skull == pytest.approx(12, rel=0.15)
    assert of_teeth / of_skull == pytest.approx(3, rel=0.2)
    # As wide as the room that each has.
    on_skull = (zone == SKULL)[head.triangles].all(axis=1)[seating.triangle]
    assert np.median(seating.scale[on_skull, 0]) == pytest.approx(of_skull**-0.5, rel=0.05)
    # No lid uncovers the back of an eyeball.
    balls = seating.triangle[head.is_in("eyeball_left", "eyeball_right")[seating.triangle]]
    assert len(balls) > 50 and fitted.normals[head.triangles[balls]].mean(axis=1)[:, 2].min() >= 0.3


def test_hair_may_go_farther_than_skin_and_teeth_stay(fitted):
    head, zone = fitted.head, zones(fitted.head)
    thickness = 1.2 * fitted.unit * (zone == SKULL)
    limits = limits_of(fitted, thickness) / fitted.unit
    bare = limits_of(fitted, 0 * thickness) / fitted.unit
    is_hair = (zone == SKULL)[head.triangles].any(axis=1)
    is_skin = (zone == FACE)[head.triangles].all(axis=1)
    assert (limits[is_hair].min(axis=0) > limits[is_skin].max(axis=0)).all()
    # Teeth and eyeballs do not come through lips and lids, nor lids into eyeballs.
    for name in ("teeth", "eyeball_left"):
        assert (limits[head.is_in(name), 2] == 0).all()
    assert limits[head.is_in("teeth"), 0].max() < limits[is_skin, 0].min()
    edges = fitted.person.places.of(head.neutral)[[*UPPER_LIDS, *LOWER_LIDS]]
    distance = cKDTree(edges).query(head.neutral[head.triangles].mean(axis=1))[0]
    assert limits[is_skin & (distance < 0.5), 1].max() < 0.1 < limits[is_skin & (distance > 1.5), 1].min()
    # Where hair ends it may be.
    np.testing.assert_allclose(limits[is_hair, 2], bare[is_hair, 2] + 1.2)
    np.testing.assert_allclose(limits[:, :2], bare[:, :2])
    own = is_of_head(fitted)
    assert own[is_skin].all() and own[head.is_in("teeth", "eyeball_left")].all()
    assert not own[(zone == NECK)[head.triangles].all(axis=1)].any()


# The body


def head_points(fitted):
    """That cover it densely."""
    everywhere = np.ones(len(fitted.mesh.neutral), bool)
    return seat(fitted, np.zeros(len(everywhere)), everywhere, 30_000, np.random.default_rng(0)).xyz


def test_a_body_is_what_the_head_does_not_cover(fitted):
    frame, alone = make_frame(fitted, 0, body=(0.4, -0.2)), make_frame(fitted, 0)
    body = find_body(frame, head_points(fitted), NO_POINTS)
    seen = body.vertices @ frame.camera.world_to_camera[:3, :3].numpy().T
    seen += frame.camera.world_to_camera[:3, 3].numpy()
    u, v = (frame.camera.fx * seen[:, :2] / seen[:, 2:] + SIZE / 2).astype(int).T
    assert (frame.matte.numpy()[v, u] == 1).all()
    # But for cells that both cover.
    assert np.mean(alone.matte.numpy()[v, u]) < 0.02
    is_red = np.abs(body.color - [1, 0, 0]).max(axis=1) < 0.02
    assert is_red.mean() > 0.9
    a, b, c = seen[body.triangles].transpose(1, 0, 2)
    assert ((np.cross(b - a, c - a) * a).sum(axis=1) < 0).all()
    assert 0 < body.share < 1 and len(body.volume) > len(body.vertices)


def test_the_share_of_a_body_grows_with_it_and_a_bare_head_has_none(fitted):
    points = head_points(fitted)
    frames = [make_frame(fitted, 0, body=(half, -0.2)) for half in (0.25, 0.35, 0.45)]
    shares = [find_body(frame, points, NO_POINTS).share for frame in frames]
    assert 0 < shares[0] < shares[1] < shares[2]
    nothing = find_body(make_frame(fitted, 0), points, NO_POINTS)
    assert nothing.share == 0 and len(nothing.vertices) == len(nothing.triangles) == len(nothing.volume) == 0


def test_a_body_meets_the_neck_and_keeps_its_own_height_far_away(fitted):
    frame, points = make_frame(fitted, 0, body=(0.4, -0.2)), head_points(fitted)
    alone = find_body(frame, points, NO_POINTS)
    # A neck at the upper edge of the body, 0.2 behind it.
    middle = alone.vertices[np.abs(alone.vertices[:, 0]) < 0.05]
    top = middle[middle[:, 1] > middle[:, 1].max() - 0.03]
    neck = top - np.array([0, 0, 0.2])
    body = find_body(frame, points, neck)
    lowered = alone.vertices[:, 2] - body.vertices[:, 2]
    near = cKDTree(top).query(alone.vertices)[0]
    assert 0.1 < lowered[near < 0.005].mean() < 0.25
    assert np.abs(lowered[near > 0.35]).max() < 0.02


def test_seats_on_a_body_are_even(fitted):
    body = find_body(make_frame(fitted, 0, body=(0.4, -0.2)), head_points(fitted), NO_POINTS)
    seating = seat_on_body(body, 20_000, np.random.default_rng(0))
    corners = body.vertices[body.triangles[seating.triangle]]
    np.testing.assert_allclose(np.einsum("nk,nkc->nc", seating.barycentric, corners), seating.xyz)
    a, b, c = body.vertices[body.triangles].transpose(1, 0, 2)
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    is_left = body.vertices[body.triangles].mean(axis=1)[:, 0] > 0.2
    share = is_left[seating.triangle].mean()
    assert share == pytest.approx(area[is_left].sum() / area.sum(), abs=0.015)
    assert seating.scale[0, 0] == pytest.approx((area.sum() / 20_000) ** 0.5)


# All in order


def test_a_scaffold_moves_as_the_person_and_everyone_has_a_seat():
    names = ["unheardOf", "jawOpen", "eyeLookOutLeft", "mouthSmileRight", "eyeLookUpRight", "eyeBlinkLeft"]
    fitted = make_fitted(names)
    frames = Frames(make_frame(fitted, yaw, lifted(fitted, 1.2), body=(0.4, -0.2)) for yaw in YAWS[::2])
    start = start_on_scaffold(fitted, frames, 2_000, 0)
    expression = np.array([1.0, 0.8, 0.9, 0.7, 0.6, 1.0], np.float32)
    coefficients = np.zeros(len(fitted.head.names))
    coefficients[[fitted.head.columns[name] for name in names[1:]]] = expression[1:]
    moved = start.scaffold.vertices(torch.from_numpy(expression)).numpy()
    num = len(fitted.mesh.neutral)
    np.testing.assert_allclose(moved[:num], fitted.mesh.vertices(coefficients), atol=1e-6)
    assert np.abs(moved[:num] - fitted.mesh.neutral).max() > 0.02
    np.testing.assert_allclose(moved[num:], start.scaffold.neutral[num:].numpy())

    places, num_head = start.seated.places, len(fitted.head.triangles)
    assert len(start.xyz) == len(places.triangle) == len(start.seated.log_scale) == 2_000
    on_body = places.triangle >= num_head
    assert 100 < on_body.sum() < 1_000 and not start.scaffold.is_of_head[num_head:].any()
    assert (start.scaffold.seen[num_head:] == 1).all()
    seats = start.scaffold.seats(places)
    red = rgb_to_dc(torch.tensor([1.0, 0, 0]))
    aside = start.xyz[:, 0].abs()
    beside_the_head = on_body & (aside > 0.27) & (aside < 0.33)
    assert beside_the_head.sum() > 30
    # But for its rim.
    is_red = (seats.color[beside_the_head] - red).abs().amax(dim=1) < 0.05
    assert is_red.float().mean() > 0.8
    # All are where they may be.
    torch.testing.assert_close(start.scaffold.confined(places, start.xyz), start.xyz)
    again = start_on_scaffold(fitted, frames, 2_000, 0)
    assert torch.equal(again.xyz, start.xyz) and torch.equal(again.seated.rotation, start.seated.rotation)


def test_an_empty_matte_is_an_error(fitted):
    frames = Frames([make_frame(fitted, 0)._replace(matte=torch.zeros(SIZE, SIZE))])
    with pytest.raises(ValueError):
        start_on_scaffold(fitted, frames, 100, 0)


# The files


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A file of the small head that is taken for the real one."""
    path = tmp_path / "head.npz"
    np.savez(path, **small_arrays())
    monkeypatch.setattr(fitted_head, "find_head", lambda folder, quiet: path)
    return path


def write_head(root, **changes):
    person = make_person(np.full(6, 0.5))
    document = {"model": small_head().signature, "person": person.to_json(), **changes}
    (root / "head.json").write_text(json.dumps(document))
    return person


def test_a_fitted_head_is_read_with_its_coefficients_in_the_clips_order(tmp_path, models):
    person = write_head(tmp_path)
    names = ["mouthPucker", "unheardOf", "jawOpen"]
    found = find_fitted_head(tmp_path, names, None, quiet=True)
    mesh = person.mesh(small_head())
    np.testing.assert_allclose(found.mesh.neutral, mesh.neutral, atol=1e-4)
    columns = small_head().columns
    assert found.columns.tolist() == [columns["mouthPucker"], -1, columns["jawOpen"]]
    np.testing.assert_allclose(found.shapes[2], mesh.shapes[columns["jawOpen"]], atol=1e-4)
    assert (found.shapes[1] == 0).all() and found.unit == pytest.approx(person.scale)


@pytest.mark.parametrize(
    ("changes", "names", "message"),
    [
        (None, ["jawOpen"], r"head\.json: missing; .*prepare\.py --track-only"),
        ({}, None, r"exp_names: missing"),
        ({"model": {"name": "another", "sha256": "0"}}, ["jawOpen"], r"head\.json: fitted with .*another"),
        ({"person": {"identity": [1]}}, ["jawOpen"], r"head\.json: expected what prepare\.py writes"),
        ({}, ["pca0", "pca1"], r"exp_names: none is a coefficient of"),
    ],
)
def test_what_is_wrong_with_a_fitted_head_is_said_in_one_line(tmp_path, models, changes, names, message):
    if changes is not None:
        write_head(tmp_path, **changes)
    with pytest.raises(UserError, match=message) as error:
        find_fitted_head(tmp_path, names, None, quiet=True)
    assert "\n" not in str(error.value) and str(tmp_path) in str(error.value)


def start_of(root, *flags):
    flags = ["--preset", "best", "--device", "cpu", "--quiet", "--initial_gaussians", "500", *flags]
    config = parse_train_args(["-s", str(root), "-m", str(root / "run"), *flags])
    return fitted_head_of(config, open_data(config, torch.device("cpu")).clip, None)


def test_without_a_fitted_head_a_run_says_so_and_begins_as_before(tmp_path):
    root = write_clip(tmp_path / "clip", num_frames=4)
    found, note = start_of(root)
    assert found is None and "without a head model" in note and "head.json: missing" in note
    assert "\n" not in note
    assert start_of(root, "--no-scaffold") == (None, "")
    with pytest.raises(UserError, match=r"head\.json: missing"):
        start_of(root, "--scaffold")


def test_with_a_fitted_head_a_run_begins_on_it(tmp_path, models):
    root = write_clip(tmp_path / "clip", num_frames=4, width=96, height=96)
    with edited_json(root) as document:
        document["exp_names"] = ["jawOpen", "mouthPucker", "eyeBlinkLeft", "browInnerUp", "unheardOf"]
    write_head(root)
    found, note = start_of(root)
    assert note == "" and found.shapes.shape[0] == 5
    config = parse_train_args(["-s", str(root), "-m", str(root / "run"), "--quiet", "--device", "cpu"])
    assert on_scaffold(config).start.initial_gaussians == 14_000
    given = parse_train_args(["-s", str(root), "-m", str(root / "run"), "--initial_gaussians", "500"])
    given = on_scaffold(given)
    assert given.start.initial_gaussians == 500 and given.optimization.max_gaussians == 24_000
    start = scaffold_start_on(found, given, open_data(given, torch.device("cpu")))
    assert len(start.xyz) == 500 and start.scaffold.shapes.shape[0] == 5


def test_a_run_on_a_scaffold_resumes_exactly_and_is_rendered_without_the_models_file(
    tmp_path, models, capsys
):
    root = write_clip(tmp_path / "clip", num_frames=6, width=64, height=64)
    with edited_json(root) as document:
        document["exp_names"] = ["jawOpen", "mouthPucker", "eyeBlinkLeft", "browInnerUp", "unheardOf"]
    write_head(root)
    flags = ["-s", str(root), "--preset", "quick", "--device", "cpu", "--quiet", "--iterations", "12"]
    flags += ["--initial_gaussians", "300", "--warm_up", "2", "--densification_interval", "4"]
    flags += ["--densify_from_iter", "3", "--densify_until_iter", "11", "--checkpoint_iterations", "6"]
    train.main([*flags, "-m", str(tmp_path / "a")])
    checkpoint = tmp_path / "a/checkpoints/iteration_6.safetensors"
    train.main([*flags, "-m", str(tmp_path / "b"), "--start_checkpoint", str(checkpoint)])
    name = "model/iteration_12.safetensors"
    whole, resumed = (load_checkpoint(tmp_path / run / name).tensors for run in "ab")
    assert whole.keys() == resumed.keys() and "scaffold.neutral" in whole
    for key, value in whole.items():
        assert torch.equal(value, resumed[key]), key
    models.unlink()
    (root / "head.json").unlink()
    render.main(["-m", str(tmp_path / "a"), "--novel_view", "--num_frames", "3", "--quiet"])
    assert len(list((tmp_path / "a/novel_view").rglob("renders/*.png"))) == 3
    with pytest.raises(SystemExit) as stopped:
        render.main(["-m", str(tmp_path / "a"), "--novel_view", "--light", "--quiet"])
    assert stopped.value.code == 2 and "no light form yet" in capsys.readouterr().err
    export.main(["-m", str(tmp_path / "a"), "--device", "cpu", "--quiet"])
    assert "a/light/iteration_12.safetensors: " in capsys.readouterr().out
    render.main(["-m", str(tmp_path / "a"), "--novel_view", "--light", "--num_frames", "3", "--quiet"])
    assert len(list((tmp_path / "a/novel_view/light_12").rglob("renders/*.png"))) == 3
    with pytest.raises(SystemExit) as stopped:
        train.main([*flags, "-m", str(tmp_path / "c"), "--start_checkpoint", str(checkpoint)])
    assert stopped.value.code == 2
