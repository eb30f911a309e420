"""Where things are: what every other wing says poses, cameras and landmarks with.

rigid.py           rigid motions of points: poses, rotation vectors, projection, alignment
camera.py          the camera of a clip: focal length where none is given, the window of all pictures
landmark_names.py  which of the face's 478 landmarks are what
head_frame.py      the axes, origin and unit of a head
pose_alignment.py  two trackers' poses compared, their head frames brought together
"""
