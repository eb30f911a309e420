/* A head on a scaffold, all of it: canonical Gaussians and a drive in, splats out; and the way back.

A block takes TILE Gaussians at a time through the head: what it computes of them lies in shared memory, a row
for each, and small networks are products of rows with packed weights (network.cuh). head_forward keeps nothing;
head_backward computes it again. Gradients of weights are kept in registers over all tiles and views of a block,
and added to those of other blocks once; gradients of a Gaussian are added up over the views by its block.

The views are V drives of the same Gaussians. What depends on a drive alone comes from drive.cu. Formulas are
those of scene/head_model.py and the modules that it calls, where their sources are named. */
#include "mesh.cuh"
#include "network.cuh"
#include "sampling.cuh"

struct Gaussians { /* what is learned of each, raw; or the gradients of it */
    float *xyz;            /* [N, 3] */
    float *log_scale;      /* [N, 3] */
    float *rotation;       /* [N, 4] */
    float *tau;            /* [N, K, 4] */
    float *opacity_offset; /* [N] */
    float *blendshapes;    /* [N, B, 14] */
    float *torso_logit;    /* [N] */
    float *color;          /* [N, 3] */
};

struct Splats { /* [V, N, ...]; or the gradients of them */
    float *means, *opacities, *scales, *rotations, *colors;
};

struct Head {
    Gaussians gaussians;
    Places places;
    Mesh mesh;
    const float *vertices; /* [V, M, 3] of the driven mesh */
    const float *drives;   /* [V, DRIVE_SIZE] */
    const float *weights;  /* packed, WEIGHTS_SIZE */
    const float *planes;   /* [3, R, R, C] */
    float inverse_width;   /* of the tri-plane: 1 / half of it */
    int num, num_views, num_vertices;
};

struct Forward {
    Head head;
    Splats out;
};

struct Backward {
    Head head;
    Splats v_out;
    Gaussians v_gaussians;
    float *v_drives;  /* [V, DRIVE_SIZE]; of blend weights and shared products; cleared before */
    float *v_weights; /* packed, cleared before */
    float *v_planes;  /* [3, R, R, C], cleared before */
};

/* Rows of a tile in shared memory. Inputs of layers with a 1 behind them, for the bias. */
struct Rows {
    float *shape0, *shape1, *shape2;     /* encoding; hidden; hidden */
    float *field0, *field1;              /* [hidden | encoding]; hidden */
    float *features, *geometry, *decoded, *color; /* inputs of the decoder's four layers */
    float *offsets;                      /* of the field: xyz 3, rotation 4, log-scale 3 */
    float *blend;                        /* 14, as in scene/blendshapes.py */
    float *place;                        /* Place, below */
};

struct Place { /* of a Gaussian, before its views */
    float x[3], x1[3], shape[3]; /* canonical; with the shape field, tanh of it */
    float reach, seen, of_head, is_there;
};

struct Placed { /* of a Gaussian in a view, before the scaffold carries it */
    Vec x2, bent; /* bent: tanh of the shift over the reach */
    Quat rotation;
    Vec log_scale;
};

#define PLACE_STRIDE 13
#define OFFSETS_STRIDE STRIDE(10)
#define BLEND_STRIDE 15

DEVICE float *take(float *&free, int size) {
    float *taken = free;
    free += size;
    return taken;
}

DEVICE Rows rows_in(float *&free) {
    Rows r;
    r.shape0 = take(free, TILE * STRIDE(SHAPE0_IN + 1));
    r.shape1 = take(free, TILE * STRIDE(SHAPE_WIDTH + 1));
    r.shape2 = take(free, TILE * STRIDE(SHAPE_WIDTH + 1));
    r.field0 = take(free, TILE * STRIDE(FIELD1_IN));
    r.field1 = take(free, TILE * STRIDE(FIELD_WIDTH + 1));
    r.features = take(free, TILE * STRIDE(NUM_CHANNELS + 1));
    r.geometry = take(free, TILE * STRIDE(DECODER_WIDTH + 1));
    r.decoded = take(free, TILE * STRIDE(NUM_GEOMETRY + 1));
    r.color = take(free, TILE * STRIDE(DECODER_WIDTH + 1));
    r.offsets = take(free, TILE * OFFSETS_STRIDE);
    r.blend = take(free, TILE * (BLEND_STRIDE + 1));
    r.place = take(free, TILE * (PLACE_STRIDE + 3));
    return r;
}

