/* The kernels of scene/fused/ on the host: a block is one thread, its shared memory an array. With DOUBLE they
compute in double precision, which leaves no rounding that a wrong digit could hide in. */
#include <algorithm>
#include <cmath>
#include <vector>

using std::min;

#if DOUBLE
#define float double
#define sqrtf sqrt
#define expf exp
#define logf log
#define sinf sin
#define cosf cos
#define tanhf tanh
#define fmaxf fmax
#define fminf fmin
#endif

struct alignas(16) float4 {
    float x, y, z, w;
};

#define ON_HOST
#define SYNC()
#define FOR_ITEMS(item, count) for (int item = 0; item < (count); item++)
#define BLOCK block
#define NUM_BLOCKS num_blocks
#define DEVICE inline
#define KERNEL extern "C" void
#define SHARED(name) float4 *name = shared.data()
#define __restrict__

static int block, num_blocks;
static struct {
    int x;
} threadIdx;
static std::vector<float4> shared(1 << 18);

static inline float atomicAdd(float *target, float value) {
    float old = *target;
    *target += value;
    return old;
}

#include KERNELS

extern "C" void start_block(int index, int count) {
    block = index, num_blocks = count;
    /* What a kernel has not written must not be read as zero. */
    std::fill(shared.begin(), shared.end(), float4{NAN, NAN, NAN, NAN});
}
