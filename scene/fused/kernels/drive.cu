/* What a head needs once a step rather than once a Gaussian: the drive's share of it, packed weights, the mesh.

drive_forward: block v < V computes what view v says (DRIVE_... in network.cuh); the blocks behind pack weights and
planes as head.cu reads them. mesh_forward: the vertices of the driven scaffold. drive_backward: unpacks gradients,
and brings those of blend weights and shared products to the networks that made them. Formulas:
scene/head_model.py (signals), scene/torso.py, scene/blendshapes.py, scene/deformation.py, scene/scaffold.py. */
#include "network.cuh"

struct Linear2 { /* a layer of torch.nn: weight [out, in] and bias [out]; or their gradients */
    float *weight, *bias;
};

struct Weights {
    Linear2 shape0, shape1, shape2, field0, field1, field_xyz, field_rotation, field_log_scale;
    Linear2 decoder0, decoder1, decoder2, decoder3, blend0, blend1;
    float *planes; /* [3, C, R, R] */
};

struct Known { /* of the clip */
    const float *signals;   /* [2, D] */
    const float *mean_pose; /* [3, 4] */
    const float *torso_map; /* [7, 6], null where nothing is predicted */
    const float *poses;     /* [2, 6] */
    const float *ball_turns; /* [NUM_BALLS, 3, E] */
};

struct Drives { /* of each view; null where it has none */
    const float *expression[MAX_VIEWS]; /* [E] */
    const float *pose[MAX_VIEWS];       /* [3 or 4, 4] world-to-camera */
    const float *torso[MAX_VIEWS];      /* [4, 4] */
    const float *noise[MAX_VIEWS];      /* [D] */
};

struct DriveForward {
    Weights weights;
    Known known;
    Drives drives;
    float *out;     /* [V, DRIVE_SIZE] */
    float *packed;  /* WEIGHTS_SIZE */
    float *planes;  /* [3, R, R, C] */
    int num_views;
};

struct DriveBackward {
    Weights weights, v_weights;
    const float *drives, *v_drives; /* [V, DRIVE_SIZE] */
    const float *v_packed, *v_planes;
    int num_views;
};

struct MeshForward {
    const float *neutral, *shapes; /* [M, 3], [E, M, 3] */
    const float *expression[MAX_VIEWS]; /* [E] */
    const float *drives;           /* [V, DRIVE_SIZE] */
    const float *ball_centers;     /* [NUM_BALLS, 3] */
    const int *ball_ranges;        /* [NUM_BALLS, 2] */
    float *out;                    /* [V, M, 3] */
    int num_vertices, num_views;
};

DEVICE float silu(float x) { return x * sigmoid(x); }
DEVICE float silu_slope(float x) {
    float s = sigmoid(x);
    return s * (1 + x * (1 - s));
}

struct Pose { /* x -> turn x + shift; rows of the matrix */
    float turn[9], shift[3];
};

DEVICE Pose pose_of(const float *matrix) { /* [3 or 4, 4] */
    Pose p;
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 3; j++) p.turn[3 * i + j] = matrix[4 * i + j];
        p.shift[i] = matrix[4 * i + 3];
    }
    return p;
}

