"""What of a picture is the person, and what of the person is head, neck and torso.

masks.py          mattes and parsing maps of a whole clip, written as files
matting.py        mattes of frames one after another, steady in time
guided_filter.py  a matte's edge put where the picture has one
onnx_matting.py   the user's own matting network
parsing.py        head, neck and torso, by a network's classes or by jaw line and colours
"""
