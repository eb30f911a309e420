/* Mean SSIM of images and its gradient (Wang et al. 2004, Eq. 13; 11 x 11 Gaussian window, zero outside).

A block draws a tile of one channel: it reads the tile and a border of RADIUS pixels into shared memory, blurs
along rows into shared memory, then along columns into registers. A thread blurs STRIP neighbours at once, and so
reads STRIP + 2 RADIUS values for them instead of (1 + 2 RADIUS) STRIP. The pitches of both buffers are odd: the
8 strips x 4 rows of a warp then lie in 32 different banks.

ssim_forward: five moments of both images, SSIM, the sum over the block; for backward, the derivatives of each
pixel's SSIM with respect to the moments. ssim_mean: adds up an image's blocks, always in the same order.
ssim_backward: the blur is its own transpose, so it blurs these derivatives: to one of the images.

Moments are those of pixel - CENTER, which the variances do not notice: as differences of squares they lose four
times less to rounding where the image is white. */
#include "device.cuh"

#define RADIUS 5
#define CENTER 0.5f
#define THREADS (TILE_WIDTH * TILE_HEIGHT / STRIP)
#define ROWS (TILE_HEIGHT + 2 * RADIUS)
#define COLUMNS (TILE_WIDTH + 2 * RADIUS)

static_assert(TILE_WIDTH == 32 && TILE_HEIGHT % STRIP == 0 && TILE_WIDTH % STRIP == 0, "a warp draws rows");

typedef float Tile[ROWS][COLUMNS | 1];       /* with its border */
typedef float Blurred[ROWS][TILE_WIDTH | 1]; /* along rows */

struct Window {
    float weights[RADIUS + 1]; /* from the centre outwards */
};

struct SsimForward {
    const float *x, *y;            /* [P, H, W]: P planes, all channels of all images */
    float *by_mean_x, *by_mean_y;  /* [P, H, W], null where no gradient is wanted */
    float *by_square, *by_product; /* the same: dS / d blur(x^2) = dS / d blur(y^2), dS / d blur(x y) */
    float *block_sums;             /* [P, tiles] */
    int width, height;
    float c1, c2;
    Window window;
};

struct SsimMean {
    const float *block_sums; /* [B, num] */
    float *means;            /* [B] */
    int num;
    float scale; /* 1 / (C H W) */
};

struct SsimBackward {
    const float *own, *other;                          /* the image whose gradient is wanted, and the other one */
    const float *by_own_mean, *by_square, *by_product; /* of forward */
    const float *v_means;                              /* [B] */
    float *v_own;
    int width, height, channels;
    float scale; /* 1 / (C H W) */
    Window window;
};

struct Similarity { /* of a pixel, and its derivatives */
    float value, by_mean_x, by_mean_y, by_square, by_product;
};

/* S = luminance contrast, with means M = m + CENTER and covariances blur(x y) - mx my. */
static __device__ __forceinline__ Similarity similarity(const float (&moments)[5], float c1, float c2) {
    float mx = moments[0], my = moments[1], mean_x = mx + CENTER, mean_y = my + CENTER;
    float over_luminance = 1 / (mean_x * mean_x + mean_y * mean_y + c1);
    float over_contrast = 1 / ((moments[2] - mx * mx) + (moments[3] - my * my) + c2);
    float luminance = (2 * mean_x * mean_y + c1) * over_luminance;
    float contrast = (2 * (moments[4] - mx * my) + c2) * over_contrast;
    Similarity s;
    s.value = luminance * contrast;
    s.by_square = -s.value * over_contrast;
    s.by_product = 2 * luminance * over_contrast;
    float by_luminance = 2 * contrast * over_luminance;
    s.by_mean_x = by_luminance * (mean_y - luminance * mean_x) - 2 * s.by_square * mx - s.by_product * my;
    s.by_mean_y = by_luminance * (mean_x - luminance * mean_y) - 2 * s.by_square * my - s.by_product * mx;
    return s;
}