/* The torso's motion (camera space, OpenGL axes) that the map expects of a head pose. */
DEVICE Pose predicted_torso(const Pose &head, const Pose &mean, const float *map, const float *known) {
    float m[6], turn[9];
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) {
            turn[3 * i + j] = 0;
            for (int k = 0; k < 3; k++) turn[3 * i + j] += head.turn[3 * i + k] * mean.turn[3 * j + k];
        }
    m[0] = 0.5f * (turn[7] - turn[5]), m[1] = 0.5f * (turn[2] - turn[6]), m[2] = 0.5f * (turn[3] - turn[1]);
    for (int i = 0; i < 3; i++) m[3 + i] = head.shift[i] - mean.shift[i];
    float beyond = 0;
    for (int i = 0; i < 6; i++) {
        float half = fmaxf(0.5f * (known[6 + i] - known[i]), 1e-6f);
        float off = (m[i] - fminf(fmaxf(m[i], known[i]), known[6 + i])) / half;
        beyond += off * off;
    }
    float fade = expf(-beyond), v[6];
    for (int j = 0; j < 6; j++) {
        v[j] = map[36 + j];
        for (int i = 0; i < 6; i++) v[j] += fade * m[i] * map[6 * i + j];
    }
    float cosine = sqrtf(fmaxf(1 - (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]), 1e-6f));
    float w = sqrtf(0.5f * (1 + cosine));
    Quat q{w, v[0] / (2 * w), v[1] / (2 * w), v[2] / (2 * w)};
    q = inverse_length(q) * q;
    Pose p;
    p.turn[0] = 1 - 2 * (q.y * q.y + q.z * q.z), p.turn[1] = 2 * (q.x * q.y - q.w * q.z);
    p.turn[2] = 2 * (q.x * q.z + q.w * q.y), p.turn[3] = 2 * (q.x * q.y + q.w * q.z);
    p.turn[4] = 1 - 2 * (q.x * q.x + q.z * q.z), p.turn[5] = 2 * (q.y * q.z - q.w * q.x);
    p.turn[6] = 2 * (q.x * q.z - q.w * q.y), p.turn[7] = 2 * (q.y * q.z + q.w * q.x);
    p.turn[8] = 1 - 2 * (q.x * q.x + q.y * q.y);
    for (int i = 0; i < 3; i++) p.shift[i] = v[3 + i];
    return p;
}

/* Where the torso is in head space, against the mean of the clip. */
DEVICE Pose torso_motion(const Pose &head, const Pose &mean, const Pose *torso) {
    Pose rest = mean, p;
    if (torso != nullptr) {
        const float flip[3] = {1, -1, -1};
        for (int i = 0; i < 3; i++) {
            for (int j = 0; j < 4; j++) {
                float sum = j == 3 ? flip[i] * torso->shift[i] : 0;
                for (int k = 0; k < 3; k++)
                    sum += flip[i] * torso->turn[3 * i + k] * flip[k] * (j < 3 ? mean.turn[3 * k + j] : mean.shift[k]);
                if (j < 3) rest.turn[3 * i + j] = sum;
                else rest.shift[i] = sum;
            }
        }
    }
    for (int i = 0; i < 3; i++) {
        p.shift[i] = 0;
        for (int k = 0; k < 3; k++) p.shift[i] += head.turn[3 * k + i] * (rest.shift[k] - head.shift[k]);
        for (int j = 0; j < 3; j++) {
            p.turn[3 * i + j] = 0;
            for (int k = 0; k < 3; k++) p.turn[3 * i + j] += head.turn[3 * k + i] * rest.turn[3 * k + j];
        }
    }
    return p;
}

DEVICE float code_of(const Pose &pose, const Pose &usual, int j) { /* j of 12, rows of [3, 4] */
    int row = j / 4, column = j % 4;
    float value = column < 3 ? pose.turn[3 * row + column] - usual.turn[3 * row + column]
                             : pose.shift[row] - usual.shift[row];
    return POSE_GAIN * value;
}

/* The rotation by a vector, rows. */
DEVICE void turn_of(Vec v, float *out) {
    float angle = fmaxf(length(v), 1e-8f), s = sinf(angle), t = 1 - cosf(angle);
    Vec a = (1 / angle) * v;
    const float k[9] = {0, -a.z, a.y, a.z, 0, -a.x, -a.y, a.x, 0};
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) {
            float square = 0;
            for (int m = 0; m < 3; m++) square += k[3 * i + m] * k[3 * m + j];
            out[3 * i + j] = (i == j) + s * k[3 * i + j] + t * square;
        }
}

