import numpy as np
import pytest

from scene.cameras import Camera


@pytest.fixture
def camera() -> Camera:
    """A camera on the z axis, 2 units before the head, looking at the origin."""
    camera_to_world = np.eye(4)
    camera_to_world[2, 3] = 2.0
    return Camera.from_camera_to_world(camera_to_world, 40.0, 40.0, 16.0, 12.0, 32, 24)
