import numpy as np

from preparation.data_set.frames import write_frames
from preparation.data_set.images_and_arrays import read_image
from preparation.data_set.layout import Layout
from preparation.geometry.camera import Crop
from preparation.video import open_video, read_frames
from tests.preparation.synthetic_head import read_number


def test_images_are_the_window_of_every_other_frame_and_finished_ones_stay(clip, tmp_path):
    layout, video, crop = Layout(tmp_path), open_video(clip.path), Crop(0, 0, 200)
    layout.image(3).parent.mkdir()
    layout.image(3).write_bytes(b"finished")
    write_frames(video, layout, np.array([1, 3, 6]), 2, crop, 200, quiet=True)
    assert sorted(path.name for path in layout.image(0).parent.iterdir()) == ["1.jpg", "3.jpg", "6.jpg"]
    assert layout.image(3).read_bytes() == b"finished"
    frames = list(read_frames(video))
    for image_id in (1, 6):
        image = read_image(layout.image(image_id))
        assert read_number(image) == 2 * image_id
        # JPEG at quality 95.
        assert np.abs(image.astype(int) - frames[2 * image_id][:200, :200]).mean() < 3
