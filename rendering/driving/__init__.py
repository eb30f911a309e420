"""What moves an avatar's face besides its own clip: another person's footage, files of face trackers, a line.

sequence.py       coefficients over time, whoever made them (`DrivingSequence`)
live_link.py      CSV of Live Link Face, read and written
json_formats.py   Audio2Face, and names with frames of weights (BEAT, LAM)
data_set.py       a folder with transforms.json, and its pictures
head_angles.py    yaw, pitch and roll of a head, and its rotation
reading.py        which reader a path needs
retarget.py       from one face to another: names, rest, range
reenactment.py    the views that render.py draws of all this
speech/           from sound alone: mouth, blinks and turns of the head
"""
