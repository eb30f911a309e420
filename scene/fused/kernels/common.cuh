/* What the kernels of a head share: vectors, quaternions, and rows of a small network in shared memory.

Every loop runs over items in strides of the block, so that a block of one thread computes the same: so the
tests run these sources on the host, in double precision (tests/scene/fused/host.cpp). */
#pragma once

#ifndef ON_HOST
#define SYNC() __syncthreads()
#define FOR_ITEMS(item, count) for (int item = threadIdx.x; item < (count); item += THREADS)
#define BLOCK blockIdx.x
#define NUM_BLOCKS gridDim.x
#define DEVICE __device__ __forceinline__
#define KERNEL extern "C" __global__ void __launch_bounds__(THREADS)
#define SHARED(name) extern __shared__ float4 name[]
#endif

/* Rows in shared memory: a multiple of four floats that is no multiple of eight, so that the float4 of
   neighbouring rows lie in different banks. */
#define QUADS(k) (((k) + 3) / 4)
#define STRIDE(k) (4 * (QUADS(k) | 1))

struct Vec {
    float x, y, z;
};

struct Quat {
    float w, x, y, z;
};

DEVICE Vec vec(const float *p) { return Vec{p[0], p[1], p[2]}; }
DEVICE Vec operator+(Vec a, Vec b) { return Vec{a.x + b.x, a.y + b.y, a.z + b.z}; }
DEVICE Vec operator-(Vec a, Vec b) { return Vec{a.x - b.x, a.y - b.y, a.z - b.z}; }
DEVICE Vec operator*(float s, Vec a) { return Vec{s * a.x, s * a.y, s * a.z}; }
DEVICE float dot(Vec a, Vec b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
DEVICE Vec cross(Vec a, Vec b) {
    return Vec{a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}
DEVICE float length(Vec a) { return sqrtf(dot(a, a)); }
DEVICE Vec normalized(Vec a) { return (1 / fmaxf(length(a), 1e-12f)) * a; }
DEVICE void put(float *p, Vec a) { p[0] = a.x, p[1] = a.y, p[2] = a.z; }

/* Hamilton's product: rotates by b, then by a. */
DEVICE Quat operator*(Quat a, Quat b) {
    return Quat{a.w * b.w - a.x * b.x - a.y * b.y - a.z * b.z, a.w * b.x + a.x * b.w + a.y * b.z - a.z * b.y,
                a.w * b.y - a.x * b.z + a.y * b.w + a.z * b.x, a.w * b.z + a.x * b.y - a.y * b.x + a.z * b.w};
}
DEVICE Quat conjugate(Quat a) { return Quat{a.w, -a.x, -a.y, -a.z}; }
DEVICE Quat operator*(float s, Quat a) { return Quat{s * a.w, s * a.x, s * a.y, s * a.z}; }
DEVICE Quat operator+(Quat a, Quat b) { return Quat{a.w + b.w, a.x + b.x, a.y + b.y, a.z + b.z}; }
DEVICE float dot(Quat a, Quat b) { return a.w * b.w + a.x * b.x + a.y * b.y + a.z * b.z; }
DEVICE float inverse_length(Quat a) { return 1 / fmaxf(sqrtf(dot(a, a)), 1e-12f); }
DEVICE Quat quat(const float *p) { return Quat{p[0], p[1], p[2], p[3]}; }
DEVICE void put(float *p, Quat a) { p[0] = a.w, p[1] = a.x, p[2] = a.y, p[3] = a.z; }
/* The gradient with respect to q of normalize(q), whose value is u = q * inverse. */
DEVICE Quat normalize_backward(Quat u, float inverse, Quat v) { return inverse * (v + (-dot(u, v)) * u); }

struct Matrix { /* columns */
    Vec a, b, c;
};

DEVICE Vec operator*(const Matrix &m, Vec v) { return v.x * m.a + (v.y * m.b + v.z * m.c); }
DEVICE Vec transposed_times(const Matrix &m, Vec v) { return Vec{dot(m.a, v), dot(m.b, v), dot(m.c, v)}; }
DEVICE Matrix times_transposed(const Matrix &m, const Matrix &n) {
    /* m n^T: column j is m times row j of n. */
    return Matrix{m * Vec{n.a.x, n.b.x, n.c.x}, m * Vec{n.a.y, n.b.y, n.c.y}, m * Vec{n.a.z, n.b.z, n.c.z}};
}
DEVICE Matrix matrix_of_rows(const float *p) {
    return Matrix{{p[0], p[3], p[6]}, {p[1], p[4], p[7]}, {p[2], p[5], p[8]}};
}
/* Of a rotation by less than 180 degrees. */
DEVICE Quat quaternion_of(const Matrix &m) {
    float w = 0.5f * sqrtf(fmaxf(1 + (m.a.x + m.b.y + m.c.z), 1e-12f)), s = 1 / (4 * w);
    return Quat{w, s * (m.b.z - m.c.y), s * (m.c.x - m.a.z), s * (m.a.y - m.b.x)};
}

DEVICE float sigmoid(float x) { return 1 / (1 + expf(-x)); }

DEVICE float dot4(float4 a, float4 b) { return a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w; }
DEVICE void add_scaled(float4 &sum, float s, float4 a) {
    sum.x += s * a.x, sum.y += s * a.y, sum.z += s * a.z, sum.w += s * a.w;
}
DEVICE void add_to_all(float *target, float4 value) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    atomicAdd(reinterpret_cast<float4 *>(target), value);
#else
    atomicAdd(target, value.x), atomicAdd(target + 1, value.y);
    atomicAdd(target + 2, value.z), atomicAdd(target + 3, value.w);
#endif
}
