"""The folder that is made: what lies where in it, and how it is written.

layout.py             where the files are; what may be in the folder of a data set in the making
transforms.py         transforms.json and tracking.npz: cameras, poses, expressions
frames.py             the frames of the video, cut out
images_and_arrays.py  image and .npz files
"""