DEVICE void say_drive(const DriveForward &args, int view, float *codes, float *hidden) {
    const Drives &d = args.drives;
    const Weights &w = args.weights;
    float *out = args.out + view * DRIVE_SIZE;
    FOR_ITEMS(item, 1) {
        Pose mean = pose_of(args.known.mean_pose), identity{{1, 0, 0, 0, 1, 0, 0, 0, 1}, {0, 0, 0}}, head, torso;
        bool has_pose = d.pose[view] != nullptr, has_torso = TORSO_TRACKING && d.torso[view] != nullptr;
        if (has_pose) head = pose_of(d.pose[view]);
        if (has_torso) torso = pose_of(d.torso[view]);
        else if (has_pose && d.torso[view] == nullptr && args.known.torso_map != nullptr) {
            torso = predicted_torso(head, mean, args.known.torso_map, args.known.poses);
            has_torso = true;
        }
        for (int j = 0; j < 12; j++) {
            codes[j] = has_pose ? code_of(head, mean, j) : 0;
            codes[12 + j] = has_torso ? code_of(torso, identity, j) : 0;
        }
        out[DRIVE_HAS_TORSO] = TORSO_MEMBERSHIP && has_pose;
        if (has_pose) {
            Pose p = torso_motion(head, mean, has_torso ? &torso : nullptr);
            for (int j = 0; j < 9; j++) out[DRIVE_TORSO + j] = p.turn[j];
            for (int j = 0; j < 3; j++) out[DRIVE_TORSO + 9 + j] = p.shift[j];
            put(out + DRIVE_TORSO + 12, quaternion_of(matrix_of_rows(p.turn)));
        }
    }
    SYNC();
    const float *expression = d.expression[view];
    float *signals = out + DRIVE_SIGNALS;
    FOR_ITEMS(j, SIGNAL_SIZE) {
        float value;
        if (j < NUM_EXPRESSION) value = EXPRESSION_GAIN * expression[j];
        else if (POSE_CONDITIONING) value = codes[j - NUM_EXPRESSION];
        else value = codes[12 + j - NUM_EXPRESSION];
        value = fminf(fmaxf(value, args.known.signals[j]), args.known.signals[SIGNAL_SIZE + j]);
        if (d.noise[view] != nullptr) value += d.noise[view][j];
        signals[j] = value;
        signals[SIGNAL_SIZE + j] = j < NUM_EXPRESSION ? value : 0;
    }
    FOR_ITEMS(b, NUM_BALLS) {
        float v[3] = {0, 0, 0};
        for (int c = 0; c < 3; c++)
            for (int e = 0; e < NUM_EXPRESSION; e++)
                v[c] += args.known.ball_turns[(3 * b + c) * NUM_EXPRESSION + e] * expression[e];
        turn_of(vec(v), out + DRIVE_BALLS + 9 * b);
    }
    SYNC();
    FOR_ITEMS(item, 2 * (BLEND_WIDTH + 2 * FIELD_WIDTH)) {
        int g = item % 2, j = item / 2;
        const float *s = signals + g * SIGNAL_SIZE, *row;
        float sum, *target;
        if (j < BLEND_WIDTH)
            row = w.blend0.weight + j * SIGNAL_SIZE, sum = w.blend0.bias[j], target = hidden + g * BLEND_WIDTH + j;
        else if (j < BLEND_WIDTH + FIELD_WIDTH)
            j -= BLEND_WIDTH, row = w.field0.weight + j * (FIELD0_IN + SIGNAL_SIZE) + FIELD0_IN,
                sum = w.field0.bias[j], target = out + DRIVE_PRODUCT0 + g * FIELD_WIDTH + j;
        else
            j -= BLEND_WIDTH + FIELD_WIDTH, row = w.field1.weight + j * (FIELD1_IN + SIGNAL_SIZE) + FIELD1_IN,
                sum = w.field1.bias[j], target = out + DRIVE_PRODUCT1 + g * FIELD_WIDTH + j;
        for (int k = 0; k < SIGNAL_SIZE; k++) sum += row[k] * s[k];
        *target = sum;
    }
    SYNC();
    FOR_ITEMS(item, 2 * NUM_BLENDSHAPES) {
        int g = item / NUM_BLENDSHAPES, b = item % NUM_BLENDSHAPES;
        float sum = w.blend1.bias[b];
        for (int k = 0; k < BLEND_WIDTH; k++)
            sum += w.blend1.weight[b * BLEND_WIDTH + k] * silu(hidden[g * BLEND_WIDTH + k]);
        out[DRIVE_BLEND + item] = sum;
    }
}