struct Place { /* of a block and of its thread's strip of pixels, one below the other */
    long long plane, start;     /* start: of the plane, in pixels */
    int left, top, column, row; /* column and row within the tile */

    __device__ Place(int width, int height) {
        int tiles_x = (width + TILE_WIDTH - 1) / TILE_WIDTH, tiles_y = (height + TILE_HEIGHT - 1) / TILE_HEIGHT;
        int tile = blockIdx.x % (tiles_x * tiles_y);
        plane = blockIdx.x / (tiles_x * tiles_y);
        start = plane * width * height;
        left = tile % tiles_x * TILE_WIDTH, top = tile / tiles_x * TILE_HEIGHT;
        column = threadIdx.x % TILE_WIDTH, row = threadIdx.x / TILE_WIDTH * STRIP;
    }
};

/* Reads a tile and its border, zero outside the image; `center` is then subtracted, there too. */
static __device__ __forceinline__ void load_tile(const float *map, const Place &place, int width, int height,
                                                 float center, Tile &tile) {
    map += place.start;
    for (int i = threadIdx.x; i < ROWS * COLUMNS; i += THREADS) {
        int row = i / COLUMNS, column = i % COLUMNS;
        int x = place.left + column - RADIUS, y = place.top + row - RADIUS;
        bool inside = x >= 0 && x < width && y >= 0 && y < height;
        tile[row][column] = (inside ? map[(long long)y * width + x] : 0) - center;
    }
}

/* What is blurred: the moments of two images; or three maps as they are. */
static __device__ __forceinline__ void values_at(const Tile (&tiles)[2], int row, int column, float (&values)[5]) {
    float x = tiles[0][row][column], y = tiles[1][row][column];
    values[0] = x, values[1] = y, values[2] = x * x, values[3] = y * y, values[4] = x * y;
}

static __device__ __forceinline__ void values_at(const Tile (&tiles)[3], int row, int column, float (&values)[3]) {
    for (int m = 0; m < 3; m++) values[m] = tiles[m][row][column];
}

/* Adds value number `tap` along the blur to the strip's outputs that it reaches. */
template <int MAPS>
static __device__ __forceinline__ void add_tap(const Window &window, int tap, const float (&values)[MAPS],
                                               float (&sums)[STRIP][MAPS]) {
#pragma unroll
    for (int j = 0; j < STRIP; j++) {
        int offset = tap - RADIUS - j, distance = offset < 0 ? -offset : offset;
        if (distance > RADIUS) continue;
#pragma unroll
        for (int m = 0; m < MAPS; m++) sums[j][m] += window.weights[distance] * values[m];
    }
}

template <int TILES, int MAPS>
static __device__ __forceinline__ void blur_rows(const Window &window, const Tile (&tiles)[TILES],
                                                 Blurred (&blurred)[MAPS]) {
    for (int i = threadIdx.x; i < ROWS * TILE_WIDTH / STRIP; i += THREADS) {
        int row = i / (TILE_WIDTH / STRIP), column = i % (TILE_WIDTH / STRIP) * STRIP;
        float sums[STRIP][MAPS] = {};
#pragma unroll
        for (int tap = 0; tap < STRIP + 2 * RADIUS; tap++) {
            float values[MAPS];
            values_at(tiles, row, column + tap, values);
            add_tap(window, tap, values, sums);
        }
#pragma unroll
        for (int j = 0; j < STRIP; j++)
#pragma unroll
            for (int m = 0; m < MAPS; m++) blurred[m][row][column + j] = sums[j][m];
    }
}

/* Blurs at the thread's own pixels. */
template <int MAPS>
static __device__ __forceinline__ void blur_columns(const Window &window, const Blurred (&blurred)[MAPS],
                                                    const Place &place, float (&sums)[STRIP][MAPS]) {
#pragma unroll
    for (int tap = 0; tap < STRIP + 2 * RADIUS; tap++) {
        float values[MAPS];
#pragma unroll
        for (int m = 0; m < MAPS; m++) values[m] = blurred[m][place.row + tap][place.column];
        add_tap(window, tap, values, sums);
    }
}

