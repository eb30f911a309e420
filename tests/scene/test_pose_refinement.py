import torch

from scene.pose_refinement import PoseRefinement, rigid_motion


def test_a_rigid_motion_is_rigid_and_turns_by_its_vector():
    motion = rigid_motion(torch.tensor([0.0, 0.2, 0.0, 1.0, 2.0, 3.0], dtype=torch.float64))
    rotation = motion[:3, :3]
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(3, dtype=torch.float64))
    angle = torch.tensor(0.2, dtype=torch.float64)
    expected = torch.stack([angle.sin(), torch.zeros(()), angle.cos()])
    torch.testing.assert_close(rotation @ torch.tensor([0, 0, 1.0], dtype=torch.float64), expected)
    assert motion[:3, 3].tolist() == [1, 2, 3] and motion[3].tolist() == [0, 0, 0, 1]


def test_gradient_of_a_rigid_motion_is_that_of_differences():
    vector = 0.1 * torch.randn(6, dtype=torch.float64)
    assert torch.autograd.gradcheck(rigid_motion, (vector.requires_grad_(),))
    assert torch.autograd.gradcheck(rigid_motion, (torch.zeros(6, dtype=torch.float64).requires_grad_(),))


def test_a_pose_is_unchanged_at_the_start_and_only_its_own_row_learns():
    poses, pose = PoseRefinement(5), torch.eye(4)
    torch.testing.assert_close(poses(2, pose), pose)
    optimizer = torch.optim.SparseAdam(list(poses.parameters()), lr=1e-2)
    poses(2, pose)[0, 3].backward()
    optimizer.step()
    moved = poses.corrections.weight.detach().abs().sum(dim=1) > 0
    assert moved.tolist() == [False, False, True, False, False]


def test_a_common_motion_of_all_frames_changes_nothing():
    poses, pose = PoseRefinement(5), torch.eye(4)
    with torch.no_grad():
        poses.corrections.weight += torch.tensor([0.1, 0.2, 0.3, 1, 2, 3])
    torch.testing.assert_close(poses(3, pose), pose)
    assert max(poses.largest()) < 1e-6


def test_corrections_cannot_do_what_the_driving_signal_could():
    signals = torch.randn(20, 3)
    poses = PoseRefinement(20)
    poses.keep_free_of_(signals)
    with torch.no_grad():
        poses.corrections.weight.copy_(signals @ torch.randn(3, 6) + torch.randn(6))
    assert max(poses.largest()) < 1e-5
    torch.testing.assert_close(poses(7, torch.eye(4)), torch.eye(4), rtol=0, atol=1e-5)
    with torch.no_grad():
        poses.corrections.weight[7] += 0.1
    assert min(poses.largest()) > 0.05  # of a single frame it is another matter