DEVICE Place &place_of(const Rows &r, int row) {
    return *reinterpret_cast<Place *>(r.place + row * PLACE_STRIDE);
}

/* Item j of the encoding of a point: itself, sines, cosines (scene/deformation.py). */
DEVICE float encoded(const float *point, int j, int frequencies) {
    if (j < 3) return point[j];
    int k = j - 3, is_cosine = k >= 3 * frequencies;
    k -= is_cosine * 3 * frequencies;
    float angle = point[k % 3] * float(1 << (k / 3));
    return is_cosine ? cosf(angle) : sinf(angle);
}

/* Columns that pad rows are read, and multiplied by weights of zero. */
DEVICE void clear_shared(float *from, float *to) {
    FOR_ITEMS(item, int(to - from)) from[item] = 0;
    SYNC();
}

/* What does not depend on the view: places, the shape field, the encoding that the deformation field reads. */
DEVICE void begin_tile(const Head &h, const Rows &r, int first) {
    FOR_ITEMS(row, TILE) {
        Place &p = place_of(r, row);
        int i = first + row;
        p.is_there = i < h.num;
        i = i < h.num ? i : h.num - 1;
        int t = h.places.triangle[i];
        put(p.x, vec(h.gaussians.xyz + 3 * i));
        p.reach = h.mesh.limits[3 * t], p.seen = h.mesh.seen[t], p.of_head = h.mesh.is_of_head[t] ? 1 : 0;
        r.shape0[row * STRIDE(SHAPE0_IN + 1) + SHAPE0_IN] = 1;
        r.shape1[row * STRIDE(SHAPE_WIDTH + 1) + SHAPE_WIDTH] = 1;
        r.shape2[row * STRIDE(SHAPE_WIDTH + 1) + SHAPE_WIDTH] = 1;
        r.field1[row * STRIDE(FIELD_WIDTH + 1) + FIELD_WIDTH] = 1;
        r.features[row * STRIDE(NUM_CHANNELS + 1) + NUM_CHANNELS] = 1;
        r.geometry[row * STRIDE(DECODER_WIDTH + 1) + DECODER_WIDTH] = 1;
        r.color[row * STRIDE(DECODER_WIDTH + 1) + DECODER_WIDTH] = 1;
    }
    SYNC();
    FOR_ITEMS(item, TILE * SHAPE0_IN) {
        int row = item / SHAPE0_IN, j = item % SHAPE0_IN;
        r.shape0[row * STRIDE(SHAPE0_IN + 1) + j] = encoded(place_of(r, row).x, j, SHAPE_FREQUENCIES);
    }
    SYNC();
    layer<SHAPE0>(r.shape0, h.weights, r.shape1, Relu());
    SYNC();
    layer<SHAPE1>(r.shape1, h.weights, r.shape2, Relu());
    SYNC();
    layer<SHAPE2>(r.shape2, h.weights, r.offsets, Linear());
    SYNC();
    FOR_ITEMS(row, TILE) {
        Place &p = place_of(r, row);
        for (int c = 0; c < 3; c++) {
            p.shape[c] = tanhf(r.offsets[row * OFFSETS_STRIDE + c] / p.reach);
            p.x1[c] = p.x[c] + p.reach * p.shape[c];
        }
    }
    SYNC();
#if DEFORMS
    FOR_ITEMS(item, TILE * FIELD0_IN) {
        int row = item / FIELD0_IN, j = item % FIELD0_IN;
        r.field0[row * STRIDE(FIELD1_IN) + FIELD_WIDTH + j] = encoded(place_of(r, row).x1, j, FREQUENCIES);
    }
    SYNC();
#endif
}

