/* A scaffold, and where Gaussians sit on it (scene/scaffold.py). N Gaussians, T triangles, M vertices. */
#pragma once
#include "common.cuh"

struct Places {
    const int *triangle;      /* [N] */
    const float *barycentric; /* [N, 3] */
};

struct Mesh {
    const int *triangles;     /* [T, 3] */
    const float *neutral;     /* [M, 3] */
    const float *rest_frames; /* [T, 3, 3] */
    const float *rest_areas;  /* [T] */
    const float *limits;      /* [T, 3] */
    const unsigned char *is_of_head; /* [T] */
    const float *seen;        /* [T] */
    const float *color;       /* [M, 3] */
};
