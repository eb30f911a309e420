"""A training run, and what only training needs.

start.py         from the options to a session: data, first Gaussians, plan
session.py       the run as train.py's loop sees it: next view, report, scores, files
state.py         what a run consists of at one moment, and its checkpoints
step.py          draw, compare, back-propagate, move; captured_step.py replays it as a CUDA graph
augmentation.py  what becomes of a training frame; side_views.py and inflation.py: views that no frame shows
loss.py sampler.py averaging.py planning.py evaluation.py run_folder.py     one idea each
"""
