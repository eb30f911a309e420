"""How the torso moves in front of the camera, apart from the head.

motion.py   corners of the clothes followed from picture to picture, and the motion that fits them
clothes.py  where the clothes are in the files of a data set; the motion added to one that exists
"""
