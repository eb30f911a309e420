/* Deformed Gaussians of a head of the published code, what their doppelgangers read, and what is decoded from
   it: what scene/published_head.py says behind the offsets, in as many digits. A warp takes 16 Gaussians,
   whose numbers are the rows of its products. */
#include "halves.cuh"

#define RESOLUTION 64
#define NUM_CHANNELS 8
#define NUM_SH 48
#define ROWS (THREADS / 2)
/* A row of shared memory: mean and direction; odd, for the banks. */
#define ROW 7

struct PublishedDecode {
    const float *xyz, *log_scale, *rotation; /* [N, 3], [N, 3], [N, 4] */
    const float *zooms;                      /* [N, 4, 3] */
    const float *offsets;                    /* [V, N, 12] or none */
    const float *planes;                     /* [3, 64, 64, 8] */
    const float *poses;                      /* [V, 4, 4] world-to-camera */
    const uint4 *weights;                    /* of decoder.0, .1, .2 and sh, each [step, product, lane], precise */
    const float *sh_bias, *of_direction;     /* [48], [3, 48] */
    float *means, *opacities, *covariances, *sh;
    int num;
};

DEVICE Vec times(Vec a, Vec b) { return Vec{a.x * b.x, a.y * b.y, a.z * b.z}; }

DEVICE void put_covariance(float *target, Quat q, Vec scale) {
    Vec rows[3] = {
        {1 - 2 * (q.y * q.y + q.z * q.z), 2 * (q.x * q.y - q.w * q.z), 2 * (q.x * q.z + q.w * q.y)},
        {2 * (q.x * q.y + q.w * q.z), 1 - 2 * (q.x * q.x + q.z * q.z), 2 * (q.y * q.z - q.w * q.x)},
        {2 * (q.x * q.z - q.w * q.y), 2 * (q.y * q.z + q.w * q.x), 1 - 2 * (q.x * q.x + q.y * q.y)}};
    for (int i = 0; i < 3; i++) rows[i] = times(rows[i], scale);
    target[0] = dot(rows[0], rows[0]), target[1] = dot(rows[0], rows[1]), target[2] = dot(rows[0], rows[2]);
    target[3] = dot(rows[1], rows[1]), target[4] = dot(rows[1], rows[2]), target[5] = dot(rows[2], rows[2]);
}

/* One Gaussian a lane: its mean and covariance, and to `row` what the others of the warp need of it. */
DEVICE void place(const PublishedDecode &a, int n, int view, bool is_real, float *row) {
    Vec xyz = vec(a.xyz + 3 * n), mean = xyz, log_scale = vec(a.log_scale + 3 * n);
    Vec scale = {expf(log_scale.x), expf(log_scale.y), expf(log_scale.z)};
    Quat q = quat(a.rotation + 4 * n);
    q = inverse_length(q) * q;
    if (a.offsets) {
        const float *offset = a.offsets + (size_t(view) * a.num + n) * 12;
        mean = mean + vec(offset), q = q + quat(offset + 3), scale = scale + vec(offset + 7);
    }
    const float *pose = a.poses + 16 * view;
    Vec shift = {pose[3], pose[7], pose[11]};
    Vec center = -1.0f * (shift.x * vec(pose) + (shift.y * vec(pose + 4) + shift.z * vec(pose + 8)));
    put(row, mean), put(row + 3, normalized(xyz - center));
    if (!is_real) return;
    size_t place = size_t(view) * a.num + n;
    put(a.means + 3 * place, mean);
    put_covariance(a.covariances + 6 * place, q, scale);
}

struct Axis { /* the texels beside a place, and how near the second one is */
    int low, high;
    float share;
};

DEVICE Axis axis_at(float place) {
    float at = fminf(fmaxf(0.5f * (place + 1) * (RESOLUTION - 1), 0.0f), float(RESOLUTION - 1));
    int low = int(at);
    return Axis{low, min(low + 1, RESOLUTION - 1), at - low};
}

/* Two channels of a plane. */
DEVICE float2 sampled(const float *plane, Axis across, Axis down) {
    const float *top = plane + down.low * RESOLUTION * NUM_CHANNELS;
    const float *bottom = plane + down.high * RESOLUTION * NUM_CHANNELS;
    float2 corners[4] = {two(top + across.low * NUM_CHANNELS), two(top + across.high * NUM_CHANNELS),
                         two(bottom + across.low * NUM_CHANNELS), two(bottom + across.high * NUM_CHANNELS)};
    float shares[4] = {(1 - across.share) * (1 - down.share), across.share * (1 - down.share),
                       (1 - across.share) * down.share, across.share * down.share};
    float2 sum = {0, 0};
    for (int i = 0; i < 4; i++) sum.x += shares[i] * corners[i].x, sum.y += shares[i] * corners[i].y;
    return sum;
}