DEVICE Placed placed(const Head &h, const Rows &r, int row, int i) {
    const Place &p = place_of(r, row);
    Placed q;
    q.x2 = vec(p.x1), q.bent = Vec{0, 0, 0};
    q.rotation = quat(h.gaussians.rotation + 4 * i), q.log_scale = vec(h.gaussians.log_scale + 3 * i);
#if DEFORMS
    const float *o = r.offsets + row * OFFSETS_STRIDE, *b = r.blend + row * BLEND_STRIDE;
    Vec shift = (1 / p.reach) * (vec(o) + MOTION_UNIT * vec(b));
    q.bent = Vec{tanhf(shift.x), tanhf(shift.y), tanhf(shift.z)};
    q.x2 = q.x2 + p.reach * q.bent;
    q.rotation = q.rotation + (quat(o + 3) + quat(b + 3));
    q.log_scale = q.log_scale + (vec(o + 7) + vec(b + 7));
#endif
    return q;
}

/* What a drive makes of the rows: offsets of field and blendshapes, features, opacity logit and colour. */
DEVICE void view_of_tile(const Head &h, const Rows &r, int first, const float *drive, float *logits, float *colors) {
#if DEFORMS
    layer<FIELD0>(r.field0 + FIELD_WIDTH, h.weights, r.field0, Relu(), [&](int row) {
        return drive + DRIVE_PRODUCT0 + (place_of(r, row).of_head > 0 ? FIELD_WIDTH : 0);
    });
    FOR_ITEMS(item, TILE * OFFSET_SIZE) {
        int row = item / OFFSET_SIZE, c = item % OFFSET_SIZE, i = min(first + row, h.num - 1);
        const float *w = drive + DRIVE_BLEND + (place_of(r, row).of_head > 0 ? NUM_BLENDSHAPES : 0);
        float sum = 0;
        for (int b = 0; b < NUM_BLENDSHAPES; b++)
            sum += w[b] * h.gaussians.blendshapes[(long long)(i * NUM_BLENDSHAPES + b) * OFFSET_SIZE + c];
        r.blend[row * BLEND_STRIDE + c] = sum;
    }
    SYNC();
    layer<FIELD1>(r.field0, h.weights, r.field1, Relu(), [&](int row) {
        return drive + DRIVE_PRODUCT1 + (place_of(r, row).of_head > 0 ? FIELD_WIDTH : 0);
    });
    SYNC();
    layer<FIELD2>(r.field1, h.weights, r.offsets, Linear());
    SYNC();
#endif
    FOR_ITEMS(item, TILE * NUM_DERIVATIONS) {
        int row = item / NUM_DERIVATIONS, k = item % NUM_DERIVATIONS, i = min(first + row, h.num - 1);
        Placed q = placed(h, r, row, i);
        Derived d = derived(quat(h.gaussians.tau + 4 * (i * NUM_DERIVATIONS + k)), q.x2);
        Samples s = samples_at(d.place, h.inverse_width);
        for (int c = 0; c < BLOCK_CHANNELS; c += 4) {
            float4 f[3];
            for (int p = 0; p < 3; p++) f[p] = sampled(h.planes, s, p, k * BLOCK_CHANNELS + c);
            float4 *out = reinterpret_cast<float4 *>(r.features + row * STRIDE(NUM_CHANNELS + 1) +
                                                     k * BLOCK_CHANNELS + c);
            *out = times(f[0], times(f[1], f[2]));
        }
    }
    SYNC();
    layer<DECODER0>(r.features, h.weights, r.geometry, Relu());
    SYNC();
    layer<DECODER1>(r.geometry, h.weights, r.decoded, Linear());
    SYNC();
    /* Behind the geometry feature stands the logit; the bias of the next layer goes there. */
    FOR_ITEMS(row, TILE) {
        float *last = r.decoded + row * STRIDE(NUM_GEOMETRY + 1) + NUM_GEOMETRY;
        logits[row] = *last;
        *last = 1;
    }
    SYNC();
    layer<DECODER2>(r.decoded, h.weights, r.color, Relu());
    SYNC();
    layer<DECODER3>(r.color, h.weights, colors, Linear());
    SYNC();
}

