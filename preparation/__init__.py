"""From a video to a data set: what `prepare.py` is made of.

pipeline.py    the list of what happens to a video
steps.py       each of these steps
work.py        the record that they read and extend
video.py       what a video is, and its frames as a stream
tracking/      the head in every frame: landmarks, poses, expressions
segmentation/  the person in every frame: mattes, head, neck and torso
torso/         the torso's own motion
retracking/    the head of a data set that exists, tracked anew
data_set/      the folder that is made; data sets of others turned into one
report/        what a person looks at to see whether it is good
models/        the networks that find faces and people
geometry/      poses, cameras, the head frame: what all of these speak of

Poses are head-to-camera with OpenCV axes (x right, y down, z forward) until `data_set/transforms.py` writes
them. The head frame has its origin between the ears, x to the image's right, y up, z out of the face; the
radius of a head is about 0.3. Pixel i spans [i, i + 1). F frames, P points, E expression coefficients, H W
image.
"""
