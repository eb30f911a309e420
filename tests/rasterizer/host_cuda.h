/* CUDA C++ on the host, as far as our kernels use it. A thread is a fiber (ucontext), which runs until
it waits for its warp or for its block; blocks run one after another. What threads tell each other lies in one of
two places in turn, since a thread is never more than one exchange ahead of those it exchanges with. */
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <ucontext.h>
#include <vector>

using std::max;
using std::min;

struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(8) float2 {
    float x, y;
};
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
static inline float2 make_float2(float x, float y) { return {x, y}; }

#define __global__
#define __device__
#define __forceinline__ inline
#define __grid_constant__
#define __launch_bounds__(...)
#define __align__(bytes) alignas(bytes)
#define __shared__ static

#define MOST_TOLD 48 /* bytes */

enum Wait { FOR_WARP, FOR_BLOCK, AT_END };
struct Fiber {
    ucontext_t context;
    std::vector<char> stack;
    Wait waits;
    int turns[2]; /* by Wait: so many exchanges */
    alignas(16) unsigned char told[2][2][MOST_TOLD];
};
static std::vector<Fiber> fibers;
static Fiber *running;
static ucontext_t scheduler;
static std::function<void()> kernel;
static struct {
    int x, y;
} threadIdx, blockIdx;
alignas(16) static unsigned char dynamic_shared[1 << 18];

/* Waits until all of the warp or block have come here; returns where what they told lies. */
template <class T> static int tell(T value, Wait whom) {
    int thread = threadIdx.x, place = running->turns[whom]++ % 2;
    static_assert(sizeof(T) <= MOST_TOLD, "what a thread can tell at once");
    std::memcpy(&running->told[whom][place], &value, sizeof(T));
    running->waits = whom;
    swapcontext(&running->context, &scheduler);
    threadIdx.x = thread;
    return place;
}
template <class T> static const T &told_by(int thread, Wait whom, int place) {
    return *reinterpret_cast<const T *>(fibers[thread].told[whom][place]);
}
template <class T> static T from_lane(T value, int lane) {
    int first = threadIdx.x / 32 * 32, place = tell(value, FOR_WARP);
    return told_by<T>(lane < 0 || lane >= 32 ? threadIdx.x : first + lane, FOR_WARP, place);
}
template <class T> static T __shfl_sync(unsigned, T value, int lane) { return from_lane(value, lane); }
template <class T> static T __shfl_xor_sync(unsigned, T value, int mask) {
    return from_lane(value, threadIdx.x % 32 ^ mask);
}
template <class T> static T __shfl_up_sync(unsigned, T value, int delta) {
    return from_lane(value, threadIdx.x % 32 - delta);
}
static unsigned __ballot_sync(unsigned, bool vote) {
    int first = threadIdx.x / 32 * 32, place = tell(vote, FOR_WARP);
    unsigned votes = 0;
    for (int lane = 0; lane < 32; lane++) votes |= unsigned(told_by<bool>(first + lane, FOR_WARP, place)) << lane;
    return votes;
}
static bool __any_sync(unsigned lanes, bool vote) { return __ballot_sync(lanes, vote) != 0; }
static bool __all_sync(unsigned lanes, bool vote) { return __ballot_sync(lanes, vote) == ~0u; }
static void __syncwarp() { tell(false, FOR_WARP); }
static void __syncthreads() { tell(false, FOR_BLOCK); }
static bool __syncthreads_and(bool vote) {
    int place = tell(vote, FOR_BLOCK);
    bool all = true;
    for (size_t thread = 0; thread < fibers.size(); thread++) all &= told_by<bool>(thread, FOR_BLOCK, place);
    return all;
}

template <class T> static T atomicAdd(T *target, T value) {
    T before = *target;
    *target += value;
    return before;
}
static void atomicMin(unsigned *target, unsigned value) { *target = min(*target, value); }
static void atomicMax(unsigned *target, unsigned value) { *target = max(*target, value); }
static int __popc(unsigned bits) { return __builtin_popcount(bits); }
static int __ffs(unsigned bits) { return __builtin_ffs(int(bits)); }
static float __fdividef(float a, float b) { return a / b; }
static unsigned __float_as_uint(float x) { unsigned bits; std::memcpy(&bits, &x, 4); return bits; }
static float __uint_as_float(unsigned bits) { float x; std::memcpy(&x, &bits, 4); return x; }

static void run_thread() {
    kernel();
    running->waits = AT_END;
}

/* Runs all warps to where they wait for the block, or end; false where some wait and some do not. */
static bool run_warps() {
    for (size_t first = 0; first < fibers.size(); first += 32) {
        Fiber *lanes = &fibers[first];
        do {
            for (int lane = 0; lane < 32; lane++) {
                running = lanes + lane, threadIdx.x = int(first) + lane;
                swapcontext(&scheduler, &running->context);
                if (running->waits != lanes->waits) return false;
            }
        } while (lanes->waits == FOR_WARP);
        if (lanes->waits != fibers[0].waits) return false;
    }
    return true;
}

static bool run_block(int shared_bytes) {
    /* What a kernel has not written must not be read as zero: NaN. */
    std::memset(dynamic_shared, 0xff, shared_bytes);
    for (Fiber &fiber : fibers) {
        fiber.turns[0] = fiber.turns[1] = 0;
        fiber.stack.resize(1 << 16);
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.data(), fiber.context.uc_stack.ss_size = fiber.stack.size();
        fiber.context.uc_link = &scheduler;
        makecontext(&fiber.context, run_thread, 0);
    }
    do
        if (!run_warps()) return false;
    while (fibers[0].waits != AT_END);
    return true;
}

static int run_grid(std::function<void()> its_kernel, int columns, int rows, int threads, int shared_bytes) {
    if (threads % 32 || shared_bytes > int(sizeof dynamic_shared)) return -1;
    kernel = its_kernel;
    fibers.resize(threads);
    for (blockIdx.y = 0; blockIdx.y < rows; blockIdx.y++)
        for (blockIdx.x = 0; blockIdx.x < columns; blockIdx.x++)
            if (!run_block(shared_bytes)) return -1;
    return 0;
}

/* After the kernels: one for each of them. Two macros, so that names may be macros themselves. */
#define RUN(NAME, STRUCT) RUN_AS(NAME, STRUCT)
#define RUN_AS(NAME, STRUCT)                                                                                           \
    extern "C" int run_##NAME(const void *packed, int columns, int rows, int threads, int shared_bytes) {              \
        return run_grid([packed] { NAME(*static_cast<const STRUCT *>(packed)); }, columns, rows, threads,              \
                        shared_bytes);                                                                                 \
    }
