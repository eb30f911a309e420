"""The head in every frame: its landmarks, its pose, its expression.

landmarks.py             what a detector finds in a frame; the track of a clip
face_finding.py          the face in every frame, and which frames can be used
face_cache.py            what was seen, in files, for a run that is taken up again
clip_checks.py           clips that cannot work, refused with the numbers that say why
upright.py               whether the picture is upright, or how it must be turned
shots.py                 cuts to another shot or another person
covered.py               frames in which something covers the face
poses_from_landmarks.py  the person's landmarks, all poses, crop and camera, from a track
bundle_adjustment.py     the solver behind it: one rigid shape and a pose for every frame
poses_from_pixels.py     the poses refined on the pixels of the whole clip
texture_alignment.py     the aligner behind it: one frame laid onto the texture of the face
face_texture.py          what that shares with the head model's: textures, flow, depth from flow
relief.py                the surface it works on: the rigid part of the face
smoothing.py             poses and expressions smoothed in time without lag
"""