/* Where entry (m, k) of a packed layer comes from: a weight or a bias of torch's layers; null where it is padding. */
template <class L> DEVICE float *source(const Weights &w, int m, int k);
DEVICE float *entry(const Linear2 &l, int m, int k, int inputs, int columns) {
    return k < inputs ? l.weight + m * columns + k : k == inputs ? l.bias + m : nullptr;
}
template <> DEVICE float *source<SHAPE0>(const Weights &w, int m, int k) {
    return m < SHAPE_WIDTH ? entry(w.shape0, m, k, SHAPE0_IN, SHAPE0_IN) : nullptr;
}
template <> DEVICE float *source<SHAPE1>(const Weights &w, int m, int k) {
    return m < SHAPE_WIDTH ? entry(w.shape1, m, k, SHAPE_WIDTH, SHAPE_WIDTH) : nullptr;
}
template <> DEVICE float *source<SHAPE2>(const Weights &w, int m, int k) {
    return m < 3 ? entry(w.shape2, m, k, SHAPE_WIDTH, SHAPE_WIDTH) : nullptr;
}
template <> DEVICE float *source<FIELD0>(const Weights &w, int m, int k) {
    return m < FIELD_WIDTH && k < FIELD0_IN ? w.field0.weight + m * (FIELD0_IN + SIGNAL_SIZE) + k : nullptr;
}
template <> DEVICE float *source<FIELD1>(const Weights &w, int m, int k) {
    return m < FIELD_WIDTH && k < FIELD1_IN ? w.field1.weight + m * (FIELD1_IN + SIGNAL_SIZE) + k : nullptr;
}
template <> DEVICE float *source<FIELD2>(const Weights &w, int m, int k) {
    if (m < 3) return entry(w.field_xyz, m, k, FIELD_WIDTH, FIELD_WIDTH);
    if (m < 7) return entry(w.field_rotation, m - 3, k, FIELD_WIDTH, FIELD_WIDTH);
    return m < 10 ? entry(w.field_log_scale, m - 7, k, FIELD_WIDTH, FIELD_WIDTH) : nullptr;
}
template <> DEVICE float *source<DECODER0>(const Weights &w, int m, int k) {
    return m < DECODER_WIDTH ? entry(w.decoder0, m, k, NUM_CHANNELS, NUM_CHANNELS) : nullptr;
}
template <> DEVICE float *source<DECODER1>(const Weights &w, int m, int k) {
    /* The logit comes first there, and behind the geometry feature here. */
    int row = m < NUM_GEOMETRY ? m + 1 : 0;
    return m <= NUM_GEOMETRY ? entry(w.decoder1, row, k, DECODER_WIDTH, DECODER_WIDTH) : nullptr;
}
template <> DEVICE float *source<DECODER2>(const Weights &w, int m, int k) {
    /* Three more inputs are the view's direction, which is none on a scaffold. */
    return m < DECODER_WIDTH ? entry(w.decoder2, m, k, NUM_GEOMETRY, NUM_GEOMETRY + 3) : nullptr;
}
template <> DEVICE float *source<DECODER3>(const Weights &w, int m, int k) {
    return m < 3 ? entry(w.decoder3, m, k, DECODER_WIDTH, DECODER_WIDTH) : nullptr;
}

template <class L> DEVICE void pack(const Weights &w, float *packed, int begin, int step) {
    for (int item = begin; item < 16 * L::ITEMS; item += step) {
        const float *from = source<L>(w, item / (4 * QUADS(L::IN)), item % (4 * QUADS(L::IN)));
        packed[L::WEIGHTS + item] = from != nullptr ? *from : 0;
    }
}

template <class L> DEVICE void unpack(const Weights &v, const float *packed, int begin, int step) {
    for (int item = begin; item < 16 * L::ITEMS; item += step) {
        float *to = source<L>(v, item / (4 * QUADS(L::IN)), item % (4 * QUADS(L::IN)));
        if (to != nullptr) *to = packed[L::WEIGHTS + item];
    }
}

