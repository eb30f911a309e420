"""The light form of a head: what it keeps, what it costs, and how a user gets it."""

from dataclasses import replace

import pytest
import torch

import export
import rendering.baking as baking
from rendering.light_scores import agreement, expected_loss
from scene import load_avatar
from scene.avatar import Avatar, save_avatar
from scene.blendshapes import OFFSET_SIZES
from scene.cameras import Camera, about_x, about_y
from scene.deformation import Deformation
from scene.light_file import packed_size
from scene.light_head import LightHead, Torso, features
from scene.torso import follow_torso, leave_torso
from scene.views import Drive
from tests.scene.heads import EXPRESSION_SIZE, make_head
from tests.scene.test_head_model import activate_everything
from utils.checkpoint import load_checkpoint, save_checkpoint
from utils.errors import UserError

POSE = torch.diag(torch.tensor([1.0, -1, -1, 1]))
POSE[2, 3] = 3.0
CAMERA = Camera(POSE, 150.0, 150.0, 32.0, 32.0, 64, 64)
NAMES = ("jawOpen", "eyeBlinkLeft", "mouthSmileLeft", "browInnerUp", "cheekPuff")


def make_avatar(head=None, **changes) -> Avatar:
    head = activate_everything(make_head(60, sh_degree=0, scaffold=True)) if head is None else head
    motion = torch.rand(8, EXPRESSION_SIZE, generator=torch.Generator().manual_seed(3))
    values = dict(neutral_expression=torch.zeros(EXPRESSION_SIZE), expression_names=NAMES, camera=CAMERA)
    values |= dict(background=torch.ones(3), iteration=7, motion=motion, picture_size=(64, 64))
    return Avatar(head=head.requires_grad_(False), **{**values, **changes})


def linear_head():
    """One whose mesh shifts as a whole, so that nothing turns or stretches, and that has learned nothing."""
    return linear_head_with()


def linear_head_with(**architecture):
    head = make_head(60, sh_degree=0, scaffold=True, **architecture)
    head.deforms = False
    head.scaffold.shapes.copy_(head.scaffold.shapes[:, :1].expand_as(head.scaffold.shapes))
    head.scaffold.ball_turns.zero_()
    return head


def bake(avatar, megabytes=3.0, yaw=180.0):
    return baking.bake(avatar, avatar.motion[::2], round(1e6 * megabytes), yaw)


def test_a_linear_motion_is_baked_exactly(monkeypatch):
    monkeypatch.setattr(baking, "LEAST_SHOWN", -1.0)
    monkeypatch.setattr(baking, "RIDGE", 1e-9)
    avatar = make_avatar(linear_head())
    light = bake(avatar).head
    for expression in (avatar.neutral_expression, avatar.expression(jawOpen=0.8, cheekPuff=0.3)):
        full, other = avatar.head(CAMERA, Drive(expression)), light(CAMERA, Drive(expression))
        # Places are rounded to a 127th of their component, colours to half precision.
        torch.testing.assert_close(other.means, full.means, atol=2e-3, rtol=0)
        for name in ("opacities", "scales", "rotations", "sh"):
            torch.testing.assert_close(getattr(other, name), getattr(full, name), atol=2e-3, rtol=2e-3)


def test_what_never_moves_has_no_component_and_less_bytes_have_fewer():
    light = bake(make_avatar(linear_head())).head
    assert {name for name, basis in light.bases.items() if len(basis.steps)} == {"xyz"}
    avatar = make_avatar()
    fine = bake(avatar)
    coarse = bake(avatar, (baking.HEADER_BYTES + 0.7 * packed_size(fine.head)) / 1e6)
    assert packed_size(coarse.head) <= 0.7 * packed_size(fine.head)
    assert coarse.step > fine.step and coarse.num_components < fine.num_components
    assert all((basis.values != 0).flatten(1).any(dim=1).all() for basis in coarse.head.bases.values())


def test_hidden_splats_are_left_out():
    head = linear_head()
    head.gaussians.xyz.data[:7] += torch.tensor([0, 50.0, 0])
    baked = bake(make_avatar(head))
    assert baked.num_hidden >= 7 and baked.head.num_splats == 60 - baked.num_hidden


def test_features_are_zero_at_rest_and_held_within_the_range():
    ranges = torch.tensor([[0.0, 0.0], [0.5, 2.0]])
    neutral = torch.tensor([0.1, 0.0])
    # Known to the left of the mean pose only; a code of 10 is one unit.
    torso = Torso.still(1)._replace(mean_pose=POSE[:3])
    torso.codes[:, 3] = torch.tensor([-4.0, -1.0])
    assert features(Drive(neutral), neutral, ranges, torso).abs().max() == 0
    expected = torch.tensor([0.9, 1.0, 0.4, 1.0])
    found = features(Drive(torch.ones(2)), neutral, ranges, torso)
    torch.testing.assert_close(found[:4], expected)
    assert found[4:].abs().max() == 0
    for shift, code in ((-0.2, -2.0), (-3.0, -4.0), (5.0, -1.0)):
        moved = POSE.clone()
        moved[0, 3] += shift
        of_pose = features(Drive(neutral, moved), neutral, ranges, torso)[4:]
        assert of_pose[3] == pytest.approx(code, abs=1e-5) and of_pose[-1] == 1
        assert of_pose.count_nonzero() == 2