struct Carried { /* a Gaussian in a view, and what leads there */
    Matrix turn;
    Vec rest, x3, moved_by_torso; /* the last one: against x3, at a membership of 1 */
    Quat turn_q, rotation3, mixed, torso_turn, total;
    float membership, mixed_inverse, total_inverse, log_stretch;
};

/* Where the scaffold, and the torso what belongs to it, take a Gaussian (scene/scaffold.py, scene/torso.py). */
DEVICE Carried carried(const Head &h, const Place &p, const Placed &q, int i, int view, const float *drive) {
    Carried c;
    int t = h.places.triangle[i];
    const int *corners = h.mesh.triangles + 3 * t;
    const float *vertices = h.vertices + 3LL * view * h.num_vertices;
    Vec a = vec(vertices + 3 * corners[0]), b = vec(vertices + 3 * corners[1]), d = vec(vertices + 3 * corners[2]);
    Vec bary = vec(h.places.barycentric + 3 * i);
    Vec crossed = cross(b - a, d - a), edge = normalized(b - a), normal = normalized(crossed);
    Matrix frame{edge, cross(normal, edge), normal};
    c.turn = times_transposed(frame, matrix_of_rows(h.mesh.rest_frames + 9 * t));
    c.turn_q = quaternion_of(c.turn);
    float grown = 0.5f * logf(fmaxf(length(crossed), 1e-12f) / h.mesh.rest_areas[t]);
    c.log_stretch = fminf(fmaxf(grown, -LOG_STRETCH), LOG_STRETCH);
    c.rest = on_triangle(h.mesh.neutral, corners, bary);
    c.x3 = on_triangle(vertices, corners, bary) + c.turn * (q.x2 - c.rest);
    c.rotation3 = c.turn_q * q.rotation;
    c.membership = 0;
    c.moved_by_torso = Vec{0, 0, 0};
    c.torso_turn = c.mixed = Quat{1, 0, 0, 0};
    c.mixed_inverse = 1;
#if TORSO_MEMBERSHIP
    if (drive[DRIVE_HAS_TORSO] > 0 && p.of_head == 0) {
        c.membership = sigmoid(h.gaussians.torso_logit[i]);
        c.moved_by_torso =
            (matrix_of_rows(drive + DRIVE_TORSO) * c.x3 + vec(drive + DRIVE_TORSO + 9)) - c.x3;
        c.torso_turn = quat(drive + DRIVE_TORSO + 12);
        Quat mixed = Quat{1, 0, 0, 0} + c.membership * (c.torso_turn + Quat{-1, 0, 0, 0});
        c.mixed_inverse = inverse_length(mixed);
        c.mixed = c.mixed_inverse * mixed;
    }
#endif
    Quat total = c.mixed * c.rotation3;
    c.total_inverse = inverse_length(total);
    c.total = c.total_inverse * total;
    return c;
}

DEVICE float opacity_logit(const Head &h, const Rows &r, int row, int i, float logit) {
#if DEFORMS
    logit += r.blend[row * BLEND_STRIDE + 10];
#endif
    return place_of(r, row).seen * logit + h.gaussians.opacity_offset[i];
}

