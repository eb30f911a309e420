"""Parsing by a small head of our own: an ellipsoid with a neck and shoulders, and a person painted by it."""

import cv2
import numpy as np
import pytest

from parametric_head.drawing import draw_mesh
from parametric_head.model import ParametricHead
from preparation.geometry.camera import Camera
from preparation.geometry.rigid import exp_so3
from preparation.segmentation.head_parsing import HeadParser
from preparation.segmentation.parsing import BACKGROUND, HEAD, NECK, TORSO

SIZE, CM_TO_UNITS = 256, 0.03
CAMERA = Camera(800.0, np.array([128.0, 118.0]))
SKIN, HAIR, COAT = (210, 155, 125), (90, 50, 20), (30, 40, 160)


def surface(place, num_rows: int = 25, num_columns: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and outward triangles of a surface around the y axis; place(height 0..1, azimuth): points."""
    height, azimuth = np.meshgrid(np.linspace(0, 1, num_rows), np.linspace(-np.pi, np.pi, num_columns))
    points = place(height, azimuth).reshape(-1, 3)
    corner = (np.arange(num_columns - 1)[:, None] * num_rows + np.arange(num_rows - 1)).reshape(-1, 1)
    ways = ([0, num_rows, 1], [num_rows, num_rows + 1, 1])
    return points, np.concatenate([corner + np.array(way) for way in ways])


def skull(height, azimuth):
    """An ellipsoid from the chin's underside, y = -8 cm, to y = 14."""
    polar = np.pi * height
    flat = np.sin(polar)
    return np.stack(
        [7.5 * flat * np.sin(azimuth), 3 - 11 * np.cos(polar), 1 + 9 * flat * np.cos(azimuth)], axis=-1
    )


def throat(height, azimuth):
    """A neck that widens to shoulders, from y = -18 cm to y = -3."""
    y = -18 + 15 * height
    radius = 5 + 7 * np.clip((-12 - y) / 6, 0, 1)
    return np.stack([radius * np.sin(azimuth), y, -1 + 0.7 * radius * np.cos(azimuth)], axis=-1)


@pytest.fixture(scope="module")
def head() -> ParametricHead:
    parts = [surface(skull), surface(throat)]
    num = len(parts[0][0])
    vertices = np.concatenate([points for points, _ in parts]).astype(np.float32)
    triangles = np.concatenate([parts[0][1], parts[1][1] + num]).astype(np.int32)
    brows = np.abs(vertices[:num] - [0, 5, 9]).sum(axis=1).argmin()
    no_shapes = np.zeros((0, len(vertices), 3), np.float32)
    return ParametricHead(
        neutral=vertices,
        triangles=triangles,
        triangle_part=np.repeat([0, 1], [len(parts[0][1]), len(parts[1][1])]).astype(np.uint8),
        part_names=("face", "head_neck"),
        part_vertices=np.array([[0, num], [num, len(vertices)]], np.int32),
        uv=np.zeros((1, 2), np.float16),
        triangle_uv=np.zeros_like(triangles),
        identity=no_shapes,
        expression=no_shapes,
        names=(),
        landmarks68=np.full(68, brows, np.int32),
        sclera_iris_ranges=np.zeros((4, 2), np.int32),
        upper_teeth=np.zeros(2, np.int32),
        lower_teeth=np.zeros(2, np.int32),
        digest="",
    )


def place(head: ParametricHead, yaw: float = 0.0) -> np.ndarray:
    """The mesh [V, 3] in camera coordinates; yaw in degrees."""
    turn = exp_so3(np.array([0.0, np.radians(yaw), 0.0]))
    return (CM_TO_UNITS * head.neutral @ turn.T * [1, -1, -1] + [0, 0, 3.5]).astype(np.float32)


def pixel(x: float, y: float) -> tuple[int, int]:
    """Column and row of a place x cm to the right and y cm up on the picture, at the head's depth."""
    scale = CAMERA.focal * CM_TO_UNITS / 3.5
    return round(CAMERA.center[0] + scale * x), round(CAMERA.center[1] - scale * y)


class Person:
    """A picture and its matte: a coat, the head's mesh in skin colour, short hair; more can be painted."""

    def __init__(self, vertices: np.ndarray, head: ParametricHead) -> None:
        self.frame = np.full((SIZE, SIZE, 3), (60, 90, 70), np.uint8)
        self.matte = np.zeros((SIZE, SIZE), np.float32)
        drawn = draw_mesh(vertices, head.triangles, CAMERA.focal, CAMERA.center, (SIZE, SIZE))
        is_head = head.triangle_part[drawn.triangle] == 0
        self.fill([(-18, -30), (-18, -15), (18, -15), (18, -30)], COAT)
        self.paint((drawn.triangle >= 0) & (np.arange(SIZE)[:, None] < pixel(0, -13)[1]), SKIN)
        hat = np.zeros((SIZE, SIZE), np.uint8)
        cv2.ellipse(hat, pixel(0, 9), (70, 52), 0, 180, 360, 1, -1)
        self.paint(hat > 0, HAIR)
        self.is_skull = is_head & (drawn.triangle >= 0)

    def paint(self, mask: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
        self.frame[mask] = color
        self.matte[mask] = 1
        return mask

    def fill(self, corners: list[tuple[float, float]], color: tuple[int, int, int]) -> np.ndarray:
        """Paint a polygon of places in cm; returns its mask [H, W]."""
        mask = np.zeros((SIZE, SIZE), np.uint8)
        cv2.fillPoly(mask, [np.array([pixel(*corner) for corner in corners])], 1)
        return self.paint(mask > 0, color)

    def hang_hair(self, color: tuple[int, int, int] = HAIR) -> np.ndarray:
        """Hair from the temples beside the neck over the shoulders, on both sides; its mask [H, W]."""
        sides = [[(7 * s, 10), (11 * s, 8), (11 * s, -17), (6 * s, -17), (6 * s, 0)] for s in (-1, 1)]
        return np.logical_or(*(self.fill(side, color) for side in sides))


def parse(head: ParametricHead, person: Person, vertices: np.ndarray) -> np.ndarray:
    parser = HeadParser(head, CAMERA)
    parser.learn(person.frame, person.matte, vertices)
    return parser(person.frame, person.matte, vertices)


def where(parsing: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    return (parsing == color).all(axis=-1)


def at(parsing: np.ndarray, x: float, y: float) -> tuple[int, int, int]:
    column, row = pixel(x, y)
    return tuple(parsing[row, column].tolist())


def num_pieces(mask: np.ndarray) -> int:
    return cv2.connectedComponents(mask.astype(np.uint8))[0] - 1


@pytest.mark.parametrize("yaw", [-40, 0, 25])
def test_head_neck_and_coat_of_turned_heads(head, yaw):
    vertices = place(head, yaw)
    person = Person(vertices, head)
    parsing = parse(head, person, vertices)
    found = where(parsing, HEAD)
    # All of the skull's picture but the strip along the line, which is softened by a pixel or two.
    inside = cv2.erode(person.is_skull.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    above_ears = np.arange(SIZE)[:, None] < pixel(0, 0)[1]
    assert found[inside & above_ears].all()
    assert at(parsing, 0, 15) == HEAD
    assert at(parsing, 0, -11) == NECK
    assert at(parsing, 15, -17) == TORSO
    assert tuple(parsing[5, 5]) == BACKGROUND
    assert num_pieces(found) == 1
    assert set(map(tuple, parsing.reshape(-1, 3).tolist())) <= {HEAD, NECK, TORSO, BACKGROUND}


def test_jaw_line_turns_with_the_head(head):
    """Below the ear that a turned head shows is neck, at the height where its chin still is head."""
    for yaw, side in ((-35, 1), (35, -1)):
        vertices = place(head, yaw)
        parsing = parse(head, Person(vertices, head), vertices)
        assert at(parsing, -4 * side, -6.2) == HEAD
        assert at(parsing, 4 * side, -6.2) == NECK


def test_long_hair_is_head_beside_neck_and_over_shoulders(head):
    vertices = place(head)
    person = Person(vertices, head)
    hair = person.hang_hair()
    found = where(parse(head, person, vertices), HEAD)
    # Votes of a window of 0.6 cm round the corners of what is painted.
    assert found[hair].mean() > 0.95
    assert num_pieces(found) == 1


def test_a_coat_in_the_colour_of_short_hair_is_torso(head):
    vertices = place(head)
    person = Person(vertices, head)
    person.fill([(-18, -30), (-18, -15), (18, -15), (18, -30)], HAIR)
    parsing = parse(head, person, vertices)
    assert at(parsing, 15, -17) == TORSO and at(parsing, -10, -18) == TORSO
    assert at(parsing, 0, 15) == HEAD


def test_a_hat_in_the_colour_of_the_coat_is_head(head):
    vertices = place(head)
    person = Person(vertices, head)
    parser = HeadParser(head, CAMERA)
    parser.learn(person.frame, person.matte, vertices)
    hat = person.fill([(-9, 9), (-7, 17), (7, 17), (9, 9)], COAT)
    assert where(parser(person.frame, person.matte, vertices), HEAD)[hat].all()


def test_ears_that_the_mesh_lacks_are_head(head):
    vertices = place(head)
    person = Person(vertices, head)
    ear = person.fill([(7, 4), (8.5, 4), (8.5, 0), (7, -1)], SKIN)
    assert where(parse(head, person, vertices), HEAD)[ear].mean() > 0.97


def test_a_beard_is_head(head):
    vertices = place(head)
    person = Person(vertices, head)
    beard = person.fill([(-4, -3), (4, -3), (3, -9.5), (-3, -9.5)], HAIR)
    assert where(parse(head, person, vertices), HEAD)[beard].mean() > 0.9


def test_a_mesh_that_is_off_by_millimetres_moves_the_map_no_further(head):
    vertices = place(head)
    person = Person(vertices, head)
    person.hang_hair()
    right = where(parse(head, person, vertices), HEAD)
    off = where(parse(head, person, vertices + np.float32([0.4 * CM_TO_UNITS, 0.3 * CM_TO_UNITS, 0])), HEAD)
    assert (right & off).sum() / (right | off).sum() > 0.97


def test_holes_and_islands_go_to_what_surrounds_them(head):
    vertices = place(head)
    person = Person(vertices, head)
    parser = HeadParser(head, CAMERA)
    parser.learn(person.frame, person.matte, vertices)
    # A clasp in the hair, a brooch of skin on the coat, a lock of hair that lies on the coat.
    for place_cm, color in (((0, 14), COAT), ((14, -18), SKIN), ((-14, -18), HAIR)):
        x, y = place_cm
        person.fill([(x - 1, y - 1), (x - 1, y + 1), (x + 1, y + 1), (x + 1, y - 1)], color)
    parsing = parser(person.frame, person.matte, vertices)
    assert at(parsing, 0, 14) == HEAD
    assert at(parsing, 14, -18) == TORSO and at(parsing, -14, -18) == TORSO


def test_a_head_outside_the_picture_leaves_no_head(head):
    vertices = place(head)
    person = Person(vertices, head)
    parser = HeadParser(head, CAMERA)
    parser.learn(person.frame, person.matte, vertices)
    parsing = parser(person.frame, person.matte, vertices + np.float32([9.0, 0, 0]))
    assert not where(parsing, HEAD).any()