#define PLANES_SIZE (3 * RESOLUTION * RESOLUTION * NUM_CHANNELS)

/* Where a number of [3, R, R, C] is in [3, C, R, R]. */
DEVICE int channel_first(int item) {
    int c = item % NUM_CHANNELS, place = item / NUM_CHANNELS, area = RESOLUTION * RESOLUTION;
    return (place / area * NUM_CHANNELS + c) * area + place % area;
}

KERNEL drive_forward(DriveForward args) {
    SHARED(memory);
    float *codes = reinterpret_cast<float *>(memory), *hidden = codes + 24;
    if (int(BLOCK) < args.num_views) {
        say_drive(args, BLOCK, codes, hidden);
        return;
    }
    int begin = (BLOCK - args.num_views) * THREADS + threadIdx.x, step = (NUM_BLOCKS - args.num_views) * THREADS;
    const Weights &w = args.weights;
    pack<SHAPE0>(w, args.packed, begin, step), pack<SHAPE1>(w, args.packed, begin, step);
    pack<SHAPE2>(w, args.packed, begin, step), pack<FIELD0>(w, args.packed, begin, step);
    pack<FIELD1>(w, args.packed, begin, step), pack<FIELD2>(w, args.packed, begin, step);
    pack<DECODER0>(w, args.packed, begin, step), pack<DECODER1>(w, args.packed, begin, step);
    pack<DECODER2>(w, args.packed, begin, step), pack<DECODER3>(w, args.packed, begin, step);
    for (int item = begin; item < PLANES_SIZE; item += step) args.planes[item] = w.planes[channel_first(item)];
}