KERNEL head_forward(Forward args) {
    SHARED(memory);
    const Head &h = args.head;
    float *free = reinterpret_cast<float *>(memory);
    Rows r = rows_in(free);
    float *logits = take(free, TILE), *colors = take(free, TILE * STRIDE(3));
    clear_shared(reinterpret_cast<float *>(memory), free);
    int first = BLOCK * TILE;
    begin_tile(h, r, first);
    for (int view = 0; view < h.num_views; view++) {
        const float *drive = h.drives + view * DRIVE_SIZE;
        view_of_tile(h, r, first, drive, logits, colors);
        FOR_ITEMS(row, TILE) {
            int i = first + row;
            if (i >= h.num) continue;
            const Place &p = place_of(r, row);
            Placed q = placed(h, r, row, i);
            Carried c = carried(h, p, q, i, view, drive);
            long long at = (long long)view * h.num + i;
            put(args.out.means + 3 * at, c.x3 + c.membership * c.moved_by_torso);
            Vec s = q.log_scale;
            put(args.out.scales + 3 * at,
                Vec{expf(s.x + c.log_stretch), expf(s.y + c.log_stretch), expf(s.z + c.log_stretch)});
            put(args.out.rotations + 4 * at, c.total);
            float least = LEAST_OPACITY * p.of_head;
            float z = opacity_logit(h, r, row, i, logits[row]);
            args.out.opacities[at] = least + (1 - least) * sigmoid(z);
            Vec own = vec(colors + row * STRIDE(3)) + vec(h.gaussians.color + 3 * i);
#if DEFORMS
            own = own + vec(r.blend + row * BLEND_STRIDE + 11);
#endif
            const int *corners = h.mesh.triangles + 3 * h.places.triangle[i];
            Vec seat = on_triangle(h.mesh.color, corners, vec(h.places.barycentric + 3 * i));
            put(args.out.colors + 3 * at, p.seen * own + seat);
        }
        SYNC();
    }
}

struct Gradients { /* of a tile, in shared memory: before the activations */
    float *shape0, *shape1, *shape2;
    float *field0, *field1, *field2;
    float *decoder0, *decoder1, *decoder2, *decoder3;
    float *features, *derived; /* the latter: of x2, by each doppelganger */
    float *rows;               /* RowGradients */
};

struct RowGradients {
    float x1[3], x2[3], rotation[4], log_scale[3], logit;
};
#define ROW_GRADIENTS 15 /* floats, one of them to keep rows in different banks */

DEVICE Gradients gradients_in(float *&free) {
    Gradients g;
    g.shape0 = take(free, TILE * STRIDE(SHAPE_WIDTH));
    g.shape1 = take(free, TILE * STRIDE(SHAPE_WIDTH));
    g.shape2 = take(free, TILE * STRIDE(3));
    g.field0 = take(free, TILE * STRIDE(FIELD_WIDTH));
    g.field1 = take(free, TILE * STRIDE(FIELD_WIDTH));
    g.field2 = take(free, TILE * STRIDE(10));
    g.decoder0 = take(free, TILE * STRIDE(DECODER_WIDTH));
    g.decoder1 = take(free, TILE * STRIDE(NUM_GEOMETRY + 1));
    g.decoder2 = take(free, TILE * STRIDE(DECODER_WIDTH));
    g.decoder3 = take(free, TILE * STRIDE(3));
    g.features = take(free, TILE * STRIDE(NUM_CHANNELS));
    g.derived = take(free, TILE * (3 * NUM_DERIVATIONS + 1));
    g.rows = take(free, TILE * ROW_GRADIENTS);
    return g;
}

DEVICE RowGradients &row_gradients(const Gradients &g, int row) {
    return *reinterpret_cast<RowGradients *>(g.rows + row * ROW_GRADIENTS);
}

DEVICE void add_or_set(float *target, float value, bool adds) { *target = adds ? *target + value : value; }

