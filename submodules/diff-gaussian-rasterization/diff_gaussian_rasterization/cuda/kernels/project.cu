/* Projection and colour of Gaussians and the tiles' lists, forward; the Gaussians' gradients, backward.

A thread does one Gaussian. project_forward writes its splat and radius and enters it in the list of every tile
that its outline meets; lists have room for `capacity` entries, and a count beyond that tells blending that
the list is not complete. project_backward turns the sums of blend_backward into gradients; where several views
share the Gaussians, it sums over the views.

Rows of sums are zero whenever blend_backward starts, with no fill of their own: project_forward writes zeros,
and project_backward puts them back once it has read, for another backward pass of the same rendering. Rows of
Gaussians that are not drawn (radius 0) are neither written nor read. */
#include "device.cuh"

#define FEW_TILES 32 /* a splat over more tiles is entered by its whole warp */

struct ProjectForward {
    GaussianPointers gaussians;
    CameraPointers camera;
    float4 *splats;      /* [B, N, 3] */
    int *radii;          /* [B, N] */
    uint32 *tile_counts; /* [B, T], zero */
    uint64 *lists;       /* [B, T, capacity] depth keys */
    float4 *v_rows;      /* [B, N, 3]: set to zero for blend_backward; null: there will be none */
    int num, per_view;   /* per_view: whether every view has Gaussians of its own */
    int tiles_x, tiles_y, capacity;
};

static __device__ __forceinline__ void clear_sums(float4 *row) {
    row[0] = row[1] = row[2] = make_float4(0, 0, 0, 0);
}

struct TileBox {
    int left, top, width, height; /* tiles */
};

static __device__ __forceinline__ TileBox tile_box(const Splat &s, const Extent &extent, int tiles_x, int tiles_y) {
    /* of the pixel centres within the extent; compared as floats, which huge splats do not overflow */
    float left = fmaxf(ceilf(s.u - extent.half_width - 0.5f), 0), top = fmaxf(ceilf(s.v - extent.half_height - 0.5f), 0);
    float right = fminf(floorf(s.u + extent.half_width - 0.5f), TILE * tiles_x - 1.0f);
    float bottom = fminf(floorf(s.v + extent.half_height - 0.5f), TILE * tiles_y - 1.0f);
    TileBox box = {0, 0, 0, 0};
    if (left > right || top > bottom) return box;
    box.left = (int)left / TILE, box.top = (int)top / TILE;
    box.width = (int)right / TILE + 1 - box.left, box.height = (int)bottom / TILE + 1 - box.top;
    return box;
}

/* Enters a splat in the lists of every `step`-th tile of its box. */
static __device__ __forceinline__ void enter(const ProjectForward &a, int view, const Splat &s, TileBox box, uint64 key,
                                             int first, int step) {
    int num = box.width * box.height;
    for (int start = first; start < num; start += 4 * step) {
        long long tiles[4];
        uint32 places[4];
#pragma unroll
        for (int k = 0; k < 4; k++) { /* several counters at once: each takes its time to answer */
            int i = start + k * step, x = box.left + i % box.width, y = box.top + i / box.width;
            tiles[k] = ((long long)view * a.tiles_y + y) * a.tiles_x + x;
            places[k] = a.capacity;
            if (i < num && touches_pixels(s, TILE * x, TILE * y, TILE, TILE))
                places[k] = atomicAdd(a.tile_counts + tiles[k], 1u);
        }
#pragma unroll
        for (int k = 0; k < 4; k++)
            if (places[k] < (uint32)a.capacity) a.lists[tiles[k] * a.capacity + places[k]] = key;
    }
}

