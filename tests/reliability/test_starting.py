"""What a start costs for each frame of a clip."""

import numpy as np

from scene.dataset import FrameDataset
from scene.dataset_readers import read_clip
from tests.synthetic import write_clip


def test_poses_are_checked_and_inverted_together(tmp_path, monkeypatch):
    """As often for 40 frames as for 10: one by one, 20,000 took seconds."""

    def calls(num_frames: int) -> int:
        counts, root = [], write_clip(tmp_path / str(num_frames), num_frames)
        with monkeypatch.context() as patch:
            for name in ("inv", "det"):
                function = getattr(np.linalg, name)
                patch.setattr(np.linalg, name, lambda a, f=function: (counts.append(1), f(a))[1])
            FrameDataset(read_clip(root, check_data=False), range(num_frames))
        return len(counts)

    assert 0 < calls(10) == calls(40)