/* From the gradients of a view's splats to those of its last layers, and of what is placed. */
DEVICE void split_gradients(const Backward &args, const Rows &r, const Gradients &g, int first, int view,
                            const float *drive, const float *logits) {
    const Head &h = args.head;
    FOR_ITEMS(row, TILE) {
        const Place &p = place_of(r, row);
        RowGradients &v = row_gradients(g, row);
        float *v_color = g.decoder3 + row * STRIDE(3);
        float *v_geometry = g.decoder1 + row * STRIDE(NUM_GEOMETRY + 1);
        for (int c = NUM_GEOMETRY; c < STRIDE(NUM_GEOMETRY + 1); c++) v_geometry[c] = 0;
        v_color[3] = 0;
        int i = first + row;
        if (i >= h.num) {
            put(v_color, Vec{0, 0, 0});
            v = RowGradients{};
            continue;
        }
        Placed q = placed(h, r, row, i);
        Carried c = carried(h, p, q, i, view, drive);
        long long at = (long long)view * h.num + i;

        Quat v_total = normalize_backward(c.total, c.total_inverse, quat(args.v_out.rotations + 4 * at));
        Quat v_rotation3 = conjugate(c.mixed) * v_total;
        put(v.rotation, conjugate(c.turn_q) * v_rotation3);
        Vec v_mean = vec(args.v_out.means + 3 * at), v_x3 = v_mean;
#if TORSO_MEMBERSHIP
        float v_membership = 0;
        if (c.membership > 0) {
            Quat v_mixed = v_total * conjugate(c.rotation3);
            v_mixed = normalize_backward(c.mixed, c.mixed_inverse, v_mixed);
            v_membership = dot(v_mixed, c.torso_turn + Quat{-1, 0, 0, 0}) + dot(v_mean, c.moved_by_torso);
            Vec back = transposed_times(matrix_of_rows(drive + DRIVE_TORSO), v_mean);
            v_x3 = v_mean + c.membership * (back - v_mean);
        }
        float v_logit = v_membership * c.membership * (1 - c.membership);
        add_or_set(args.v_gaussians.torso_logit + i, v_logit, view > 0);
#endif
        put(v.x2, transposed_times(c.turn, v_x3));
        Vec s = q.log_scale, v_scale = vec(args.v_out.scales + 3 * at);
        put(v.log_scale, Vec{v_scale.x * expf(s.x + c.log_stretch), v_scale.y * expf(s.y + c.log_stretch),
                             v_scale.z * expf(s.z + c.log_stretch)});

        float least = LEAST_OPACITY * p.of_head;
        float o = sigmoid(opacity_logit(h, r, row, i, logits[row]));
        float v_z = args.v_out.opacities[at] * (1 - least) * o * (1 - o);
        add_or_set(args.v_gaussians.opacity_offset + i, v_z, view > 0);
        v.logit = v_geometry[NUM_GEOMETRY] = p.seen * v_z;
        put(v_color, p.seen * vec(args.v_out.colors + 3 * at));
        for (int k = 0; k < 3; k++) {
            add_or_set(args.v_gaussians.color + 3 * i + k, v_color[k], view > 0);
            add_or_set(args.v_gaussians.log_scale + 3 * i + k, v.log_scale[k], view > 0);
        }
        for (int k = 0; k < 4; k++)
            add_or_set(args.v_gaussians.rotation + 4 * i + k, v.rotation[k], view > 0);
    }
}

/* From features to planes, tau, and places. */
DEVICE void features_backward(const Backward &args, const Rows &r, const Gradients &g, int first, int view) {
    const Head &h = args.head;
    FOR_ITEMS(item, TILE * NUM_DERIVATIONS) {
        int row = item / NUM_DERIVATIONS, k = item % NUM_DERIVATIONS, i = first + row;
        float *v_x2 = g.derived + row * (3 * NUM_DERIVATIONS + 1) + 3 * k;
        if (i >= h.num) {
            put(v_x2, Vec{0, 0, 0});
            continue;
        }
        Placed q = placed(h, r, row, i);
        Quat tau = quat(h.gaussians.tau + 4 * (i * NUM_DERIVATIONS + k));
        Derived d = derived(tau, q.x2);
        Samples s = samples_at(d.place, h.inverse_width);
        float v_at[6] = {0, 0, 0, 0, 0, 0};
        for (int c = 0; c < BLOCK_CHANNELS; c += 4) {
            int channel = k * BLOCK_CHANNELS + c;
            const float4 *from = reinterpret_cast<const float4 *>(g.features + row * STRIDE(NUM_CHANNELS) + channel);
            float4 v = *from, f[3];
            for (int p = 0; p < 3; p++) f[p] = sampled(h.planes, s, p, channel);
            for (int p = 0; p < 3; p++)
                sampled_backward(h.planes, args.v_planes, s, p, channel,
                                 times(v, times(f[(p + 1) % 3], f[(p + 2) % 3])), v_at + 2 * p);
        }
        Vec v_place = place_backward(s, v_at, h.inverse_width);
        Quat v_tau;
        put(v_x2, derived_backward(tau, q.x2, d, v_place, v_tau));
        for (int j = 0; j < 4; j++)
            add_or_set(args.v_gaussians.tau + 4 * (i * NUM_DERIVATIONS + k) + j, (&v_tau.w)[j], view > 0);
    }
}

