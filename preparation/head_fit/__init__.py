"""The head model fitted to a clip: who it is, and pose, expression and gaze in every frame.

head_fit.py          what is found, and head.json
landmark_model.py    the detector's landmarks as points of the head model, and what they are worth
expression_prior.py  what expressions are like before a frame is seen
bounded_steps.py     Gauss-Newton steps that keep coefficients within bounds
person_fit.py        identity, poses and expressions of some frames, solved jointly from landmarks
frame_fit.py         pose and expression of every frame, from landmarks, of a known person
atlas.py             the face laid flat: texels that move with the head model
follower.py          one frame fitted to the clip's texture, by optical flow and landmarks
pixel_fit.py         a whole clip refined on its pixels, the depth of the face mended
outline.py           skull, ears and neck fitted to the mattes' outline
outline_prior.py     how skulls, ears and necks differ
finishing.py         what follows the fit on the pixels: depth taken over, outline
score_map.py         from the detector's scores to coefficients, learned from a solved clip
"""
