/* Small networks on rows in shared memory, with packed weights.

Weights of a layer are a matrix [4 QUADS(OUT), 4 QUADS(IN)], zero where it is padded; where a layer has a bias it
is the column behind its inputs, which rows have a 1 in. Shared products of the deformation field (drive.cu) take
the place of its biases. A thread computes four outputs of a row, or 4 x 4 entries of a weight's gradient. */
#pragma once
#include "common.cuh"

#define SHAPE0_IN (3 + 6 * SHAPE_FREQUENCIES)
#define FIELD0_IN (3 + 6 * FREQUENCIES)
#define FIELD1_IN (FIELD_WIDTH + FIELD0_IN)
#define BLOCK_CHANNELS (NUM_CHANNELS / NUM_DERIVATIONS)
#define OFFSET_SIZE 14 /* scene/blendshapes.py: xyz 3, rotation 4, log-scale 3, opacity logit, colour 3 */

/* What drive.cu says of a view, floats from these places on. */
#define DRIVE_SIGNALS 0                                           /* [2, D]: of what is not of the head, and of it */
#define DRIVE_BLEND (DRIVE_SIGNALS + 2 * SIGNAL_SIZE)             /* [2, B] */
#define DRIVE_PRODUCT0 (DRIVE_BLEND + 2 * NUM_BLENDSHAPES)        /* [2, FIELD_WIDTH] */
#define DRIVE_PRODUCT1 (DRIVE_PRODUCT0 + 2 * FIELD_WIDTH)         /* [2, FIELD_WIDTH] */
#define DRIVE_HAS_TORSO (DRIVE_PRODUCT1 + 2 * FIELD_WIDTH)        /* 1, 0 */
#define DRIVE_TORSO (DRIVE_HAS_TORSO + 1)                         /* rotation 9, translation 3, quaternion 4 */
#define DRIVE_BALLS (DRIVE_TORSO + 16)                            /* [NUM_BALLS, 9] */
#define DRIVE_SIZE (4 * QUADS(DRIVE_BALLS + 9 * NUM_BALLS))

/* LAYER: its inputs with the bias, how many of them have gradients, its outputs, and the strides of the rows of
   inputs and outputs. Gradients of outputs have rows of STRIDE(OUT), of inputs of BACK_STRIDE. */
#define LAYER(NAME, IN_, BACK_, OUT_, IN_STRIDE_, OUT_STRIDE_, BACK_STRIDE_, BEFORE)                                \
    struct NAME {                                                                                                  \
        static constexpr int IN = IN_, BACK = BACK_, OUT = OUT_, IN_STRIDE = IN_STRIDE_;                           \
        static constexpr int OUT_STRIDE = OUT_STRIDE_, BACK_STRIDE = BACK_STRIDE_;                                 \
        static constexpr int ITEMS = QUADS(OUT_) * QUADS(IN_), FIRST = BEFORE::END, END = FIRST + ITEMS;           \
        static constexpr int WEIGHTS = 16 * FIRST;                                                                 \
    };
struct NONE {
    static constexpr int END = 0;
};
LAYER(SHAPE0, SHAPE0_IN + 1, 0, SHAPE_WIDTH, STRIDE(SHAPE0_IN + 1), STRIDE(SHAPE_WIDTH + 1), 0, NONE)
LAYER(SHAPE1, SHAPE_WIDTH + 1, SHAPE_WIDTH, SHAPE_WIDTH, STRIDE(SHAPE_WIDTH + 1), STRIDE(SHAPE_WIDTH + 1),
      STRIDE(SHAPE_WIDTH), SHAPE0)
LAYER(SHAPE2, SHAPE_WIDTH + 1, SHAPE_WIDTH, 3, STRIDE(SHAPE_WIDTH + 1), STRIDE(10), STRIDE(SHAPE_WIDTH), SHAPE1)
LAYER(FIELD0, FIELD0_IN, 0, FIELD_WIDTH, STRIDE(FIELD1_IN), STRIDE(FIELD1_IN), 0, SHAPE2)
LAYER(FIELD1, FIELD1_IN, FIELD_WIDTH, FIELD_WIDTH, STRIDE(FIELD1_IN), STRIDE(FIELD_WIDTH + 1), STRIDE(FIELD_WIDTH),
      FIELD0)