/* From places to the offsets of field and blendshapes, and on to the weights of a drive. */
DEVICE void offsets_backward(const Backward &args, const Rows &r, const Gradients &g, int first, int view,
                             const float *drive, float *v_drive, float *v_blend, float *v_weights) {
    const Head &h = args.head;
    FOR_ITEMS(row, TILE) {
        RowGradients &v = row_gradients(g, row);
        Vec v_x2 = vec(v.x2);
        for (int k = 0; k < NUM_DERIVATIONS; k++)
            v_x2 = v_x2 + vec(g.derived + row * (3 * NUM_DERIVATIONS + 1) + 3 * k);
        for (int c = 0; c < 3; c++) v.x1[c] = (view > 0 ? v.x1[c] : 0) + (&v_x2.x)[c];
#if DEFORMS
        Vec b = placed(h, r, row, min(first + row, h.num - 1)).bent;
        Vec v_shift{v_x2.x * (1 - b.x * b.x), v_x2.y * (1 - b.y * b.y), v_x2.z * (1 - b.z * b.z)};
        float *o = g.field2 + row * STRIDE(10), *w = v_blend + row * BLEND_STRIDE;
        put(o, v_shift), put(w, MOTION_UNIT * v_shift);
        put(o + 3, quat(v.rotation)), put(w + 3, quat(v.rotation));
        put(o + 7, vec(v.log_scale)), put(w + 7, vec(v.log_scale));
        for (int c = 10; c < STRIDE(10); c++) o[c] = 0;
        w[10] = v.logit;
        put(w + 11, vec(g.decoder3 + row * STRIDE(3)));
#endif
    }
#if DEFORMS
    SYNC();
    /* Rows of all blendshapes of the tile, one behind the other in memory. */
    FOR_ITEMS(item, TILE * NUM_BLENDSHAPES * OFFSET_SIZE) {
        int row = item / (NUM_BLENDSHAPES * OFFSET_SIZE), rest = item % (NUM_BLENDSHAPES * OFFSET_SIZE);
        int i = first + row, b = rest / OFFSET_SIZE, c = rest % OFFSET_SIZE;
        if (i >= h.num) continue;
        const float *w = drive + DRIVE_BLEND + (place_of(r, row).of_head > 0 ? NUM_BLENDSHAPES : 0);
        add_or_set(args.v_gaussians.blendshapes + (long long)i * NUM_BLENDSHAPES * OFFSET_SIZE + rest,
                   w[b] * v_blend[row * BLEND_STRIDE + c], view > 0);
    }
    FOR_ITEMS(item, TILE * NUM_BLENDSHAPES) {
        int row = item / NUM_BLENDSHAPES, b = item % NUM_BLENDSHAPES, i = first + row;
        float sum = 0;
        if (i < h.num)
            for (int c = 0; c < OFFSET_SIZE; c++)
                sum += v_blend[row * BLEND_STRIDE + c] *
                       h.gaussians.blendshapes[(long long)(i * NUM_BLENDSHAPES + b) * OFFSET_SIZE + c];
        v_weights[row * (NUM_BLENDSHAPES + 1) + b] = sum;
    }
    layer_backward<FIELD2>(g.field2, h.weights, r.field1, g.field1);
    SYNC();
    layer_backward<FIELD1>(g.field1, h.weights, r.field0, g.field0);
    SYNC();
    /* What all Gaussians of a kind share is summed over them. */
    FOR_ITEMS(item, 2 * (NUM_BLENDSHAPES + 2 * FIELD_WIDTH)) {
        int of_head = item % 2, j = item / 2;
        const float *from;
        int stride, target;
        if (j < NUM_BLENDSHAPES)
            from = v_weights + j, stride = NUM_BLENDSHAPES + 1, target = DRIVE_BLEND + of_head * NUM_BLENDSHAPES + j;
        else if (j < NUM_BLENDSHAPES + FIELD_WIDTH)
            j -= NUM_BLENDSHAPES, from = g.field0 + j, stride = STRIDE(FIELD_WIDTH),
                 target = DRIVE_PRODUCT0 + of_head * FIELD_WIDTH + j;
        else
            j -= NUM_BLENDSHAPES + FIELD_WIDTH, from = g.field1 + j, stride = STRIDE(FIELD_WIDTH),
                 target = DRIVE_PRODUCT1 + of_head * FIELD_WIDTH + j;
        float sum = 0;
        for (int row = 0; row < TILE; row++)
            if ((place_of(r, row).of_head > 0) == (of_head == 1)) sum += from[row * stride];
        atomicAdd(v_drive + target, sum);
    }
#endif
}

