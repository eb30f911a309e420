"""From a video to a data set: what `prepare.py` is made of.

Poses are head-to-camera with OpenCV axes (x right, y down, z forward) until `dataset_files.py` writes them.
The head frame has its origin between the ears, x to the image's right, y up, z out of the face; a head's
radius is about 0.3. Pixel i spans [i, i + 1). F frames, P points, E expression coefficients, H W image.
"""
