/* Blending of tiles, forward and backward.

A warp draws a patch of 8 x 4 pixels (times PIXELS, so many a lane), and walks the tile's sorted list by itself:
32 splats at a time, each lane keeps one if its outline meets the patch, and those kept are drawn by the whole
warp. So a warp does no work for splats that miss its patch, and waits for no other.

blend_forward: a block per tile. Sorts the tile's list (tile_list.cuh), keeps the order for backward, blends.
blend_backward: walks front to back again, with the same decisions (splat_alpha, blend_step): what lies behind a
splat is the total minus what has been seen, so that forward saves nothing per pixel. Sixteen splats at a time, a
warp adds up their gradients over its pixels (Batch) and adds the sums to the splats' rows by atomics: their
order, and so the last digits of gradients, differ from run to run.

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

static __device__ __forceinline__ Splat splat_of(const Stage &stage, int i) {
    return splat_of(stage.rows[3 * i], stage.rows[3 * i + 1], stage.rows[3 * i + 2]);
}

/* Calls draw_kept(stage, num), with the whole warp, for the splats of a list that meet a patch of pixels, at most 32
   at a time, until finished() is true for every lane. */
template <class DrawKept, class Finished>
static __device__ __forceinline__ void walk(const uint32 *order, int count, const float4 *splats, int left, int top,
                                            int height, Stage *stage, DrawKept draw_kept, Finished finished) {
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
        draw_kept(*stage, __popc(kept));
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
    if (overflowed && threadIdx.x == 0 && count > *a.overflow) *a.overflow = count; /* nearly the greatest */

    /* The stages lie over the keys, which are dead once sorted. */
    Stage *stage = reinterpret_cast<Stage *>(shared) + warp;
    int key_bytes = max(8 * a.sort_capacity, (int)sizeof(Stage) * (THREADS / 32));
    SortSpace space = {reinterpret_cast<uint64 *>(shared), reinterpret_cast<uint32 *>(shared + key_bytes), a.sort_capacity};

    Patch<P> patch(tile_x, tile_y, warp);
    float transmittance[P], red[P] = {}, green[P] = {}, blue[P] = {}, depth[P] = {};
    for (int p = 0; p < P; p++) /* negative: the pixel has ended */
        transmittance[p] = patch.x < t.width && patch.y + PATCH_HEIGHT * p < t.height ? 1 : -1;

    auto draw_kept = [&](const Stage &kept, int num) {
        for (int i = 0; i < num; i++) {
            Splat s = splat_of(kept, i);
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
        walk(order, num, splats, patch.left, patch.top, patch.height, stage, draw_kept, finished);
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

/* A batch of splats that a warp has been over, in shared memory: what backward sums over its pixels. Lanes write
   it as pixels and read it as splats, so that a sum of a splat stays in one lane: no exchanges of lanes, a few
   additions a pixel, since along a row and down the rows x and y are small whole numbers. */
#define BATCH 16 /* splats: half a warp, so that two lanes share the pixels of one */
#define GROUP 4  /* splats that backward takes at once, and the batch's places that it needs free */
#define PATCH_PIXELS 32

struct Batch {
    float2 terms[BATCH][PATCH_PIXELS + 1]; /* d loss / d exponent, and the weight; one more: other banks */
    float4 v_values[PATCH_PIXELS];         /* of the pixels: d loss / d (red, green, blue, z) */
    float4 places[BATCH];                  /* u, v, slope, and the Gaussian, of the splats */
    float sums[BATCH][12];                 /* SplatSums */
};

/* Adds a batch of `num` splats to the rows of their Gaussians. With i and j a pixel's column and row in the
   patch, d = first_d + i - slope j and y = first_y + j. */
static __device__ __forceinline__ void add_batch(Batch *batch, int num, int left, int top, float *v_rows) {
    constexpr int ROWS = PATCH_HEIGHT * BATCH / 32; /* a lane's share of the patch */
    int lane = threadIdx.x % 32, splat = lane % BATCH, first_row = lane / BATCH * ROWS;
    float g = 0, g_i = 0, g_j = 0, g_ii = 0, g_ij = 0, g_jj = 0, red = 0, green = 0, blue = 0, z = 0;
    __syncwarp(); /* all terms are written */
#pragma unroll
    for (int k = 0; k < ROWS; k++) {
        float row = 0, row_i = 0, row_ii = 0, j = first_row + k;
#pragma unroll
        for (int i = 0; i < PATCH_WIDTH; i++) {
            int pixel = (first_row + k) * PATCH_WIDTH + i;
            float2 terms = batch->terms[splat][pixel];
            float4 v = batch->v_values[pixel];
            row += terms.x, row_i = fmaf(i, terms.x, row_i), row_ii = fmaf(i * i, terms.x, row_ii);
            red = fmaf(terms.y, v.x, red), green = fmaf(terms.y, v.y, green);
            blue = fmaf(terms.y, v.z, blue), z = fmaf(terms.y, v.w, z);
        }
        g += row, g_i += row_i, g_ii += row_ii;
        g_j = fmaf(j, row, g_j), g_ij = fmaf(j, row_i, g_ij), g_jj = fmaf(j * j, row, g_jj);
    }
    auto whole = [](float share) {
        for (int lanes = BATCH; lanes < 32; lanes *= 2) share += __shfl_xor_sync(ALL_LANES, share, lanes);
        return share;
    };
    g = whole(g), g_i = whole(g_i), g_j = whole(g_j), g_ii = whole(g_ii), g_ij = whole(g_ij), g_jj = whole(g_jj);
    red = whole(red), green = whole(green), blue = whole(blue), z = whole(z);

    if (lane < num) { /* so at most BATCH */
        float4 place = batch->places[splat];
        float slope = place.z, first_y = top + 0.5f - place.y, first_d = fmaf(-slope, first_y, left + 0.5f - place.x);
        float g_e = fmaf(-slope, g_j, g_i), g_ej = fmaf(-slope, g_jj, g_ij); /* e = i - slope j */
        float g_ee = fmaf(-slope, g_ej, fmaf(-slope, g_ij, g_ii));
        float *sums = batch->sums[splat];
        sums[0] = g;
        sums[1] = fmaf(first_d, g, g_e);
        sums[2] = fmaf(first_y, g, g_j);
        sums[3] = fmaf(first_d, fmaf(first_d, g, 2 * g_e), g_ee);
        sums[4] = fmaf(first_d, fmaf(first_y, g, g_j), fmaf(first_y, g_e, g_ej));
        sums[5] = fmaf(first_y, fmaf(first_y, g, 2 * g_j), g_jj);
        sums[6] = red, sums[7] = green, sums[8] = blue, sums[9] = z;
    }
    __syncwarp();
    for (int k = lane; k < 10 * num; k += 32) { /* neighbouring lanes: the same row */
        int row = k / 10, column = k % 10;
        atomicAdd(v_rows + 12 * (long long)__float_as_uint(batch->places[row].w) + column, batch->sums[row][column]);
    }
    __syncwarp(); /* the batch may be written again */
}

extern "C" __global__ void __launch_bounds__(BACKWARD_THREADS, BACKWARD_BLOCKS) blend_backward(const __grid_constant__ BlendBackward a) {
    constexpr int WARPS = BACKWARD_THREADS / 32, SORTED = 256;
    __shared__ Stage stages[WARPS];
    __shared__ Batch batches[WARPS];
    __shared__ uint64 keys[SORTED];
    __shared__ uint32 order[SORTED];
    const TileLists &t = a.tiles;
    const int parts = Patch<1>::warps / WARPS; /* blocks of a tile */
    int view = blockIdx.y, tile_index = blockIdx.x / parts;
    int tile_x = tile_index % t.tiles_x, tile_y = tile_index / t.tiles_x, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    long long tile = (long long)view * t.tiles_x * t.tiles_y + tile_index;
    int count = t.tile_counts[tile];
    if (count == 0) return;
    const float4 *splats = t.splats + 3 * (long long)view * t.num;
    float *v_rows = a.v_rows + 12 * (long long)view * t.num;
    bool overflowed = count > t.capacity;

    Patch<1> patch(tile_x, tile_y, blockIdx.x % parts * WARPS + warp);
    Batch *batch = &batches[warp];
    int pixels = t.width * t.height, pixel = patch.y * t.width + patch.x, num = 0; /* num: splats in the batch */
    bool inside = patch.x < t.width && patch.y < t.height;
    auto read = [&](float *image, int channels, int k) {
        return inside && image ? channel(image, view, channels, k, pixels)[pixel] : 0.0f;
    };
    float transmittance = inside ? 1 : -1;
    float4 v = make_float4(read(a.v_out.image, 3, 0), read(a.v_out.image, 3, 1), read(a.v_out.image, 3, 2),
                           read(a.v_out.depth, 1, 0));
    batch->v_values[lane] = v;
    /* What the loss holds of the pixel: the sum of weight x value, and of what is behind all splats. */
    float rest = read(a.out.depth, 1, 0) * v.w - (1 - read(a.out.alpha, 1, 0)) * read(a.v_out.alpha, 1, 0);
    rest += read(a.out.image, 3, 0) * v.x + read(a.out.image, 3, 1) * v.y + read(a.out.image, 3, 2) * v.z;

    /* GROUP splats at once: most of what is done for one does not wait for those before it. */
    auto draw_kept = [&](const Stage &kept, int num_kept) {
        for (int first = 0; first < num_kept; first += GROUP) {
            float alpha[GROUP], before[GROUP], weight[GROUP], value[GROUP];
#pragma unroll
            for (int k = 0; k < GROUP; k++) { /* what lies beyond those kept is not drawn */
                Splat s = splat_of(kept, first + k);
                float d, y;
                alpha[k] = first + k < num_kept ? splat_alpha(&s, patch.x + 0.5f, patch.y + 0.5f, &d, &y) : 0;
                value[k] = fmaf(s.red, v.x, fmaf(s.green, v.y, fmaf(s.blue, v.z, s.z * v.w)));
            }
#pragma unroll
            for (int k = 0; k < GROUP; k++) {
                before[k] = transmittance;
                weight[k] = blend_step(alpha[k], &transmittance);
            }
#pragma unroll
            for (int k = 0; k < GROUP; k++) {
                bool drawn = weight[k] > 0;
                rest = drawn ? fmaf(-weight[k], value[k], rest) : rest;
                float g = alpha[k] * (before[k] * value[k] - __fdividef(rest, 1 - alpha[k]));
                batch->terms[num][lane] = make_float2(drawn && alpha[k] < ALPHA_MAX ? g : 0, weight[k]); /* capped: 0 */
                if (lane == 0) {
                    float4 place = kept.rows[3 * (first + k)];
                    batch->places[num] = make_float4(place.x, place.y, place.w, __uint_as_float(kept.gaussians[first + k]));
                }
                num += __any_sync(ALL_LANES, drawn); /* else its place is the next one's */
            }
            if (num > BATCH - GROUP) {
                add_batch(batch, num, patch.left, patch.top, v_rows);
                num = 0;
            }
        }
    };
    auto finished = [&] { return transmittance < 0; };
    auto draw = [&](const uint32 *sorted, int count, int) {
        walk(sorted, count, splats, patch.left, patch.top, patch.height, &stages[warp], draw_kept, finished);
        return !__syncthreads_and(finished());
    };
    if (overflowed)
        for_sorted_parts<BACKWARD_THREADS>(
            [&](auto f) { for_each_on_tile(t, view, tile_x, tile_y, BACKWARD_THREADS, f); }, {keys, order, SORTED}, draw);
    else
        walk(t.orders + tile * t.capacity, count, splats, patch.left, patch.top, patch.height, &stages[warp], draw_kept, finished);
    if (num) add_batch(batch, num, patch.left, patch.top, v_rows);
}