LAYER(FIELD2, FIELD_WIDTH + 1, FIELD_WIDTH, 10, STRIDE(FIELD_WIDTH + 1), STRIDE(10), STRIDE(FIELD_WIDTH), FIELD1)
LAYER(DECODER0, NUM_CHANNELS + 1, NUM_CHANNELS, DECODER_WIDTH, STRIDE(NUM_CHANNELS + 1), STRIDE(DECODER_WIDTH + 1),
      STRIDE(NUM_CHANNELS), FIELD2)
LAYER(DECODER1, DECODER_WIDTH + 1, DECODER_WIDTH, NUM_GEOMETRY + 1, STRIDE(DECODER_WIDTH + 1),
      STRIDE(NUM_GEOMETRY + 1), STRIDE(DECODER_WIDTH), DECODER0)
LAYER(DECODER2, NUM_GEOMETRY + 1, NUM_GEOMETRY, DECODER_WIDTH, STRIDE(NUM_GEOMETRY + 1), STRIDE(DECODER_WIDTH + 1),
      STRIDE(NUM_GEOMETRY + 1), DECODER1)
LAYER(DECODER3, DECODER_WIDTH + 1, DECODER_WIDTH, 3, STRIDE(DECODER_WIDTH + 1), STRIDE(3), STRIDE(DECODER_WIDTH),
      DECODER2)
#define WEIGHTS_SIZE (16 * DECODER3::END)

struct Relu {
    DEVICE float operator()(float x) const { return fmaxf(x, 0.0f); }
};
struct Linear {
    DEVICE float operator()(float x) const { return x; }
};

/* out = act(weights @ in + start), for all rows; start(row) points to OUT numbers. A thread has two rows: what it
   loads counts, not what it computes. */
template <class L, class Act, class Start>
DEVICE void layer(const float *in, const float *packed, float *out, Act act, Start start) {
    const float4 *weights = reinterpret_cast<const float4 *>(packed + L::WEIGHTS);
    FOR_ITEMS(item, TILE / 2 * QUADS(L::OUT)) {
        int row = item % (TILE / 2), quad = item / (TILE / 2), other = row + TILE / 2;
        const float4 *x = reinterpret_cast<const float4 *>(in + row * L::IN_STRIDE);
        const float4 *y = reinterpret_cast<const float4 *>(in + other * L::IN_STRIDE);
        const float *first = start(row), *second = start(other);
        float sum[4], sum2[4];
        for (int j = 0; j < 4; j++) {
            sum[j] = first != nullptr ? first[4 * quad + j] : 0.0f;
            sum2[j] = second != nullptr ? second[4 * quad + j] : 0.0f;
        }
#pragma unroll 4
        for (int k = 0; k < QUADS(L::IN); k++) {
            float4 a = x[k], b = y[k];
            for (int j = 0; j < 4; j++) {
                float4 w = weights[(4 * quad + j) * QUADS(L::IN) + k];
                sum[j] += dot4(a, w), sum2[j] += dot4(b, w);
            }
        }
        for (int j = 0; j < 4; j++) {
            out[row * L::OUT_STRIDE + 4 * quad + j] = act(sum[j]);
            out[other * L::OUT_STRIDE + 4 * quad + j] = act(sum2[j]);
        }
    }
}

template <class L, class Act> DEVICE void layer(const float *in, const float *packed, float *out, Act act) {
    layer<L>(in, packed, out, act, [](int) { return static_cast<const float *>(nullptr); });
}

DEVICE float4 where_positive(const float *active, float4 v) {
    float4 a = *reinterpret_cast<const float4 *>(active);
    return float4{a.x > 0 ? v.x : 0, a.y > 0 ? v.y : 0, a.z > 0 ? v.z : 0, a.w > 0 ? v.w : 0};
}

/* From the gradients of a layer's outputs to those of its first BACK inputs; `active`: the inputs themselves,
   where they are what a ReLU gave. */