KERNEL head_backward(Backward args) {
    SHARED(memory);
    const Head &h = args.head;
    float *free = reinterpret_cast<float *>(memory);
    Rows r = rows_in(free);
    Gradients g = gradients_in(free);
    float *logits = take(free, TILE), *colors = take(free, TILE * STRIDE(3));
    float *v_blend = take(free, TILE * BLEND_STRIDE), *v_weights = take(free, TILE * (NUM_BLENDSHAPES + 1));
    clear_shared(reinterpret_cast<float *>(memory), free);
    WeightGradients sums;
    sums.clear();
    for (int first = BLOCK * TILE; first < h.num; first += NUM_BLOCKS * TILE) {
        begin_tile(h, r, first);
        for (int view = 0; view < h.num_views; view++) {
            const float *drive = h.drives + view * DRIVE_SIZE;
            view_of_tile(h, r, first, drive, logits, colors);
            split_gradients(args, r, g, first, view, drive, logits);
            SYNC();
            layer_backward<DECODER3>(g.decoder3, h.weights, r.color, g.decoder2);
            SYNC();
            layer_backward<DECODER2>(g.decoder2, h.weights, nullptr, g.decoder1);
            SYNC();
            layer_backward<DECODER1>(g.decoder1, h.weights, r.geometry, g.decoder0);
            SYNC();
            layer_backward<DECODER0>(g.decoder0, h.weights, nullptr, g.features);
            SYNC();
            features_backward(args, r, g, first, view);
            SYNC();
            offsets_backward(args, r, g, first, view, drive, args.v_drives + view * DRIVE_SIZE, v_blend, v_weights);
            SYNC();
#if DEFORMS
            sums.add<FIELD0>(r.field0 + FIELD_WIDTH, g.field0);
            sums.add<FIELD1>(r.field0, g.field1);
            sums.add<FIELD2>(r.field1, g.field2);
#endif
            sums.add<DECODER0>(r.features, g.decoder0);
            sums.add<DECODER1>(r.geometry, g.decoder1);
            sums.add<DECODER2>(r.decoded, g.decoder2);
            sums.add<DECODER3>(r.color, g.decoder3);
            SYNC();
        }
        FOR_ITEMS(row, TILE) {
            const Place &p = place_of(r, row);
            RowGradients &v = row_gradients(g, row);
            float *out = g.shape2 + row * STRIDE(3);
            for (int c = 0; c < 3; c++) out[c] = v.x1[c] * (1 - p.shape[c] * p.shape[c]);
            out[3] = 0;
            if (p.is_there > 0) put(args.v_gaussians.xyz + 3 * (first + row), vec(v.x1));
        }
        SYNC();
        layer_backward<SHAPE2>(g.shape2, h.weights, r.shape2, g.shape1);
        SYNC();
        layer_backward<SHAPE1>(g.shape1, h.weights, r.shape1, g.shape0);
        SYNC();
        sums.add<SHAPE0>(r.shape0, g.shape0);
        sums.add<SHAPE1>(r.shape1, g.shape1);
        sums.add<SHAPE2>(r.shape2, g.shape2);
        SYNC();
    }
    sums.flush(args.v_weights);
}
