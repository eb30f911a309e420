"""Pictures and files of a trained avatar.

drawing.py              a head, seen in a row of views: for evaluation and for render.py
views.py                which views: frames of a clip, or a swing around the head
test_time_tracking.py   frames fitted through the renderer before they are drawn
writer.py, video.py     what a rendered set leaves on disk
export.py               files for other programs: splats, cameras
baking.py               the light form of an avatar
"""