def test_a_file_gives_the_same_splats_and_can_be_driven(tmp_path):
    avatar = make_avatar()
    light = bake(avatar).head
    path = tmp_path / "light.safetensors"
    save_avatar(replace(avatar, head=light), path)
    loaded = load_avatar(path)
    assert isinstance(loaded.head, LightHead) and loaded.expression_names == NAMES
    assert torch.equal(loaded.head.ranges, light.ranges) and loaded.head.bases.keys() == OFFSET_SIZES.keys()
    drive = Drive(loaded.expression(jawOpen=0.7), head_pose=POSE)
    splats = loaded.head(loaded.camera, drive)
    for a, b in zip(splats, light(CAMERA, drive), strict=True):
        assert a is b is None or torch.equal(a, b)
    assert not torch.equal(splats.means, loaded.head(CAMERA, loaded.expression()).means)


def test_a_light_form_is_near_the_full_head_where_it_was_not_fitted():
    avatar = make_avatar()
    light, rest = bake(avatar).head, replace(avatar, head=avatar.head)
    scores = agreement(avatar, light, avatar.motion[1::2])
    still = light(CAMERA, rest.neutral_expression)
    unmoved = agreement(avatar, lambda camera, expression: still, avatar.motion[1::2])
    assert (scores.front > unmoved.front + 3).all() and scores.alone.shape == (EXPRESSION_SIZE,)


def test_an_expected_loss_is_that_of_independent_errors():
    assert expected_loss(30.0, 30.0) == pytest.approx(3.0103, abs=1e-3)
    assert expected_loss(90.0, 30.0) < 1e-5


def test_damaged_bases_are_one_line(tmp_path):
    path = tmp_path / "light.safetensors"
    avatar = make_avatar()
    save_avatar(replace(avatar, head=bake(avatar).head), path)
    tensors, metadata = load_checkpoint(path)
    for damage in (tensors["xyz.values"][:5], torch.zeros(9, dtype=torch.uint8)):
        save_checkpoint(path, tensors | {"xyz.values": damage}, metadata)
        with pytest.raises(UserError, match="bases"):
            load_avatar(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"motion": None}, "no motion of its clip"),
        ({"head": make_head(5)}, "no head model under it"),
    ],
)
def test_an_avatar_without_a_light_form_says_why(changes, words):
    with pytest.raises(UserError, match=words):
        baking.check_bakeable(make_avatar(**changes))


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("architecture", [{}, dict(pose_conditioning=True, torso_membership=True)])
def test_a_light_form_is_made_where_the_avatar_is(device, architecture):
    """Also where the full head is drawn by kernels, and its poses count."""
    head = activate_everything(make_head(60, sh_degree=0, scaffold=True, **architecture))
    avatar = make_avatar(head).to(device)
    light = baking.bake(avatar, avatar.motion, 1_000_000, 50.0).head
    assert light.neutral_xyz.device.type == device
    scores = agreement(avatar, light, avatar.motion)
    assert scores.front.min() > 20 and scores.side.min() > 20


def test_too_small_a_size_says_what_is_needed():
    with pytest.raises(UserError, match=r"--max_megabytes: this avatar needs at least 0\.0"):
        bake(make_avatar(), 0.009)


def test_export_writes_a_file_says_its_size_and_refuses_it_as_a_source(tmp_path, capsys):
    source = tmp_path / "me.safetensors"
    save_avatar(make_avatar(), source)
    export.main(["-m", str(source), "--device", "cpu", "--quiet"])
    written = tmp_path / "me_light.safetensors"
    printed = capsys.readouterr().out
    assert f"{written}: {written.stat().st_size / 1e6:.2f} MB, " in printed
    assert "PSNR against the full avatar: " in printed and "(aim: at most 0.3)" in printed
    assert load_avatar(written).head.num_splats > 0
    with pytest.raises(SystemExit) as refusal:
        export.main(["-m", str(written), "--device", "cpu", "--quiet"])
    assert refusal.value.code == 2 and "in its light form already" in capsys.readouterr().err


