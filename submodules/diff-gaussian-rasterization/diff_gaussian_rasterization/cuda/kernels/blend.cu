/* Blending of tiles, forward and backward.

A warp draws a patch of 8 x 4 pixels (times PIXELS, so many a lane), and walks the tile's sorted list by itself:
32 splats at a time, each lane keeps one if its outline meets the patch, and those kept are drawn by the whole
warp. So a warp does no work for splats that miss its patch, and waits for no other.

blend_forward: a block per tile. Sorts the tile's list (tile_list.cuh), keeps the order for backward, blends.
blend_backward: walks front to back again, with the same decisions (splat_alpha, blend_step): what lies behind a
splat is the total minus what has been seen, so that forward saves nothing per pixel. A warp adds up a splat's
gradients over its pixels and adds the sums to the splat's row by atomics: their order, and so the last digits
of gradients, differ from run to run.

A list that has overflowed holds not all of its tile's splats. Its tile is drawn all the same, from all splats
of the view, which is slow, and its count is written to `overflow`, in the host's memory. */
#include "tile_list.cuh"

/* INVERSE_DEPTH, of the compiler's options: whether 1 / z is blended and not z. */
#define PATCH_WIDTH 8
#define PATCH_HEIGHT 4 /* times PIXELS */

struct TileLists {
    const float4 *splats;      /* [B, N, 3] */
    const int *radii;          /* [B, N] */
    const uint32 *tile_counts; /* [B, T] */
    const uint64 *lists;       /* [B, T, capacity] */
    uint32 *orders;            /* [B, T, capacity] Gaussians, sorted: written by forward */
    int num, tiles_x, tiles_y, capacity, width, height;
};

struct Images {
    float *image, *depth, *alpha; /* [B, 3, H, W], [B, H, W], [B, H, W] */
};

struct BlendForward {
    TileLists tiles;
    Images out;
    const float *background; /* [3], null: black */
    volatile int *overflow;
    int sort_capacity;
};

struct BlendBackward {
    TileLists tiles;
    Images out, v_out; /* v_out: null where there is no gradient */
    float *v_rows;     /* [B, N, 12]: SplatSums, zero where a Gaussian is drawn (project.cu) */
};

struct Stage { /* what a warp has kept of 32 splats, in shared memory */
    float4 rows[3 * 32];
    uint32 gaussians[32];
};

/* Calls visit(splat, gaussian), with the whole warp, for the splats of a list that meet a patch of pixels, until
   finished() is true for every lane. */
template <class Visit, class Finished>
static __device__ __forceinline__ void walk(const uint32 *order, int count, const float4 *splats, int left, int top,
                                            int height, Stage *stage, Visit visit, Finished finished) {
    int lane = threadIdx.x % 32;
    uint32 gaussian = 0;
    float4 a = {}, b = {}, c = {};
    auto fetch = [&](int i) {
        if (i >= count) return;
        gaussian = order[i];
        const float4 *row = splats + 3 * (long long)gaussian;
        a = row[0], b = row[1], c = row[2];
#if INVERSE_DEPTH
        c.w = 1 / c.w; /* z, which is blended; lists are sorted already */
#endif
    };
    fetch(lane);
    for (int start = 0; start < count; start += 32) {
        bool keep = start + lane < count && touches_pixels(splat_of(a, b, c), left, top, PATCH_WIDTH, height);
        uint32 kept = __ballot_sync(ALL_LANES, keep);
        if (keep) {
            int place = __popc(kept & ((1u << lane) - 1));
            stage->rows[3 * place] = a, stage->rows[3 * place + 1] = b, stage->rows[3 * place + 2] = c;
            stage->gaussians[place] = gaussian;
        }
        fetch(start + 32 + lane); /* the next, while these are drawn */
        __syncwarp();
        int num = __popc(kept);
        for (int i = 0; i < num; i++)
            visit(splat_of(stage->rows[3 * i], stage->rows[3 * i + 1], stage->rows[3 * i + 2]), stage->gaussians[i]);
        __syncwarp(); /* all have read the stage */
        if (__all_sync(ALL_LANES, finished())) return;
    }
}

