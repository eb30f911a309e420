"""A face that moves now: packets of phones and programs, a camera, and how they become the avatar's.

frame.py           one moment of a performer's face, whoever sent it
ifacialmocap.py    packets of iFacialMocap
live_link_udp.py   packets of Live Link Face
vmc.py             packets of the VMC protocol; osc.py reads the OSC under it
receiver.py        a UDP port on which these arrive
footage.py         a camera or a video file, followed by a face tracker
calibration.py     from the performer's face to the avatar's, with a neutral face that can be set
"""
