"""Pictures and files of a trained avatar.

drawing.py              a head, seen in a row of views: for evaluation and for render.py
views.py                which views: frames of a clip, a path around the head, or a head that is driven
sets.py                 sets of views, and views of a head that is driven
novel_views.py          the avatar's own camera, still or along a path
paths.py                paths of a camera, and pairs of eyes
driving/                what drives a face besides its own clip
drawn_motion.py         what the face did, for other programs
test_time_tracking.py   frames fitted through the renderer before they are drawn
writer.py               what a rendered set leaves on disk
export.py               files for other programs: splats, cameras
baking.py               the light form of an avatar
"""
