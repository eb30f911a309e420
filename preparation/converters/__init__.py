"""Data sets of others turned into this layout: a reader for each of theirs, one record, one writer.

record.py          the record that every reader returns: pictures, cameras, head poses, expressions
insta.py           INSTA
flashavatar.py     FlashAvatar
flame_frames.py    a file for each frame: metrical-tracker's .frame, flame-head-tracker's .npz
vhap.py            VHAP's export and GaussianAvatars' data, with any number of cameras
imavatar.py        IMavatar, PointAvatar, SplattingAvatar, MonoGaussianAvatar
nerfblendshape.py  NeRFBlendShape and talking-head NeRFs with expressions
files.py           JSON, arrays, torch files and meshes, read without running anything
flame_pose.py      the head's motion from FLAME's parameters or meshes, without FLAME's file
common_camera.py   one set of intrinsics for all pictures
convert.py         the writer
"""