template <class L>
DEVICE void layer_backward(const float *v_out, const float *packed, const float *active, float *v_in) {
    const float4 *weights = reinterpret_cast<const float4 *>(packed + L::WEIGHTS);
    FOR_ITEMS(item, TILE / 2 * QUADS(L::BACK)) {
        int row = item % (TILE / 2), quad = item / (TILE / 2), other = row + TILE / 2;
        const float4 *v = reinterpret_cast<const float4 *>(v_out + row * STRIDE(L::OUT));
        const float4 *u = reinterpret_cast<const float4 *>(v_out + other * STRIDE(L::OUT));
        float4 sum{0, 0, 0, 0}, sum2{0, 0, 0, 0};
#pragma unroll 4
        for (int m = 0; m < QUADS(L::OUT); m++) {
            float4 a = v[m], b = u[m];
            const float4 *w = weights + 4 * m * QUADS(L::IN) + quad;
            float4 w0 = w[0], w1 = w[QUADS(L::IN)], w2 = w[2 * QUADS(L::IN)], w3 = w[3 * QUADS(L::IN)];
            add_scaled(sum, a.x, w0), add_scaled(sum, a.y, w1), add_scaled(sum, a.z, w2), add_scaled(sum, a.w, w3);
            add_scaled(sum2, b.x, w0), add_scaled(sum2, b.y, w1), add_scaled(sum2, b.z, w2), add_scaled(sum2, b.w, w3);
        }
        if (active != nullptr) {
            sum = where_positive(active + row * L::IN_STRIDE + 4 * quad, sum);
            sum2 = where_positive(active + other * L::IN_STRIDE + 4 * quad, sum2);
        }
        *reinterpret_cast<float4 *>(v_in + row * L::BACK_STRIDE + 4 * quad) = sum;
        *reinterpret_cast<float4 *>(v_in + other * L::BACK_STRIDE + 4 * quad) = sum2;
    }
}

/* Gradients of all weights, summed over the rows that a block has seen. */
struct WeightGradients {
    static constexpr int SLOTS = (DECODER3::END + THREADS - 1) / THREADS;
    float4 sums[SLOTS][4];

    DEVICE void clear() {
#pragma unroll
        for (int s = 0; s < SLOTS; s++)
            for (int j = 0; j < 4; j++) sums[s][j] = float4{0, 0, 0, 0};
    }

    /* Do something with each item of a layer that this thread keeps: its sums, and its place, m and k in fours. */
    template <class L, class Do> DEVICE void for_items_of(Do something) {
#pragma unroll
        for (int s = 0; s < SLOTS; s++) {
            if ((s + 1) * THREADS <= L::FIRST || s * THREADS >= L::END) continue;
            int item = s * THREADS + int(threadIdx.x) - L::FIRST;
            if (item < 0 || item >= L::ITEMS) continue;
            something(sums[s], item / QUADS(L::IN), item % QUADS(L::IN));
        }
    }

    template <class L> DEVICE void add(const float *in, const float *v_out) {
        for_items_of<L>([&](float4 (&sum)[4], int m, int k) {
            for (int row = 0; row < TILE; row++) {
                float4 x = *reinterpret_cast<const float4 *>(in + row * L::IN_STRIDE + 4 * k);
                float4 v = *reinterpret_cast<const float4 *>(v_out + row * STRIDE(L::OUT) + 4 * m);
                add_scaled(sum[0], v.x, x), add_scaled(sum[1], v.y, x);
                add_scaled(sum[2], v.z, x), add_scaled(sum[3], v.w, x);
            }
        });
    }

    template <class L> DEVICE void flush_layer(float *v_weights) {
        for_items_of<L>([&](float4 (&sum)[4], int m, int k) {
            for (int j = 0; j < 4; j++)
                add_to_all(v_weights + L::WEIGHTS + (4 * m + j) * 4 * QUADS(L::IN) + 4 * k, sum[j]);
        });
    }

    DEVICE void flush(float *v_weights) {
        flush_layer<SHAPE0>(v_weights), flush_layer<SHAPE1>(v_weights), flush_layer<SHAPE2>(v_weights);
#if DEFORMS
        flush_layer<FIELD0>(v_weights), flush_layer<FIELD1>(v_weights), flush_layer<FIELD2>(v_weights);
#endif
        flush_layer<DECODER0>(v_weights), flush_layer<DECODER1>(v_weights);
        flush_layer<DECODER2>(v_weights), flush_layer<DECODER3>(v_weights);
    }
};
