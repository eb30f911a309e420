/* The deformation network of a head of the published code: what scene/published_head.py's `_offsets` says.

   A block takes ROWS Gaussians through all layers, whose activations stay in its shared memory as left factors,
   [tile of 16 rows][step of 16 columns][lane]; weights come by in stages. A warp computes 64 rows of 64
   columns. From layer FIRST_PRECISE on, factors are sums of two halves: one later layer counts as much as all
   before it. */
#include "halves.cuh"

#define WIDTH 256
#define STEPS (WIDTH / 16)
#define DEPTH 8
#define REJOINED_AT 5
#define STEP 512 /* of 16 bytes: the weights of one step of a layer in halves; a precise one has twice that */
/* With more stages on their way it was slower: memory that is not shared is cache. */
#define RING 2
#define STAGE_STEPS 2
#define STAGE (STAGE_STEPS * STEP)
#define NUM_STAGES (((FIRST_PRECISE - 1) + 2 * (DEPTH - FIRST_PRECISE)) * STEPS / STAGE_STEPS)
#define FACTORS (ROWS / 16 * STEPS * 32)

struct PublishedField {
    const float *first, *rejoined; /* [N, 256]: products of the encoded place in layers 0 and REJOINED_AT */
    const float *common;           /* [V, 2, 256]: there, those of the expression, with the bias */
    const float *biases;           /* [8, 256] */
    const uint4 *weights;          /* [NUM_STAGES, STAGE], layer by layer, [step, product, lane] */
    const uint4 *last;             /* [STEPS, 2, 32]: of the offsets, precise */
    const float *last_bias;        /* [16] */
    float *offsets;                /* [V, N, 12]: of place, quaternion, scale */
    int num;
};

typedef float Sums[4][8][4]; /* of 4 x 8 products, 16 rows by 8 columns each */

struct Place { /* of this lane's numbers in the block */
    int lane, row, column; /* of the warp's first tile and step */
    DEVICE Place() : lane(threadIdx.x % 32), row(threadIdx.x / 128 * 4), column(threadIdx.x / 32 % 4 * 4) {}
    DEVICE int factor(int tile, int step) const { return ((row + tile) * STEPS + step) * 32 + lane; }
    DEVICE int column_of(int product) const { return column * 16 + product * 8 + lane % 4 * 2; }
    DEVICE int row_of(int tile) const { return (row + tile) * 16 + lane / 4; }
};

/* The sums of a layer before its products: `rows` [N, 256], or nothing, and a bias. */
DEVICE void begin(Sums &sums, const float *rows, const float *bias, int first_row, int num, const Place &at) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            /* What is computed beyond the last Gaussian nobody reads. */
            int row = min(first_row + at.row_of(i) + 8 * half, num - 1);
#pragma unroll
            for (int j = 0; j < 8; j++) {
                float2 own = {0, 0};
                if (rows) own = two(rows + size_t(row) * WIDTH + at.column_of(j));
                sums[i][j][2 * half] = own.x, sums[i][j][2 * half + 1] = own.y;
            }
        }
    }
#pragma unroll
    for (int j = 0; j < 8; j++) {
        float2 b = two(bias + at.column_of(j));
#pragma unroll
        for (int i = 0; i < 4; i++)
            sums[i][j][0] += b.x, sums[i][j][2] += b.x, sums[i][j][1] += b.y, sums[i][j][3] += b.y;
    }
}

DEVICE void keep_rectified(Sums &sums, uint4 *high, uint4 *low, bool precisely, const Place &at) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
#pragma unroll
        for (int j = 0; j < 8; j++) {
#pragma unroll
            for (int k = 0; k < 4; k++) sums[i][j][k] = fminf(fmaxf(sums[i][j][k], 0.0f), LARGEST_HALF);
        }
#pragma unroll
        for (int j = 0; j < 4; j++) {
            Left factor = left_of(sums[i][2 * j], sums[i][2 * j + 1]);
            int place = at.factor(i, at.column + j);
            high[place] = factor.high;
            if (precisely) low[place] = factor.low;
        }
    }
}

/* One stage, from a step on. */
DEVICE void add_products(Sums &sums, const uint4 *high, const uint4 *weights, int step, const Place &at) {
#pragma unroll
    for (int s = 0; s < STAGE_STEPS; s++) {
        uint4 a[4];
#pragma unroll
        for (int i = 0; i < 4; i++) a[i] = high[at.factor(i, step + s)];
#pragma unroll
        for (int j = 0; j < 4; j++) {
            uint4 b = weights[s * STEP + (at.column + j) * 32 + at.lane];
#pragma unroll
            for (int i = 0; i < 4; i++) multiply(sums[i][2 * j], a[i], b.x, b.y);
#pragma unroll
            for (int i = 0; i < 4; i++) multiply(sums[i][2 * j + 1], a[i], b.z, b.w);
        }
    }
}