extern "C" __global__ void __launch_bounds__(PROJECT_THREADS) project_forward(const __grid_constant__ ProjectForward a) {
    int g = blockIdx.x * PROJECT_THREADS + threadIdx.x, view = blockIdx.y, lane = threadIdx.x % 32;
    Splat splat = {};
    TileBox box = {0, 0, 0, 0};
    if (g < a.num) {
        Camera camera = load_camera(a.camera, view);
        long long row = (long long)view * a.num + g, source = a.per_view ? row : g;
        Gaussian gaussian = load_shape(a.gaussians, source);
        Extent extent;
        int radius = 0;
        if (project_shape(&gaussian, &camera, &splat, &extent)) {
            load_color(a.gaussians, source, &gaussian);
            if (project_color(&gaussian, &camera, &splat)) {
                radius = extent.radius;
                box = tile_box(splat, extent, a.tiles_x, a.tiles_y);
                store_splat(a.splats + 3 * row, splat);
                if (a.v_rows) clear_sums(a.v_rows + 3 * row);
            }
        }
        a.radii[row] = radius;
    }
    int num_tiles = box.width * box.height;
    if (num_tiles <= FEW_TILES) enter(a, view, splat, box, depth_key(splat.z, g), 0, 1);

    uint32 wide = __ballot_sync(ALL_LANES, num_tiles > FEW_TILES);
    for (; wide; wide &= wide - 1) {
        int from = __ffs(wide) - 1;
        auto read = [&](float value) { return __shfl_sync(ALL_LANES, value, from); };
        Splat s = {};
        s.u = read(splat.u), s.v = read(splat.v), s.z = read(splat.z);
        s.half_a = read(splat.half_a), s.slope = read(splat.slope), s.half_c = read(splat.half_c);
        s.reach = read(splat.reach), s.tilt = read(splat.tilt);
        TileBox its = {__shfl_sync(ALL_LANES, box.left, from), __shfl_sync(ALL_LANES, box.top, from),
                       __shfl_sync(ALL_LANES, box.width, from), __shfl_sync(ALL_LANES, box.height, from)};
        enter(a, view, s, its, depth_key(s.z, g - lane + from), lane, 32);
    }
}

struct ProjectBackward {
    GaussianPointers gaussians;
    CameraPointers camera;
    const int *radii; /* [B, N] */
    float4 *v_rows;   /* [B, N, 3]: SplatSums, in rows of 12; left zero */
    /* as the Gaussians; null where not wanted */
    float *v_means, *v_opacities, *v_scales, *v_rotations, *v_sh, *v_colors, *v_cov3d;
    float *v_means2d; /* [B, N, columns] */
    float *v_camera;  /* [B, 16], zero: rotation (9), translation (3), fx fy cx cy */
    int num, num_views, per_view, columns;
};

static __device__ __forceinline__ SplatSums load_sums(const float4 *row) {
    float4 a = row[0], b = row[1], c = row[2];
    SplatSums s;
    s.g = a.x, s.g_d = a.y, s.g_y = a.z, s.g_dd = a.w, s.g_dy = b.x, s.g_yy = b.y;
    s.red = b.z, s.green = b.w, s.blue = c.x, s.z = c.y;
    return s;
}

static __device__ __forceinline__ void store_vec3(float *rows, long long row, Vec3 value) {
    rows[3 * row] = value.x, rows[3 * row + 1] = value.y, rows[3 * row + 2] = value.z;
}

static __device__ __forceinline__ void store_gradient(const ProjectBackward &a, long long row, const GaussianGradient &v) {
    if (a.v_means) store_vec3(a.v_means, row, v.mean);
    if (a.v_opacities) a.v_opacities[row] = v.opacity;
#if GIVEN_COV3D
    if (a.v_cov3d)
        for (int k = 0; k < 6; k++) a.v_cov3d[6 * row + k] = v.cov3d[k];
#else
    if (a.v_scales) store_vec3(a.v_scales, row, v.scale);
    if (a.v_rotations)
        reinterpret_cast<float4 *>(a.v_rotations)[row] =
            make_float4(v.rotation.w, v.rotation.x, v.rotation.y, v.rotation.z);
#endif
#if SH_BASES == 0
    if (a.v_colors) store_vec3(a.v_colors, row, v.color);
#elif SH_BASES % 4 == 0
    if (a.v_sh) {
        float4 *quads = reinterpret_cast<float4 *>(a.v_sh) + row * (3 * SH_BASES / 4);
#pragma unroll
        for (int k = 0; k < 3 * SH_BASES / 4; k++)
            quads[k] = make_float4(v.sh[4 * k], v.sh[4 * k + 1], v.sh[4 * k + 2], v.sh[4 * k + 3]);
    }
#else
    if (a.v_sh)
#pragma unroll
        for (int k = 0; k < 3 * SH_BASES; k++) a.v_sh[row * (3 * SH_BASES) + k] = v.sh[k];
#endif
}

