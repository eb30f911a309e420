"""Which of MediaPipe's 478 landmarks are what. Facts of its face mesh; left and right are the person's."""

import numpy as np

FOREHEAD_TOP, CHIN = 10, 152
RIGHT_EAR, LEFT_EAR = 234, 454  # on the face's outline, just in front of the ears
NOSE_TIP = 4

_MIDLINE = (10, 151, 9, 8, 168, 6, 197, 195, 5, 4)
# Pairs (right, left) on bone: forehead, temples, eye corners, bridge and sides of the nose, cheek bones.
_PAIRS = (
    *((109, 338), (67, 297), (103, 332), (54, 284), (21, 251), (108, 337), (69, 299), (104, 333), (68, 298)),
    *(
        (71, 301),
        (162, 389),
        (127, 356),
        (234, 454),
        (139, 368),
        (34, 264),
        (227, 447),
        (143, 372),
        (156, 383),
    ),
    *((33, 263), (133, 362), (130, 359), (243, 463), (35, 265), (124, 353)),
    *(
        (193, 417),
        (122, 351),
        (196, 419),
        (3, 248),
        (236, 456),
        (174, 399),
        (188, 412),
        (245, 465),
        (114, 343),
    ),
    *((217, 437), (198, 420), (131, 360), (51, 281), (45, 275), (134, 363), (220, 440)),
    *(
        (116, 345),
        (117, 346),
        (118, 347),
        (119, 348),
        (111, 340),
        (123, 352),
        (50, 280),
        (101, 330),
        (100, 329),
    ),
)
STABLE_PAIRS = np.array(_PAIRS)  # [S, 2]
STABLE = np.array(sorted({*_MIDLINE, *STABLE_PAIRS.ravel()}))  # rigid with the skull: no mouth, lids or brows

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
