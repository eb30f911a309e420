/* A scaffold, and where Gaussians sit on it (scene/scaffold.py). N Gaussians, T triangles, M vertices. */
#pragma once
#include "common.cuh"

/* What the corners of a triangle have, values [M, 3], at barycentric weights. */
DEVICE Vec on_triangle(const float *values, const int *corners, Vec weights) {
    return weights.x * vec(values + 3 * corners[0]) +
           (weights.y * vec(values + 3 * corners[1]) + weights.z * vec(values + 3 * corners[2]));
}

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
