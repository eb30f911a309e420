/* Kernels whose warps work together, on the host (host_cuda.h). The tensor cores' products are computed from the
definition of the lanes' parts (halves.cuh), each sum in double precision. */
#include "../../rasterizer/host_cuda.h"

struct alignas(16) uint4 {
    unsigned x, y, z, w;
};

#define ON_HOST
#define BLOCK blockIdx.x
#define VIEW blockIdx.y
#define DEVICE inline
#define KERNEL extern "C" void
#define SHARED(name) float4 *name = reinterpret_cast<float4 *>(dynamic_shared)
#define SYNC() __syncthreads()

static unsigned half_of(float x) {
    unsigned sign = std::signbit(x) ? 0x8000 : 0;
    x = std::fabs(x);
    if (!(x < 65520)) return sign | (std::isnan(x) ? 0x7e00 : 0x7c00);
    int exponent = x == 0 ? -14 : std::max(std::ilogb(x), -14);
    unsigned digits = unsigned(std::nearbyint(std::ldexp(x, 10 - exponent)));
    return sign | (digits < 1024 ? digits : (unsigned(exponent + 15) << 10) + digits - 1024);
}
static float float_of(unsigned half) {
    int exponent = half >> 10 & 31;
    float digits = half & 1023;
    if (exponent == 31) digits = digits ? NAN : INFINITY;
    else digits = std::ldexp(exponent ? digits + 1024 : digits, (exponent ? exponent : 1) - 25);
    return half & 0x8000 ? -digits : digits;
}
static inline unsigned halves(float x, float y) { return half_of(x) | half_of(y) << 16; }
static inline float2 floats(unsigned both) { return {float_of(both & 0xffff), float_of(both >> 16)}; }
static inline void copy_later(uint4 *target, const uint4 *source) { *target = *source; }
static inline void end_of_group() {}
template <int N> static inline void wait_for_groups() {}

/* Lane 4 g + t has, of the left matrix [16, 16], rows g and g + 8, columns 2 t, 2 t + 1 and 8 further (a); of the right
one [16, 8], column g, rows 2 t, 2 t + 1 and 8 further (b); of the sums, rows g and g + 8, columns 2 t and 2 t + 1. */
struct Parts {
    float2 left[4], right[2];
};
static inline void multiply(float (&sum)[4], uint4 a, unsigned b0, unsigned b1) {
    int lane = threadIdx.x % 32, first = threadIdx.x - lane, g = lane / 4, t = lane % 4;
    int turn = tell(Parts{{floats(a.x), floats(a.y), floats(a.z), floats(a.w)}, {floats(b0), floats(b1)}}, FOR_WARP);
    float left[2][16], right[2][16]; /* rows g and g + 8; columns 2 t and 2 t + 1 */
    for (int other = 0; other < 4; other++)
        for (int i = 0; i < 4; i++)
            std::memcpy(&left[i % 2][2 * other + i / 2 * 8], &told_by<Parts>(first + 4 * g + other, FOR_WARP, turn).left[i], 8);
    for (int other = 0; other < 8; other++)
        for (int i = 0; i < 2; i++)
            std::memcpy(&right[other / 4][2 * (other % 4) + 8 * i],
                        &told_by<Parts>(first + 8 * t + other, FOR_WARP, turn).right[i], 8);
    for (int i = 0; i < 4; i++) {
        double total = sum[i];
        for (int k = 0; k < 16; k++) total += double(left[i / 2][k]) * right[i % 2][k];
        sum[i] = float(total);
    }
}

#include KERNELS

RUN(NAME, STRUCT)