DEVICE void add_precise_products(Sums &sums, const uint4 *high, const uint4 *low, const uint4 *weights, int step,
                                 const Place &at) {
#pragma unroll
    for (int s = 0; s < STAGE_STEPS / 2; s++) {
        uint4 a[4], rest[4];
#pragma unroll
        for (int i = 0; i < 4; i++)
            a[i] = high[at.factor(i, step + s)], rest[i] = low[at.factor(i, step + s)];
#pragma unroll
        for (int j = 0; j < 8; j++) {
            uint4 b = weights[2 * s * STEP + (2 * at.column + j) * 32 + at.lane];
            /* The three of one sum wait for each other: those of others come between. */
#pragma unroll
            for (int i = 0; i < 4; i++) multiply(sums[i][j], a[i], b.x, b.y);
#pragma unroll
            for (int i = 0; i < 4; i++) multiply(sums[i][j], rest[i], b.x, b.y);
#pragma unroll
            for (int i = 0; i < 4; i++) multiply(sums[i][j], a[i], b.z, b.w);
        }
    }
}

struct Stages { /* of the weights, on their way to shared memory: a ring */
    const uint4 *weights;
    uint4 *ring;
    int next;

    DEVICE void fetch() {
        if (next < NUM_STAGES) {
            uint4 *target = ring + next % RING * STAGE;
            for (int i = threadIdx.x; i < STAGE; i += THREADS) copy_later(target + i, weights + next * STAGE + i);
        }
        next++;
        end_of_group(); /* empty at the end: groups are counted */
    }
    DEVICE void begin() {
        next = 0;
        for (int i = 0; i < RING - 1; i++) fetch();
    }
    /* Behind it all threads see the next stage, and none reads the one before it any more. */
    DEVICE const uint4 *take() {
        wait_for_groups<RING - 2>();
        SYNC();
        fetch();
        return ring + (next - RING) % RING * STAGE;
    }
};

/* Warp w: the offsets of tile w. */
DEVICE void put_offsets(const PublishedField &a, const uint4 *high, const uint4 *low, int first_row, int view) {
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, column = lane % 4 * 2;
    float sums[2][4];
    for (int j = 0; j < 2; j++) {
        float2 bias = two(a.last_bias + 8 * j + column);
        sums[j][0] = sums[j][2] = bias.x, sums[j][1] = sums[j][3] = bias.y;
    }
#pragma unroll 4
    for (int step = 0; step < STEPS; step++) {
        int place = (warp * STEPS + step) * 32 + lane;
        Left factor = {high[place], low[place]};
        for (int j = 0; j < 2; j++) multiply_precisely(sums[j], factor, a.last[(step * 2 + j) * 32 + lane]);
    }
    for (int half = 0; half < 2; half++) {
        int row = first_row + warp * 16 + lane / 4 + 8 * half;
        if (row >= a.num) continue;
        float *target = a.offsets + (size_t(view) * a.num + row) * 12 + column;
        target[0] = sums[0][2 * half], target[1] = sums[0][2 * half + 1];
        if (column < 4) target[8] = sums[1][2 * half], target[9] = sums[1][2 * half + 1];
    }
}

KERNEL published_field(const PublishedField a) {
    SHARED(memory);
    uint4 *high = reinterpret_cast<uint4 *>(memory), *low = high + FACTORS;
    int first_row = BLOCK * ROWS, view = VIEW;
    const float *common = a.common + view * 2 * WIDTH;
    Stages stages = {a.weights, low + FACTORS, 0};
    stages.begin();
    Place at;
    Sums sums;
    begin(sums, a.first, common, first_row, a.num, at);
    keep_rectified(sums, high, low, FIRST_PRECISE == 1, at);
#pragma unroll 1
    for (int layer = 1; layer < DEPTH; layer++) {
        bool rejoins = layer == REJOINED_AT;
        const float *bias = rejoins ? common + WIDTH : a.biases + layer * WIDTH;
        begin(sums, rejoins ? a.rejoined : nullptr, bias, first_row, a.num, at);
        if (layer < FIRST_PRECISE) {
#pragma unroll 1
            for (int step = 0; step < STEPS; step += STAGE_STEPS)
                add_products(sums, high, stages.take(), step, at);
        } else {
#pragma unroll 1
            for (int step = 0; step < STEPS; step += STAGE_STEPS / 2)
                add_precise_products(sums, high, low, stages.take(), step, at);
        }
        SYNC(); /* what is read no more is overwritten */
        keep_rectified(sums, high, low, layer + 1 >= FIRST_PRECISE, at);
    }
    SYNC();
    put_offsets(a, high, low, first_row, view);
}
