"""Which of MediaPipe's 478 landmarks are what. Facts of its face mesh; left and right are the person's."""

import numpy as np

FOREHEAD_TOP, CHIN = 10, 152
# On the face's outline, just in front of the ears.
RIGHT_EAR, LEFT_EAR = 234, 454
# The outer corners of the eyes.
RIGHT_EYE_CORNER, LEFT_EYE_CORNER = 33, 263
NOSE_BASE = 2

_MIDLINE = (10, 151, 9, 8, 168, 6, 197, 195, 5, 4)
# Landmarks on bone, as they mirror each other: one of the right side below the one of the left side.
# In this order: forehead, temples, eye corners, bridge and sides of the nose, cheek bones.
# fmt: off
_RIGHT = (
    109, 67, 103, 54, 21, 108, 69, 104, 68,
    71, 162, 127, 234, 139, 34, 227, 143, 156,
    33, 133, 130, 243, 35, 124,
    193, 122, 196, 3, 236, 174, 188, 245, 114, 217, 198, 131, 51, 45, 134, 220,
    116, 117, 118, 119, 111, 123, 50, 101, 100,
)
_LEFT = (
    338, 297, 332, 284, 251, 337, 299, 333, 298,
    301, 389, 356, 454, 368, 264, 447, 372, 383,
    263, 362, 359, 463, 265, 353,
    417, 351, 419, 248, 456, 399, 412, 465, 343, 437, 420, 360, 281, 275, 363, 440,
    345, 346, 347, 348, 340, 352, 280, 330, 329,
)
# fmt: on
STABLE_PAIRS = np.column_stack([_RIGHT, _LEFT])  # [S, 2]
# Rigid with the skull: no mouth, lids or brows.
STABLE = np.array(sorted({*_MIDLINE, *STABLE_PAIRS.ravel()}))

# The outline from ear to ear along the jaw, and the whole of it.
JAW = np.array(
    [234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361, 323, 454]
)
OUTLINE = np.concatenate([JAW, [356, 389, 251, 284, 332, 297, 338, 10, 109, 67, 103, 54, 21, 162, 127]])
LIPS = np.array([61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185])
RIGHT_EYE = np.array([33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246])
LEFT_EYE = np.array([263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466])
RIGHT_BROW = np.array([70, 63, 105, 66, 107, 55, 65, 52, 53, 46])
LEFT_BROW = np.array([300, 293, 334, 296, 336, 285, 295, 282, 283, 276])
