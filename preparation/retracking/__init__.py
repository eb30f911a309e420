"""The head of a data set that exists, tracked anew with the head model: `prepare.py --track-only`.

retrack.py     what happens, and in which order it is written
tracked.py     the head model fitted to the data set's pictures
documents.py   transforms.json as it will be, report.json, and notes
"""
