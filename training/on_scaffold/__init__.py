"""How a run begins on the head model that prepare.py fitted: a scaffold, and Gaussians seated on it.

fitted_head.py   head.json and the model's file: the person's mesh, its coefficients in the clip's order
views.py         the mesh as a few training frames see it
hair.py          how thick hair is over the skull, from the mattes
texture.py       colours of the mesh from the frames; what no frame shows is filled in
seats.py         where Gaussians start, and how far they may go
build.py         all of it in order
"""
