/* Kernels whose warps work together, on the host: a thread is a fiber (ucontext) that runs until it waits for its
warp or its block. The tensor cores' products are computed from the definition of the lanes' parts (halves.cuh),
each sum in double precision. */
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <ucontext.h>
#include <vector>

using std::min;

struct alignas(16) float4 {
    float x, y, z, w;
};
struct float2 {
    float x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};

#define ON_HOST
#define BLOCK block_index
#define VIEW view_index
#define DEVICE inline
#define KERNEL extern "C" void
#define SHARED(name) float4 *name = shared.data()
#define SYNC() wait_for(FOR_BLOCK)

enum Wait { FOR_PRODUCT, FOR_BLOCK, AT_END };
static struct Fiber {
    ucontext_t context;
    std::vector<char> stack;
    Wait waits;
    uint4 a;
    unsigned b[2];
    float *sum;
} fibers[THREADS], *running;
static ucontext_t scheduler;
static int block_index, view_index;
static struct {
    int x;
} threadIdx;
static std::vector<float4> shared;

static void wait_for(Wait what) {
    running->waits = what;
    int thread = threadIdx.x;
    swapcontext(&running->context, &scheduler);
    threadIdx.x = thread;
}

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
static inline void atomicAdd(float *target, float value) { *target += value; }
static inline void copy_later(uint4 *target, const uint4 *source) { *target = *source; }
static inline void end_of_group() {}
template <int N> static inline void wait_for_groups() {}

static inline void multiply(float (&sum)[4], uint4 a, unsigned b0, unsigned b1) {
    running->a = a, running->b[0] = b0, running->b[1] = b1, running->sum = sum;
    wait_for(FOR_PRODUCT);
}

/* Of a warp whose lanes all wait for it. */
static void multiply_matrices(Fiber *lanes) {
    float left[16][16], right[16][8];
    for (int lane = 0; lane < 32; lane++) {
        int g = lane / 4, t = lane % 4;
        const unsigned a[4] = {lanes[lane].a.x, lanes[lane].a.y, lanes[lane].a.z, lanes[lane].a.w};
        for (int i = 0; i < 4; i++) {
            float2 two = floats(a[i]);
            int row = g + i % 2 * 8, column = 2 * t + i / 2 * 8;
            left[row][column] = two.x, left[row][column + 1] = two.y;
        }
        for (int i = 0; i < 2; i++) {
            float2 two = floats(lanes[lane].b[i]);
            right[2 * t + 8 * i][g] = two.x, right[2 * t + 8 * i + 1][g] = two.y;
        }
    }
    for (int lane = 0; lane < 32; lane++)
        for (int i = 0; i < 4; i++) {
            double sum = lanes[lane].sum[i];
            for (int k = 0; k < 16; k++)
                sum += double(left[lane / 4 + i / 2 * 8][k]) * right[k][lane % 4 * 2 + i % 2];
            lanes[lane].sum[i] = float(sum);
        }
}

#include KERNELS

static const STRUCT *arguments;
static void body() {
    NAME(*arguments);
    running->waits = AT_END;
}

/* -1 where lanes of a warp, or warps of a block, wait for different things. */
extern "C" int run_block(const void *packed, int its_block, int its_view, int shared_bytes) {
    arguments = static_cast<const STRUCT *>(packed), block_index = its_block, view_index = its_view;
    /* What a kernel has not written must not be read as zero. */
    shared.assign(shared_bytes / 16, float4{NAN, NAN, NAN, NAN});
    for (Fiber &fiber : fibers) {
        fiber.stack.resize(1 << 16);
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.data(), fiber.context.uc_stack.ss_size = fiber.stack.size();
        fiber.context.uc_link = &scheduler;
        makecontext(&fiber.context, body, 0);
    }
    for (;;) {
        for (int warp = 0; warp < THREADS / 32; warp++) {
            Fiber *lanes = fibers + 32 * warp;
            do {
                for (int lane = 0; lane < 32; lane++) {
                    running = lanes + lane, threadIdx.x = 32 * warp + lane;
                    swapcontext(&scheduler, &running->context);
                    if (running->waits != lanes->waits) return -1;
                }
                if (lanes->waits == FOR_PRODUCT) multiply_matrices(lanes);
            } while (lanes->waits < FOR_BLOCK);
            if (lanes->waits != fibers->waits) return -1;
        }
        if (fibers->waits == AT_END) return 0;
    }
}