static __device__ __forceinline__ void add_to_camera(float *v_camera, const CameraGradient &v) {
    const float *values = reinterpret_cast<const float *>(&v); /* 16 floats, in the order of v_camera */
#pragma unroll
    for (int k = 0; k < 16; k++) {
        float sum = sum_over_warp(values[k]);
        if (threadIdx.x % 32 == 0 && sum != 0) atomicAdd(v_camera + k, sum);
    }
}

extern "C" __global__ void __launch_bounds__(PROJECT_THREADS) project_backward(const __grid_constant__ ProjectBackward a) {
    int g = blockIdx.x * PROJECT_THREADS + threadIdx.x;
    int first = a.per_view ? blockIdx.y : 0, last = a.per_view ? first + 1 : a.num_views;
    long long source = a.per_view ? (long long)first * a.num + g : g;
    Gaussian gaussian = {};
    GaussianGradient v = {};
    bool loaded = false;
    for (int view = first; view < last; view++) {
        long long row = (long long)view * a.num + g;
        bool drawn = g < a.num && a.radii[row] > 0;
        CameraGradient v_camera = {};
        float v_u = 0, v_v = 0;
        if (drawn) {
            if (!loaded) {
                gaussian = load_shape(a.gaussians, source);
                load_color(a.gaussians, source, &gaussian);
                loaded = true;
            }
            Camera camera = load_camera(a.camera, view);
            SplatSums sums = load_sums(a.v_rows + 3 * row);
            clear_sums(a.v_rows + 3 * row);
            project_backward_one(&gaussian, &camera, &sums, &v, &v_camera, &v_u, &v_v);
        }
        if (a.v_means2d && g < a.num) {
            a.v_means2d[row * a.columns] = v_u * a.camera.width / 2;
            a.v_means2d[row * a.columns + 1] = v_v * a.camera.height / 2;
            if (a.columns == 3) a.v_means2d[row * a.columns + 2] = 0;
        }
        if (a.v_camera) add_to_camera(a.v_camera + 16 * view, v_camera);
    }
    if (g < a.num) store_gradient(a, source, v);
}

struct FamilyIntrinsics {
    const float *viewmatrix, *projmatrix; /* [4, 4] world to camera, world to clip; row-major, both transposed */
    float *intrinsics;                    /* [4] */
    int width, height;
};

/* Focal lengths and principal point in pixels from the family's two matrices: the rows of world-to-clip are
   those of the projection times the camera's rotation, which is orthonormal. */
extern "C" __global__ void family_intrinsics(const __grid_constant__ FamilyIntrinsics a) {
    auto row = [](const float *transposed, int i) { return vec3(transposed[i], transposed[4 + i], transposed[8 + i]); };
    Vec3 right = row(a.viewmatrix, 0), down = row(a.viewmatrix, 1), forward = row(a.viewmatrix, 2);
    Vec3 clip_x = row(a.projmatrix, 0), clip_y = row(a.projmatrix, 1), clip_w = row(a.projmatrix, 3);
    float scale = 1 / dot(clip_w, forward);
    a.intrinsics[0] = dot(clip_x, right) * scale * a.width / 2;
    a.intrinsics[1] = dot(clip_y, down) * scale * a.height / 2;
    a.intrinsics[2] = (dot(clip_x, forward) * scale + 1) * a.width / 2;
    a.intrinsics[3] = (dot(clip_y, forward) * scale + 1) * a.height / 2;
}
