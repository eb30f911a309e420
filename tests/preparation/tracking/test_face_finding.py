import numpy as np
import pytest

from preparation.tracking import face_cache, face_finding
from preparation.tracking.face_finding import track_faces
from preparation.tracking.landmarks import Face, LandmarkTrack, drop_blurred
from tests.preparation.synthetic_head import NAMES, StubTracker, expressions, write_number

SIZE, COUNT = 160, 30


def frames(count: int = COUNT, repeated: tuple[int, ...] = ()):
    random, picture = np.random.default_rng(0), None
    for index in range(count):
        if index not in repeated:
            picture = random.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
            write_number(picture, index)
        yield picture


def points(count: int = COUNT) -> np.ndarray:
    return np.random.default_rng(1).uniform(40, 120, (count, 6, 3))


def follow(source, tmp_path, faces=None, size=(SIZE, SIZE), known=None) -> LandmarkTrack:
    def make() -> StubTracker:
        return StubTracker(points() if known is None else known, expressions(COUNT), faces)

    return track_faces(source, size, make, tmp_path, COUNT, quiet=True)


def test_rows_are_in_order_and_in_pixels_of_the_video(tmp_path):
    # The frames were shrunk by two.
    track = follow(frames(), tmp_path, size=(2 * SIZE, 2 * SIZE))
    assert track.num_frames == COUNT and track.kept.all()
    assert np.allclose(track.landmarks, 2 * points(), atol=1e-3)
    assert np.allclose(track.coefficients, expressions(COUNT))
    assert track.coefficient_names == NAMES


def test_repeated_frames_are_dropped(tmp_path):
    track = follow(frames(repeated=(4, 5)), tmp_path)
    assert track.dropped == {4: "repeated frame", 5: "repeated frame"}


def test_a_face_that_leaves_the_frame_is_dropped(tmp_path):
    known = points()
    known[7, 0, 0] = -20
    assert follow(frames(), tmp_path, known=known).dropped == {7: "face leaves the frame"}


def test_a_much_smaller_second_face_does_not_count(tmp_path):
    class WithPoster(StubTracker):
        def find(self, frame):
            (face,) = super().find(frame)
            return [Face(0.3 * face.landmarks, face.coefficients), face]

    def make():
        return WithPoster(points(), expressions(COUNT))

    track = track_faces(frames(), (SIZE, SIZE), make, tmp_path, COUNT, quiet=True)
    assert track.kept.all()
    assert np.allclose(track.landmarks, points(), atol=1e-3)


def test_finished_chunks_are_not_looked_at_again(tmp_path, monkeypatch):
    monkeypatch.setattr(face_cache, "_CHUNK", 8)
    first = follow(frames(), tmp_path, faces={3: 0, 9: 2})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.npz", "16.npz", "8.npz"]

    class OnlyTheRest(StubTracker):
        def find(self, frame):
            found = super().find(frame)
            assert min(self.looked_at) >= 24
            return found

    def make():
        return OnlyTheRest(points(), expressions(COUNT))

    again = track_faces(frames(), (SIZE, SIZE), make, tmp_path, COUNT, quiet=True)
    assert again.dropped == first.dropped == {3: "no face", 9: "two faces"}
    assert np.array_equal(again.landmarks, first.landmarks, equal_nan=True)


def test_a_clip_of_many_chunks_is_the_same_as_one_of_one(tmp_path, monkeypatch):
    # There is a chunk without any face too.
    faces = {3: 0, **dict.fromkeys(range(8, 16), 0), 25: 2}
    one = follow(frames(repeated=(5,)), tmp_path / "one", faces)
    monkeypatch.setattr(face_cache, "_CHUNK", 8)
    many = follow(frames(repeated=(5,)), tmp_path / "many", faces)
    assert len(list((tmp_path / "many").iterdir())) == 3
    assert many.dropped == one.dropped and len(one.dropped) == 11
    for field in ("landmarks", "coefficients", "sharpness"):
        assert np.array_equal(getattr(many, field), getattr(one, field), equal_nan=True), field


def test_a_blurred_frame_is_dropped():
    sharpness = np.ones(10, np.float32)
    sharpness[6] = 0.05
    track = LandmarkTrack(np.zeros((10, 6, 3)), np.zeros((10, 3)), sharpness, NAMES)
    assert drop_blurred(track).dropped == {6: "blur (sharpness 0.05 of the median)"}


def test_sharpness_falls_with_blur():
    import cv2

    picture = next(frames())
    face = Face(points()[0] / SIZE, np.zeros(3))
    blurred = cv2.GaussianBlur(picture, (0, 0), 3)
    assert face_finding._sharpness(blurred, face) < 0.2 * face_finding._sharpness(picture, face)


def test_an_error_of_the_tracker_is_not_swallowed(tmp_path):
    class Broken(StubTracker):
        def find(self, frame):
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        track_faces(
            frames(), (SIZE, SIZE), lambda: Broken(points(), expressions(COUNT)), tmp_path, COUNT, quiet=True
        )