def test_the_torso_follows_the_heads_pose_as_the_full_heads_does(monkeypatch):
    monkeypatch.setattr(baking, "LEAST_SHOWN", -1.0)
    head = linear_head_with(torso_prediction=True, torso_tracking=True)
    with torch.no_grad():
        head.mean_pose.copy_(POSE[:3])
        head.torso_map.copy_(0.3 * torch.randn(7, 6, generator=torch.Generator().manual_seed(5)))
    avatar = make_avatar(head)
    light = bake(avatar).head
    turned = POSE.clone()
    turned[:3, 3] += torch.tensor([0.05, -0.03, 0.1])
    for drive in (
        Drive(avatar.neutral_expression, turned),
        Drive(avatar.neutral_expression, turned, torso=turned @ POSE.inverse()),
    ):
        full, other = avatar.head(CAMERA, drive), light(CAMERA, drive)
        at_rest = light(CAMERA, avatar.neutral_expression)
        assert (other.means - at_rest.means).abs().max() > 0.02
        torch.testing.assert_close(other.means, full.means, atol=2e-3, rtol=0)
        turn = (other.rotations * full.rotations).sum(dim=1).abs()
        torch.testing.assert_close(turn, torch.ones_like(turn), atol=1e-4, rtol=0)


def posed_head():
    """One whose torso learned to shift with the head's place, and turns with it by a map."""
    head = linear_head_with(
        torso_membership=True, pose_conditioning=True, torso_prediction=True, torso_tracking=True
    )
    head.deforms = True
    generator = torch.Generator().manual_seed(6)
    with torch.no_grad():
        head.mean_pose.copy_(POSE[:3])
        head.torso_map.copy_(0.2 * torch.randn(7, 6, generator=generator))
        head.scaffold.is_of_head.fill_(False)
        for parameter in head.deformation.parameters():
            parameter.zero_()
        head.known_signals[:, EXPRESSION_SIZE:] = torch.tensor([[-2.0], [2.0]])
    return head


def test_what_the_full_head_learned_of_the_pose_is_baked(monkeypatch):
    """The oracle: a deformation that is one constant per unit of a shift in x and of a turn about y."""
    monkeypatch.setattr(baking, "LEAST_SHOWN", -1.0)
    monkeypatch.setattr(baking, "RIDGE", 1e-9)
    head = posed_head()
    push = torch.tensor([[0.02, 0.0, -0.01]])

    def learned(xyz, signals, shares=None):
        along = (signals[0, EXPRESSION_SIZE + 3] + signals[0, EXPRESSION_SIZE + 2]) * push
        return Deformation(along.expand_as(xyz), torch.zeros(len(xyz), 4), torch.zeros(len(xyz), 3))

    monkeypatch.setattr(head.deformation, "forward", learned)
    avatar = make_avatar(head)
    light = bake(avatar).head
    turned = POSE @ about_y(0.06).float()
    turned[:3, 3] += torch.tensor([0.1, 0.02, -0.05])
    for drive in (Drive(avatar.neutral_expression), Drive(avatar.expression(jawOpen=0.5), turned)):
        full, other = avatar.head(CAMERA, drive), light(CAMERA, drive)
        torch.testing.assert_close(other.means, full.means, atol=2e-3, rtol=0)
    unposed = light(CAMERA, Drive(avatar.expression(jawOpen=0.5), turned)._replace(head_pose=None))
    assert (unposed.means - full.means).norm(dim=1).min() > 0.01


def test_leaving_the_torso_inverts_following_it():
    generator = torch.Generator().manual_seed(1)
    xyz, rotation = torch.randn(9, 3, generator=generator), torch.randn(9, 4, generator=generator)
    motion = (about_y(0.4) @ about_x(-0.2)).float()
    motion[:3, 3] = torch.tensor([0.3, -0.1, 0.2])
    membership = torch.linspace(0, 1, 9)[:, None]
    unit = torch.nn.functional.normalize(rotation, dim=1)
    back, turned_back = leave_torso(*follow_torso(xyz, unit, membership, motion), membership, motion)
    torch.testing.assert_close(back, xyz, atol=1e-5, rtol=0)
    torch.testing.assert_close(turned_back, unit, atol=1e-5, rtol=0)


def test_files_that_know_nothing_of_poses_still_load(tmp_path):
    avatar = make_avatar(posed_head())
    path = tmp_path / "light.safetensors"
    light = bake(avatar).head
    save_avatar(replace(avatar, head=light), path)
    tensors, metadata = load_checkpoint(path)
    older = {name: value for name, value in tensors.items() if not name.startswith("torso.")}
    for name in OFFSET_SIZES:
        older[f"{name}.weights"] = older[f"{name}.weights"][:, : 2 * EXPRESSION_SIZE].contiguous()
    save_checkpoint(path, older, metadata)
    loaded, expression = load_avatar(path).head, avatar.expression(jawOpen=0.7)
    for drive in (Drive(expression), Drive(expression, POSE @ about_y(0.3).float())):
        torch.testing.assert_close(loaded(CAMERA, drive).means, light(CAMERA, expression).means)