/* Thread 0 gets the sum over the block. */
static __device__ __forceinline__ float sum_over_block(float value) {
    __shared__ float warp_sums[THREADS / 32];
    value = sum_over_warp(value);
    if (threadIdx.x % 32 == 0) warp_sums[threadIdx.x / 32] = value;
    __syncthreads();
    float sum = 0;
    for (int warp = 0; warp < THREADS / 32; warp++) sum += warp_sums[warp];
    return sum;
}

extern "C" __global__ void __launch_bounds__(THREADS) ssim_forward(const __grid_constant__ SsimForward a) {
    __shared__ Tile tiles[2];
    __shared__ Blurred blurred[5];
    Place place(a.width, a.height);
    load_tile(a.x, place, a.width, a.height, CENTER, tiles[0]);
    load_tile(a.y, place, a.width, a.height, CENTER, tiles[1]);
    __syncthreads();
    blur_rows(a.window, tiles, blurred);
    __syncthreads();
    float moments[STRIP][5] = {};
    blur_columns(a.window, blurred, place, moments);

    float sum = 0;
    int x = place.left + place.column;
#pragma unroll
    for (int j = 0; j < STRIP; j++) {
        int y = place.top + place.row + j;
        if (x >= a.width || y >= a.height) continue;
        Similarity s = similarity(moments[j], a.c1, a.c2);
        sum += s.value;
        long long pixel = place.start + (long long)y * a.width + x;
        if (a.by_mean_x) a.by_mean_x[pixel] = s.by_mean_x;
        if (a.by_mean_y) a.by_mean_y[pixel] = s.by_mean_y;
        if (a.by_square) a.by_square[pixel] = s.by_square, a.by_product[pixel] = s.by_product;
    }
    sum = sum_over_block(sum);
    if (threadIdx.x == 0) a.block_sums[blockIdx.x] = sum;
}

extern "C" __global__ void __launch_bounds__(THREADS) ssim_mean(const __grid_constant__ SsimMean a) {
    const float *block_sums = a.block_sums + (long long)blockIdx.x * a.num;
    float sum = 0;
    for (int i = threadIdx.x; i < a.num; i += THREADS) sum += block_sums[i];
    sum = sum_over_block(sum);
    if (threadIdx.x == 0) a.means[blockIdx.x] = sum * a.scale;
}

extern "C" __global__ void __launch_bounds__(THREADS) ssim_backward(const __grid_constant__ SsimBackward a) {
    __shared__ Tile tiles[3];
    __shared__ Blurred blurred[3];
    Place place(a.width, a.height);
    load_tile(a.by_own_mean, place, a.width, a.height, 0, tiles[0]);
    load_tile(a.by_square, place, a.width, a.height, 0, tiles[1]);
    load_tile(a.by_product, place, a.width, a.height, 0, tiles[2]);
    __syncthreads();
    blur_rows(a.window, tiles, blurred);
    __syncthreads();
    float by[STRIP][3] = {}; /* the means, squares and products of all windows that hold the pixel */
    blur_columns(a.window, blurred, place, by);

    float v_pixel = a.v_means[place.plane / a.channels] * a.scale;
    int x = place.left + place.column;
#pragma unroll
    for (int j = 0; j < STRIP; j++) {
        int y = place.top + place.row + j;
        if (x >= a.width || y >= a.height) continue;
        long long pixel = place.start + (long long)y * a.width + x;
        float own = a.own[pixel] - CENTER, other = a.other[pixel] - CENTER;
        a.v_own[pixel] = v_pixel * (by[j][0] + 2 * own * by[j][1] + other * by[j][2]);
    }
}
