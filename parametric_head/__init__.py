"""A parametric head that anyone may use: ICT-FaceKit light (USC ICT, MIT licence), as numpy arrays.

mesh.py         triangles of any mesh: normals, which face the camera
model.py        the arrays of the packed file: mean head, identity and expression shapes
model_file.py   the packed file: found, or fetched once and packed; its content checked
packing.py      from the published OBJ files to the packed arrays
landmarks.py    where MediaPipe's landmarks lie on the mesh
zones.py        face, skull, ears and neck
surface.py      displacements of landmarks spread smoothly over the skin
person.py       a person: identity, place and unit; the mesh at any expression
drawing.py      a mesh as pictures: depth, parts, interpolated values

None of the model's data are part of this project: they come from the user's own download.
"""
