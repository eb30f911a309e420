/* Derivation and tri-plane: where the doppelgangers of a Gaussian are, and what they read there.

Formulas: scene/derivation.py and scene/triplane.py. Planes are [3, R, R, C] here, so that a block of channels
lies together. */
#pragma once
#include "common.cuh"

struct Derived {
    Vec place, crossed; /* of the imaginary part and the point */
};

DEVICE Vec imaginary(Quat q) { return Vec{q.x, q.y, q.z}; }

DEVICE Derived derived(Quat tau, Vec x) {
    Vec u = imaginary(tau), crossed = cross(u, x);
    return Derived{x + (2 * tau.w * crossed + 2 * cross(u, crossed)), crossed};
}

/* The gradient of x; v: that of the place. */
DEVICE Vec derived_backward(Quat tau, Vec x, const Derived &d, Vec v, Quat &v_tau) {
    Vec u = imaginary(tau), v_crossed = cross(v, u);
    Vec of_u = 2 * tau.w * cross(x, v) + (2 * cross(d.crossed, v) + 2 * cross(x, v_crossed));
    v_tau = Quat{2 * dot(v, d.crossed), of_u.x, of_u.y, of_u.z};
    return v + (2 * tau.w * v_crossed + 2 * cross(v_crossed, u));
}

struct Samples { /* of each axis: the texels beside a place, how near the second one is, whether it is inside */
    int low[3], high[3];
    float share[3];
    bool is_inside[3];
};

DEVICE Samples samples_at(Vec place, float inverse_width) {
    Samples s;
    for (int a = 0; a < 3; a++) {
        float at = 0.5f * ((&place.x)[a] * inverse_width + 1) * (RESOLUTION - 1);
        s.is_inside[a] = at > 0 && at < RESOLUTION - 1;
        at = fminf(fmaxf(at, 0.0f), float(RESOLUTION - 1));
        s.low[a] = int(at);
        s.high[a] = s.low[a] + 1 < RESOLUTION ? s.low[a] + 1 : RESOLUTION - 1;
        s.share[a] = at - s.low[a];
    }
    return s;
}

/* The axes of plane p: xy, xz, yz. */
DEVICE int across(int p) { return p == 2 ? 1 : 0; }
DEVICE int down(int p) { return p == 0 ? 1 : 2; }

DEVICE int texel(int p, int row, int column, int channel) {
    return ((p * RESOLUTION + row) * RESOLUTION + column) * NUM_CHANNELS + channel;
}

struct Corners {
    int at[4];
    float across, down; /* shares */
};

DEVICE Corners corners_of(const Samples &s, int p, int channel) {
    int u = across(p), v = down(p);
    return Corners{{texel(p, s.low[v], s.low[u], channel), texel(p, s.low[v], s.high[u], channel),
                    texel(p, s.high[v], s.low[u], channel), texel(p, s.high[v], s.high[u], channel)},
                   s.share[u],
                   s.share[v]};
}

DEVICE float4 times(float4 a, float4 b) { return float4{a.x * b.x, a.y * b.y, a.z * b.z, a.w * b.w}; }
DEVICE float4 scaled(float s, float4 a) { return float4{s * a.x, s * a.y, s * a.z, s * a.w}; }
DEVICE float4 difference(float4 a, float4 b) { return float4{a.x - b.x, a.y - b.y, a.z - b.z, a.w - b.w}; }
DEVICE float4 four(const float *p) { return *reinterpret_cast<const float4 *>(p); }

/* Four channels of plane p. */
DEVICE float4 sampled(const float *planes, const Samples &s, int p, int channel) {
    Corners c = corners_of(s, p, channel);
    float4 sum = scaled((1 - c.across) * (1 - c.down), four(planes + c.at[0]));
    add_scaled(sum, c.across * (1 - c.down), four(planes + c.at[1]));
    add_scaled(sum, (1 - c.across) * c.down, four(planes + c.at[2]));
    add_scaled(sum, c.across * c.down, four(planes + c.at[3]));
    return sum;
}

/* Adds to the gradients of the texels, and to v_at [2]: of the place in texels across and down. */
DEVICE void sampled_backward(const float *planes, float *v_planes, const Samples &s, int p, int channel, float4 v,
                             float *v_at) {
    Corners c = corners_of(s, p, channel);
    add_to_all(v_planes + c.at[0], scaled((1 - c.across) * (1 - c.down), v));
    add_to_all(v_planes + c.at[1], scaled(c.across * (1 - c.down), v));
    add_to_all(v_planes + c.at[2], scaled((1 - c.across) * c.down, v));
    add_to_all(v_planes + c.at[3], scaled(c.across * c.down, v));
    float4 a = four(planes + c.at[0]), b = four(planes + c.at[1]);
    float4 d = four(planes + c.at[2]), e = four(planes + c.at[3]);
    v_at[0] += (1 - c.down) * dot4(v, difference(b, a)) + c.down * dot4(v, difference(e, d));
    v_at[1] += (1 - c.across) * dot4(v, difference(d, a)) + c.across * dot4(v, difference(e, b));
}

/* From gradients of the places in texels, [3 planes, across and down], to that of the place. */
DEVICE Vec place_backward(const Samples &s, const float *v_at, float inverse_width) {
    float sums[3] = {0, 0, 0};
    for (int p = 0; p < 3; p++) sums[across(p)] += v_at[2 * p], sums[down(p)] += v_at[2 * p + 1];
    float slope = 0.5f * (RESOLUTION - 1) * inverse_width;
    for (int a = 0; a < 3; a++) sums[a] *= s.is_inside[a] ? slope : 0.0f;
    return Vec{sums[0], sums[1], sums[2]};
}