/* Where the patch of a warp lies, and the pixels of this lane. */
template <int PIXELS>
struct Patch {
    static constexpr int height = PATCH_HEIGHT * PIXELS;
    static constexpr int warps = TILE * TILE / (32 * PIXELS); /* in a tile */
    int left, top, x, y;                                      /* y: of the lane's first pixel; PATCH_HEIGHT apart */

    __device__ Patch(int tile_x, int tile_y, int warp) {
        int lane = threadIdx.x % 32, columns = TILE / PATCH_WIDTH;
        left = TILE * tile_x + warp % columns * PATCH_WIDTH;
        top = TILE * tile_y + warp / columns * height;
        x = left + lane % PATCH_WIDTH, y = top + lane / PATCH_WIDTH;
    }
};

template <class Visit>
static __device__ __forceinline__ void for_each_listed(const uint64 *list, int count, int threads, Visit visit) {
    for (int i = threadIdx.x; i < count; i += threads) visit(list[i]);
}

template <class Visit>
static __device__ __forceinline__ void for_each_on_tile(const TileLists &t, int view, int tile_x, int tile_y, int threads,
                                                        Visit visit) {
    for (int g = threadIdx.x; g < t.num; g += threads) {
        long long row = (long long)view * t.num + g;
        if (t.radii[row] == 0) continue;
        Splat s = splat_of(t.splats[3 * row], t.splats[3 * row + 1], t.splats[3 * row + 2]);
        if (touches_pixels(s, TILE * tile_x, TILE * tile_y, TILE, TILE)) visit(depth_key(s.z, g));
    }
}

static __device__ __forceinline__ float *channel(float *image, int view, int channels, int k, int pixels) {
    return image + ((long long)view * channels + k) * pixels;
}

extern "C" __global__ void __launch_bounds__(TILE *TILE / FORWARD_PIXELS)
    blend_forward(const __grid_constant__ BlendForward a) {
    constexpr int P = FORWARD_PIXELS, THREADS = TILE * TILE / P;
    extern __shared__ __align__(16) unsigned char shared[];
    const TileLists &t = a.tiles;
    int view = blockIdx.y, tile_x = blockIdx.x % t.tiles_x, tile_y = blockIdx.x / t.tiles_x, warp = threadIdx.x / 32;
    long long tile = (long long)view * t.tiles_x * t.tiles_y + blockIdx.x;
    int count = t.tile_counts[tile];
    const float4 *splats = t.splats + 3 * (long long)view * t.num;
    uint32 *kept_order = t.orders + tile * t.capacity;
    bool overflowed = count > t.capacity;
    if (overflowed && threadIdx.x == 0) *a.overflow = count;

    /* The stages lie over the keys, which are dead once sorted. */
    Stage *stage = reinterpret_cast<Stage *>(shared) + warp;
    int key_bytes = max(8 * a.sort_capacity, (int)sizeof(Stage) * (THREADS / 32));
    SortSpace space = {reinterpret_cast<uint64 *>(shared), reinterpret_cast<uint32 *>(shared + key_bytes), a.sort_capacity};

    Patch<P> patch(tile_x, tile_y, warp);
    float transmittance[P], red[P] = {}, green[P] = {}, blue[P] = {}, depth[P] = {};
    for (int p = 0; p < P; p++) /* negative: the pixel has ended */
        transmittance[p] = patch.x < t.width && patch.y + PATCH_HEIGHT * p < t.height ? 1 : -1;

    auto visit = [&](Splat s, uint32) {
#pragma unroll
        for (int p = 0; p < P; p++) {
            float d, y;
            float alpha = splat_alpha(&s, patch.x + 0.5f, patch.y + PATCH_HEIGHT * p + 0.5f, &d, &y);
            float weight = blend_step(alpha, &transmittance[p]);
            red[p] = fmaf(weight, s.red, red[p]);
            green[p] = fmaf(weight, s.green, green[p]);
            blue[p] = fmaf(weight, s.blue, blue[p]);
            depth[p] = fmaf(weight, s.z, depth[p]);
        }
    };
    auto finished = [&] {
        bool all = true;
        for (int p = 0; p < P; p++) all = all && transmittance[p] < 0;
        return all;
    };
    auto draw = [&](const uint32 *order, int num, int before) {
        if (!overflowed)
            for (int i = threadIdx.x; i < num; i += THREADS) kept_order[before + i] = order[i];
        walk(order, num, splats, patch.left, patch.top, patch.height, stage, visit, finished);
        /* A list that is kept is sorted to its end. */
        return num == count || !overflowed || !__syncthreads_and(finished());
    };
    if (overflowed)
        for_sorted_parts<THREADS>([&](auto f) { for_each_on_tile(t, view, tile_x, tile_y, THREADS, f); }, space, draw);
    else if (count)
        for_sorted_parts<THREADS>([&](auto f) { for_each_listed(t.lists + tile * t.capacity, count, THREADS, f); }, space,
                                  draw);

    float background[3] = {0, 0, 0};
    if (a.background)
        for (int k = 0; k < 3; k++) background[k] = a.background[k];
    int pixels = t.width * t.height;
    for (int p = 0; p < P; p++) {
        int y = patch.y + PATCH_HEIGHT * p, i = y * t.width + patch.x;
        if (patch.x >= t.width || y >= t.height) continue;
        float through = fabsf(transmittance[p]);
        channel(a.out.image, view, 3, 0, pixels)[i] = fmaf(through, background[0], red[p]);
        channel(a.out.image, view, 3, 1, pixels)[i] = fmaf(through, background[1], green[p]);
        channel(a.out.image, view, 3, 2, pixels)[i] = fmaf(through, background[2], blue[p]);
        channel(a.out.depth, view, 1, 0, pixels)[i] = depth[p];
        channel(a.out.alpha, view, 1, 0, pixels)[i] = 1 - through;
    }
}

