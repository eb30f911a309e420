"""What a person looks at to see whether a data set is good.

contact_sheet.py     contact_sheet.png: frames with landmarks and axes, the head model, mattes, parsing maps
curves.py            curves.png: pose, expression and error over time
report_json.py       report.json: every number
head_section.py      its section on the head
head_measures.py     explained motion, lip and lid gaps, what the clip tells of depth, how far it turns
outline_measures.py  how far the head model's outline is from the matte's
overlay.py           the head model drawn over a frame
terminal.py          the report in a few lines
"""
