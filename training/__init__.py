"""What train.py leans on: order of frames, loss, evaluation, planning, checkpoints of a run, reports."""
