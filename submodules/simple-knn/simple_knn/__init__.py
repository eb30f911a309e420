"""Mean squared distance to the nearest neighbours; see `simple_knn._C`, the name that 3DGS code imports."""
