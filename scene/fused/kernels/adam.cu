/* A step of Adam for all parameters at once, plain ones and unit quaternions (scene/adam.py has the formulas).

Blocks take CHUNK numbers each; a parameter's blocks lie together. A thread moves four numbers: of a plain
parameter, or one quaternion. */
#include "common.cuh"

#define CHUNK (4 * THREADS)

struct Parameter {
    float *value;
    const float *grad;
    float *exp_avg, *exp_avg_sq;
    const float *step; /* this one counted */
    const float *rate; /* null: `fixed_rate` */
    float fixed_rate, weight_decay;
    int size, first_block, on_sphere, is_aligned; /* the last: to 16 bytes, as is its size */
};

struct AdamStep {
    Parameter parameters[MAX_PARAMETERS];
    double beta1, beta2;
    float eps;
    int num;
    const float *skip; /* not 0 there: nothing moves; null: all moves */
};

struct Rates {
    float beta1, beta2, rest1, rest2; /* rest: 1 - beta */
    float along, decay, inverse_root; /* rate / (1 - beta1^t), 1 - rate * weight decay, 1 / sqrt(1 - beta2^t) */
};

DEVICE float moved(float &value, float grad, float &m, float &v, const AdamStep &a, const Rates &r) {
    m = r.beta1 * m + r.rest1 * grad;
    v = r.beta2 * v + r.rest2 * grad * grad;
    return value * r.decay - r.along * m / (sqrtf(v) * r.inverse_root + a.eps);
}

DEVICE void move_plain(const Parameter &p, int at, const AdamStep &a, const Rates &r) {
    for (int i = at; i < at + 4 && i < p.size; i++) {
        float m = p.exp_avg[i], v = p.exp_avg_sq[i], value = p.value[i];
        p.value[i] = moved(value, p.grad[i], m, v, a, r);
        p.exp_avg[i] = m, p.exp_avg_sq[i] = v;
    }
}

DEVICE void move_plain_four(const Parameter &p, int at, const AdamStep &a, const Rates &r) {
    float4 &value = *reinterpret_cast<float4 *>(p.value + at);
    float4 x = value, m = *reinterpret_cast<float4 *>(p.exp_avg + at), v = *reinterpret_cast<float4 *>(p.exp_avg_sq + at);
    float4 g = *reinterpret_cast<const float4 *>(p.grad + at);
    x.x = moved(x.x, g.x, m.x, v.x, a, r), x.y = moved(x.y, g.y, m.y, v.y, a, r);
    x.z = moved(x.z, g.z, m.z, v.z, a, r), x.w = moved(x.w, g.w, m.w, v.w, a, r);
    value = x;
    *reinterpret_cast<float4 *>(p.exp_avg + at) = m, *reinterpret_cast<float4 *>(p.exp_avg_sq + at) = v;
}

DEVICE Quat tangent(Quat point, Quat vector) { return vector + (-dot(point, vector)) * point; }

DEVICE void move_on_sphere(const Parameter &p, int at, const AdamStep &a, const Rates &r) {
    Quat x = quat(p.value + at), g = tangent(x, quat(p.grad + at));
    Quat m = r.beta1 * quat(p.exp_avg + at) + r.rest1 * g;
    float v = r.beta2 * p.exp_avg_sq[at] + r.rest2 * dot(g, g);
    x = x + (-r.along / (sqrtf(v) * r.inverse_root + a.eps)) * m;
    x = (1 / sqrtf(dot(x, x))) * x;
    put(p.value + at, x), put(p.exp_avg + at, tangent(x, m)), put(p.exp_avg_sq + at, Quat{v, v, v, v});
}

KERNEL adam_step(AdamStep args) {
    if (args.skip != nullptr && *args.skip != 0) return;
    int k = 0;
    while (k + 1 < args.num && args.parameters[k + 1].first_block <= int(BLOCK)) k++;
    const Parameter &p = args.parameters[k];
    double step = *p.step;
    float rate = p.rate != nullptr ? *p.rate : p.fixed_rate;
    Rates r;
    r.beta1 = float(args.beta1), r.beta2 = float(args.beta2);
    r.rest1 = float(1 - args.beta1), r.rest2 = float(1 - args.beta2);
    r.along = float(rate / (1 - pow(args.beta1, step)));
    r.decay = 1 - rate * p.weight_decay;
    r.inverse_root = float(1 / sqrt(1 - pow(args.beta2, step)));
    int from = (int(BLOCK) - p.first_block) * CHUNK;
    FOR_ITEMS(item, CHUNK / 4) {
        int at = from + 4 * item;
        if (at >= p.size) continue;
        if (p.on_sphere) move_on_sphere(p, at, args, r);
        else if (p.is_aligned) move_plain_four(p, at, args, r);
        else move_plain(p, at, args, r);
    }
}
