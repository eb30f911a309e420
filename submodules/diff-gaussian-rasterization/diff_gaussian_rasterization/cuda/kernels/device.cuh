/* What several kernels share: how Gaussians, cameras and splats lie in memory, and sums over a warp.

Letters: B views, N Gaussians, T tiles. Splats are rows of 12 floats, so that a warp reads them as three
vectors. All arguments of a kernel are one struct, which cuda/driver.py packs in the order of its fields. */
#pragma once
#include "gaussian.h"

#define TILE 16 /* pixels, both ways */
#define ALL_LANES 0xffffffffu

typedef unsigned int uint32;
typedef unsigned long long uint64;

struct CameraPointers {
    const float *world_to_camera; /* [B, 4, 4], strides below */
    const float *intrinsics;      /* [B, 4] */
    int view_stride, row_stride, column_stride;
    int width, height;
    float near_plane;
};

struct GaussianPointers { /* each [N, ...] or [B, N, ...]; null where absent */
    const float *means, *opacities, *scales, *rotations, *sh, *colors, *cov3d;
};

static __device__ __forceinline__ Camera load_camera(const CameraPointers &from, int view) {
    const float *matrix = from.world_to_camera + (long long)view * from.view_stride;
    const float *k = from.intrinsics + 4 * view;
    auto entry = [&](int row, int column) { return matrix[row * from.row_stride + column * from.column_stride]; };
    auto row = [&](int i) { return vec3(entry(i, 0), entry(i, 1), entry(i, 2)); };
    Camera camera;
    camera.rotation.x = row(0), camera.rotation.y = row(1), camera.rotation.z = row(2);
    camera.translation = vec3(entry(0, 3), entry(1, 3), entry(2, 3));
    camera.fx = k[0], camera.fy = k[1], camera.cx = k[2], camera.cy = k[3];
    camera.width = from.width, camera.height = from.height, camera.near_plane = from.near_plane;
    return camera;
}

static __device__ __forceinline__ Vec3 load_vec3(const float *rows, long long row) {
    return vec3(rows[3 * row], rows[3 * row + 1], rows[3 * row + 2]);
}

static __device__ __forceinline__ Gaussian load_shape(const GaussianPointers &from, long long row) {
    Gaussian g;
    g.mean = load_vec3(from.means, row);
    g.opacity = from.opacities[row];
#if GIVEN_COV3D
    for (int k = 0; k < 6; k++) g.cov3d[k] = from.cov3d[6 * row + k];
#else
    g.scale = load_vec3(from.scales, row);
    float4 q = reinterpret_cast<const float4 *>(from.rotations)[row];
    g.rotation.w = q.x, g.rotation.x = q.y, g.rotation.y = q.z, g.rotation.z = q.w;
#endif
    return g;
}

static __device__ __forceinline__ void load_color(const GaussianPointers &from, long long row, Gaussian *g) {
#if SH_BASES == 0
    g->color = load_vec3(from.colors, row);
#elif SH_BASES % 4 == 0
    const float4 *quads = reinterpret_cast<const float4 *>(from.sh) + row * (3 * SH_BASES / 4);
#pragma unroll
    for (int k = 0; k < 3 * SH_BASES / 4; k++) {
        float4 quad = quads[k];
        g->sh[4 * k] = quad.x, g->sh[4 * k + 1] = quad.y, g->sh[4 * k + 2] = quad.z, g->sh[4 * k + 3] = quad.w;
    }
#else
#pragma unroll
    for (int k = 0; k < 3 * SH_BASES; k++) g->sh[k] = from.sh[row * (3 * SH_BASES) + k];
#endif
}

static __device__ __forceinline__ void store_splat(float4 *row, const Splat &s) {
    row[0] = make_float4(s.u, s.v, s.half_a, s.slope);
    row[1] = make_float4(s.half_c, s.log2_opacity, s.reach, s.tilt);
    row[2] = make_float4(s.red, s.green, s.blue, s.z);
}

static __device__ __forceinline__ Splat splat_of(float4 a, float4 b, float4 c) {
    Splat s;
    s.u = a.x, s.v = a.y, s.half_a = a.z, s.slope = a.w;
    s.half_c = b.x, s.log2_opacity = b.y, s.reach = b.z, s.tilt = b.w;
    s.red = c.x, s.green = c.y, s.blue = c.z, s.z = c.w;
    return s;
}

static __device__ __forceinline__ float sum_over_warp(float value) {
    for (int lanes = 16; lanes; lanes /= 2) value += __shfl_xor_sync(ALL_LANES, value, lanes);
    return value;
}

/* Whether a splat's outline meets the pixel centres of a rectangle of pixels. */
static __device__ __forceinline__ bool touches_pixels(const Splat &s, int left, int top, int width, int height) {
    return touches(&s, left + 0.5f, top + 0.5f, left + width - 0.5f, top + height - 0.5f);
}

/* Front to back: by camera z, equal depths by index. Positive floats sort like their bits. */
static __device__ __forceinline__ uint64 depth_key(float z, int gaussian) {
    return (uint64)__float_as_uint(z) << 32 | (uint32)gaussian;
}