/* The product over the planes xy, xz, yz. */
DEVICE float2 feature(const float *planes, Vec at) {
    const int size = RESOLUTION * RESOLUTION * NUM_CHANNELS;
    Axis x = axis_at(at.x), y = axis_at(at.y), z = axis_at(at.z);
    float2 xy = sampled(planes, x, y), xz = sampled(planes + size, x, z), yz = sampled(planes + 2 * size, y, z);
    return float2{confined(xy.x * xz.x * yz.x), confined(xy.y * xz.y * yz.y)};
}

/* Sums of PRODUCTS x 8 columns from STEPS x 16 of them. */
template <int STEPS, int PRODUCTS>
DEVICE void linear(float (&sums)[PRODUCTS][4], const Left (&factors)[STEPS], const uint4 *weights, int lane) {
#pragma unroll
    for (int j = 0; j < PRODUCTS; j++) {
        for (int i = 0; i < 4; i++) sums[j][i] = 0;
#pragma unroll
        for (int step = 0; step < STEPS; step++)
            multiply_precisely(sums[j], factors[step], weights[(step * PRODUCTS + j) * 32 + lane]);
    }
}

/* What comes next, of the first 2 STEPS x 8 columns. */
template <int STEPS, int PRODUCTS>
DEVICE void factors_of(Left (&factors)[STEPS], const float (&sums)[PRODUCTS][4]) {
#pragma unroll
    for (int step = 0; step < STEPS; step++) factors[step] = left_of(sums[2 * step], sums[2 * step + 1]);
}

template <int PRODUCTS> DEVICE void squash(float (&sums)[PRODUCTS][4]) {
#pragma unroll
    for (int j = 0; j < PRODUCTS; j++)
#pragma unroll
        for (int k = 0; k < 4; k++) sums[j][k] = sigmoid(sums[j][k]);
}

KERNEL published_decode(const PublishedDecode a) {
    SHARED(memory);
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, column = lane % 4 * 2, view = VIEW;
    int first_row = BLOCK * ROWS;
    float *rows = reinterpret_cast<float *>(memory);
    /* Of rows beyond the last Gaussian nothing is kept. */
    if (threadIdx.x < ROWS) {
        int n = first_row + threadIdx.x;
        place(a, min(n, a.num - 1), view, n < a.num, rows + threadIdx.x * ROW);
    }
    SYNC();

    Left features[2];
    int local[2] = {warp * 16 + lane / 4, warp * 16 + lane / 4 + 8};
    float read[4][4]; /* doppelganger; two channels of both rows */
    for (int half = 0; half < 2; half++) {
        const float *zooms = a.zooms + 12 * size_t(min(first_row + local[half], a.num - 1));
        Vec mean = vec(rows + local[half] * ROW);
#pragma unroll
        for (int k = 0; k < 4; k++) {
            float2 value = feature(a.planes + column, times(mean, vec(zooms + 3 * k)));
            read[k][2 * half] = value.x, read[k][2 * half + 1] = value.y;
        }
    }
    factors_of(features, read);

    const uint4 *weights = a.weights;
    Left hidden[4], geometry[2];
    float wide[8][4], numbers[5][4], colors[6][4];
    linear(wide, features, weights, lane);
    weights += 2 * 8 * 32;
    squash(wide), factors_of(hidden, wide);
    linear(wide, hidden, weights, lane);
    weights += 4 * 8 * 32;
    squash(wide), factors_of(hidden, wide);
    linear(numbers, hidden, weights, lane);
    weights += 4 * 5 * 32;
    factors_of(geometry, numbers);
    linear(colors, geometry, weights, lane);

    Vec directions[2] = {vec(rows + local[0] * ROW + 3), vec(rows + local[1] * ROW + 3)};
    size_t first_place = size_t(view) * a.num + first_row;
    for (int half = 0; half < 2; half++)
        if (lane % 4 == 0 && first_row + local[half] < a.num)
            a.opacities[first_place + local[half]] = sigmoid(numbers[4][2 * half]);
#pragma unroll
    for (int j = 0; j < 6; j++) {
        int at = 8 * j + column;
        float2 bias = two(a.sh_bias + at), x = two(a.of_direction + at), y = two(a.of_direction + NUM_SH + at);
        float2 z = two(a.of_direction + 2 * NUM_SH + at);
#pragma unroll
        for (int half = 0; half < 2; half++) {
            Vec d = directions[half];
            float2 value = {colors[j][2 * half] + bias.x + (x.x * d.x + y.x * d.y + z.x * d.z),
                            colors[j][2 * half + 1] + bias.y + (x.y * d.x + y.y * d.y + z.y * d.z)};
            if (first_row + local[half] < a.num)
                *reinterpret_cast<float2 *>(a.sh + (first_place + local[half]) * NUM_SH + at) = value;
        }
    }
}