/* Block 0: the networks that a drive goes through; the others unpack. */
KERNEL drive_backward(DriveBackward args) {
    const Weights &v = args.v_weights;
    if (BLOCK > 0) {
        int begin = (BLOCK - 1) * THREADS + threadIdx.x, step = (NUM_BLOCKS - 1) * THREADS;
        unpack<SHAPE0>(v, args.v_packed, begin, step), unpack<SHAPE1>(v, args.v_packed, begin, step);
        unpack<SHAPE2>(v, args.v_packed, begin, step);
#if DEFORMS
        unpack<FIELD0>(v, args.v_packed, begin, step), unpack<FIELD1>(v, args.v_packed, begin, step);
        unpack<FIELD2>(v, args.v_packed, begin, step);
#endif
        unpack<DECODER0>(v, args.v_packed, begin, step), unpack<DECODER1>(v, args.v_packed, begin, step);
        unpack<DECODER2>(v, args.v_packed, begin, step), unpack<DECODER3>(v, args.v_packed, begin, step);
        for (int item = begin; item < 3 * DECODER_WIDTH; item += step)
            v.decoder2.weight[item / 3 * (NUM_GEOMETRY + 3) + NUM_GEOMETRY + item % 3] = 0;
        for (int item = begin; item < PLANES_SIZE; item += step) v.planes[channel_first(item)] = args.v_planes[item];
        return;
    }
#if DEFORMS
    SHARED(memory);
    const Weights &w = args.weights;
    float *before = reinterpret_cast<float *>(memory); /* [2 V, BLEND_WIDTH] before SiLU */
    float *v_before = before + 2 * args.num_views * BLEND_WIDTH;
    int num = 2 * args.num_views;
    FOR_ITEMS(item, num * BLEND_WIDTH) {
        int n = item / BLEND_WIDTH, j = item % BLEND_WIDTH;
        const float *s = args.drives + n / 2 * DRIVE_SIZE + DRIVE_SIGNALS + n % 2 * SIGNAL_SIZE;
        const float *v_blend = args.v_drives + n / 2 * DRIVE_SIZE + DRIVE_BLEND + n % 2 * NUM_BLENDSHAPES;
        float sum = w.blend0.bias[j], back = 0;
        for (int k = 0; k < SIGNAL_SIZE; k++) sum += w.blend0.weight[j * SIGNAL_SIZE + k] * s[k];
        for (int b = 0; b < NUM_BLENDSHAPES; b++) back += w.blend1.weight[b * BLEND_WIDTH + j] * v_blend[b];
        before[item] = sum, v_before[item] = back * silu_slope(sum);
    }
    SYNC();
    FOR_ITEMS(item, NUM_BLENDSHAPES * (BLEND_WIDTH + 1)) {
        int b = item / (BLEND_WIDTH + 1), j = item % (BLEND_WIDTH + 1);
        float sum = 0;
        for (int n = 0; n < num; n++) {
            float vb = args.v_drives[n / 2 * DRIVE_SIZE + DRIVE_BLEND + n % 2 * NUM_BLENDSHAPES + b];
            sum += vb * (j < BLEND_WIDTH ? silu(before[n * BLEND_WIDTH + j]) : 1);
        }
        if (j < BLEND_WIDTH) v.blend1.weight[b * BLEND_WIDTH + j] = sum;
        else v.blend1.bias[b] = sum;
    }
    /* Rows of a layer that reads the signals: gradient of its output (times) signals, and of its bias. */
    FOR_ITEMS(item, (BLEND_WIDTH + 2 * FIELD_WIDTH) * (SIGNAL_SIZE + 1)) {
        int row = item / (SIGNAL_SIZE + 1), k = item % (SIGNAL_SIZE + 1);
        float sum = 0;
        for (int n = 0; n < num; n++) {
            const float *drive = args.drives + n / 2 * DRIVE_SIZE, *vd = args.v_drives + n / 2 * DRIVE_SIZE;
            float value;
            if (row < BLEND_WIDTH) value = v_before[n * BLEND_WIDTH + row];
            else if (row < BLEND_WIDTH + FIELD_WIDTH)
                value = vd[DRIVE_PRODUCT0 + n % 2 * FIELD_WIDTH + row - BLEND_WIDTH];
            else value = vd[DRIVE_PRODUCT1 + n % 2 * FIELD_WIDTH + row - BLEND_WIDTH - FIELD_WIDTH];
            sum += value * (k < SIGNAL_SIZE ? drive[DRIVE_SIGNALS + n % 2 * SIGNAL_SIZE + k] : 1);
        }
        float *to;
        if (row < BLEND_WIDTH) to = k < SIGNAL_SIZE ? v.blend0.weight + row * SIGNAL_SIZE + k : v.blend0.bias + row;
        else if (row < BLEND_WIDTH + FIELD_WIDTH) {
            row -= BLEND_WIDTH;
            to = k < SIGNAL_SIZE ? v.field0.weight + row * (FIELD0_IN + SIGNAL_SIZE) + FIELD0_IN + k
                                 : v.field0.bias + row;
        } else {
            row -= BLEND_WIDTH + FIELD_WIDTH;
            to = k < SIGNAL_SIZE ? v.field1.weight + row * (FIELD1_IN + SIGNAL_SIZE) + FIELD1_IN + k
                                 : v.field1.bias + row;
        }
        *to = sum;
    }
#endif
}

KERNEL mesh_forward(MeshForward args) {
    int size = 3 * args.num_vertices;
    for (int item = BLOCK * THREADS + threadIdx.x; item < size; item += NUM_BLOCKS * THREADS) {
        int vertex = item / 3, axis = item % 3, ball = -1;
        for (int b = 0; b < NUM_BALLS; b++)
            if (vertex >= args.ball_ranges[2 * b] && vertex < args.ball_ranges[2 * b + 1]) ball = b;
        for (int view = 0; view < args.num_views; view++) {
            float sum;
            if (ball >= 0) {
                Vec center = vec(args.ball_centers + 3 * ball);
                Vec from = vec(args.neutral + 3 * vertex) - center;
                const float *row = args.drives + view * DRIVE_SIZE + DRIVE_BALLS + 9 * ball + 3 * axis;
                sum = dot(vec(row), from) + (&center.x)[axis];
            } else {
                const float *e = args.expression[view];
                sum = args.neutral[item];
                for (int k = 0; k < NUM_EXPRESSION; k++) sum += e[k] * args.shapes[(long long)k * size + item];
            }
            args.out[(long long)view * size + item] = sum;
        }
    }
}