/* Sums ten values over a warp: halves the values with every exchange of lanes, 12 shuffles instead of 50. Sum k
   ends in the lane for which sum_of_lane() is k. */
static __device__ __forceinline__ float sum_ten(const float (&values)[10]) {
    int lane = threadIdx.x % 32;
    auto exchange = [](bool upper, float low, float high, int lanes) {
        return (upper ? high : low) + __shfl_xor_sync(ALL_LANES, upper ? low : high, lanes);
    };
    float five[5], three[3], two[2];
#pragma unroll
    for (int k = 0; k < 5; k++) five[k] = exchange(lane & 16, values[k], values[k + 5], 16);
#pragma unroll
    for (int k = 0; k < 3; k++) three[k] = exchange(lane & 8, five[k], k < 2 ? five[k + 3] : 0, 8);
    two[0] = exchange(lane & 4, three[0], three[2], 4);
    two[1] = exchange(lane & 4, three[1], 0, 4);
    float one = exchange(lane & 2, two[0], two[1], 2);
    return one + __shfl_xor_sync(ALL_LANES, one, 1);
}

static __device__ __forceinline__ int sum_of_lane() { /* -1: none */
    int lane = threadIdx.x % 32, group = lane >> 3 & 1, upper = lane >> 2 & 1, last = lane >> 1 & 1;
    if (lane & 1 || (upper && (group || last))) return -1;
    return 5 * (lane >> 4) + 3 * group + 2 * upper + last;
}

extern "C" __global__ void __launch_bounds__(BACKWARD_THREADS) blend_backward(const __grid_constant__ BlendBackward a) {
    constexpr int P = BACKWARD_PIXELS, WARPS = BACKWARD_THREADS / 32, SORTED = 512;
    __shared__ Stage stages[WARPS];
    __shared__ uint64 keys[SORTED];
    __shared__ uint32 order[SORTED];
    const TileLists &t = a.tiles;
    const int parts = Patch<P>::warps / WARPS; /* blocks of a tile */
    int view = blockIdx.y, tile_index = blockIdx.x / parts;
    int tile_x = tile_index % t.tiles_x, tile_y = tile_index / t.tiles_x, warp = threadIdx.x / 32;
    long long tile = (long long)view * t.tiles_x * t.tiles_y + tile_index;
    int count = t.tile_counts[tile];
    if (count == 0) return;
    const float4 *splats = t.splats + 3 * (long long)view * t.num;
    float *v_rows = a.v_rows + 12 * (long long)view * t.num;
    bool overflowed = count > t.capacity;

    Patch<P> patch(tile_x, tile_y, blockIdx.x % parts * WARPS + warp);
    int pixels = t.width * t.height, sum_index = sum_of_lane();
    float transmittance[P], rest[P], v_red[P], v_green[P], v_blue[P], v_depth[P];
    for (int p = 0; p < P; p++) {
        int y = patch.y + PATCH_HEIGHT * p, i = y * t.width + patch.x;
        bool inside = patch.x < t.width && y < t.height;
        auto read = [&](float *image, int channels, int k) {
            return inside && image ? channel(image, view, channels, k, pixels)[i] : 0.0f;
        };
        transmittance[p] = inside ? 1 : -1;
        v_red[p] = read(a.v_out.image, 3, 0), v_green[p] = read(a.v_out.image, 3, 1);
        v_blue[p] = read(a.v_out.image, 3, 2), v_depth[p] = read(a.v_out.depth, 1, 0);
        /* What the loss holds of the pixel: the sum of weight x value, and of what is behind all splats. */
        rest[p] = read(a.out.depth, 1, 0) * v_depth[p] - (1 - read(a.out.alpha, 1, 0)) * read(a.v_out.alpha, 1, 0);
        rest[p] += read(a.out.image, 3, 0) * v_red[p] + read(a.out.image, 3, 1) * v_green[p];
        rest[p] += read(a.out.image, 3, 2) * v_blue[p];
    }

    auto visit = [&](Splat s, uint32 gaussian) {
        float sums[10] = {};
        bool any = false;
#pragma unroll
        for (int p = 0; p < P; p++) {
            float d, y, before = transmittance[p];
            float alpha = splat_alpha(&s, patch.x + 0.5f, patch.y + PATCH_HEIGHT * p + 0.5f, &d, &y);
            float weight = blend_step(alpha, &transmittance[p]);
            if (weight > 0) {
                any = true;
                float value = fmaf(s.red, v_red[p], fmaf(s.green, v_green[p], fmaf(s.blue, v_blue[p], s.z * v_depth[p])));
                rest[p] = fmaf(-weight, value, rest[p]);
                sums[6] = fmaf(weight, v_red[p], sums[6]);
                sums[7] = fmaf(weight, v_green[p], sums[7]);
                sums[8] = fmaf(weight, v_blue[p], sums[8]);
                sums[9] = fmaf(weight, v_depth[p], sums[9]);
                if (alpha < ALPHA_MAX) { /* no gradient where capped */
                    float g = alpha * (before * value - __fdividef(rest[p], 1 - alpha));
                    float g_d = g * d, g_y = g * y;
                    sums[0] += g, sums[1] += g_d, sums[2] += g_y;
                    sums[3] = fmaf(g_d, d, sums[3]), sums[4] = fmaf(g_d, y, sums[4]), sums[5] = fmaf(g_y, y, sums[5]);
                }
            }
        }
        if (!__any_sync(ALL_LANES, any)) return;
        float sum = sum_ten(sums);
        if (sum_index >= 0) atomicAdd(v_rows + 12 * (long long)gaussian + sum_index, sum);
    };
    auto finished = [&] {
        bool all = true;
        for (int p = 0; p < P; p++) all = all && transmittance[p] < 0;
        return all;
    };
    auto draw = [&](const uint32 *sorted, int num, int) {
        walk(sorted, num, splats, patch.left, patch.top, patch.height, &stages[warp], visit, finished);
        return !__syncthreads_and(finished());
    };
    if (overflowed)
        for_sorted_parts<BACKWARD_THREADS>(
            [&](auto f) { for_each_on_tile(t, view, tile_x, tile_y, BACKWARD_THREADS, f); }, {keys, order, SORTED}, draw);
    else
        walk(t.orders + tile * t.capacity, count, splats, patch.left, patch.top, patch.height, &stages[warp], visit, finished);
}
