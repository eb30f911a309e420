/* Products of matrices by the tensor cores, in half precision with sums in float32 (m16n8k16; from compute
   capability 8.0 on). Factors lie in memory as the lanes of a warp hold them, so that each reads 16 bytes at
   once. With g = lane / 4 and t = lane % 4, a lane has

   of a left factor, 16 rows by 16 columns:  rows g and g + 8, columns 2t, 2t + 1, 2t + 8 and 2t + 9;
   of a right factor, 16 rows by 8 columns:  rows 2t, 2t + 1, 2t + 8 and 2t + 9, column g;
   of a product, 16 rows by 8 columns:       rows g and g + 8, columns 2t and 2t + 1.

   So two products side by side are, in the same lane, a left factor of what comes next. Where a half has too
   few digits, a factor is the sum of two, `high` and `low`, and a product the sum of three. */
#pragma once
#include "common.cuh"

#ifndef ON_HOST
/* sum += a b. */
DEVICE void multiply(float (&sum)[4], uint4 a, unsigned b0, unsigned b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
}

/* Two numbers in a word, the first in its lower half. */
DEVICE unsigned halves(float x, float y) {
    unsigned both;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(y), "f"(x));
    return both;
}
DEVICE float2 floats(unsigned both) {
    float2 parts;
    asm("{.reg .b16 x, y; mov.b32 {x, y}, %2; cvt.f32.f16 %0, x; cvt.f32.f16 %1, y;}"
        : "=f"(parts.x), "=f"(parts.y)
        : "r"(both));
    return parts;
}

/* 16 bytes from global to shared memory, which is not waited for; in groups, which are. */
DEVICE void copy_later(uint4 *target, const uint4 *source) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(unsigned(__cvta_generic_to_shared(target))),
                 "l"(source)
                 : "memory");
}
DEVICE void end_of_group() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/* Until no more than the N latest groups are on their way. */
template <int N> DEVICE void wait_for_groups() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }
#define VIEW blockIdx.y
#endif

#define LARGEST_HALF 65504.0f
/* Beyond the largest half there is only infinity. */
DEVICE float confined(float x) { return fminf(fmaxf(x, -LARGEST_HALF), LARGEST_HALF); }

DEVICE float2 two(const float *p) { return *reinterpret_cast<const float2 *>(p); }

struct Left {
    uint4 high, low;
};

/* What `high` has not. */
DEVICE unsigned remainder_of(float x, float y, unsigned high) {
    float2 known = floats(high);
    return halves(x - known.x, y - known.y);
}

DEVICE Left left_of(const float (&first)[4], const float (&second)[4]) {
    uint4 high = {halves(first[0], first[1]), halves(first[2], first[3]), halves(second[0], second[1]),
                  halves(second[2], second[3])};
    uint4 low = {remainder_of(first[0], first[1], high.x), remainder_of(first[2], first[3], high.y),
                 remainder_of(second[0], second[1], high.z), remainder_of(second[2], second[3], high.w)};
    return Left{high, low};
}

/* b: two words of `high`, two of `low`. */
DEVICE void multiply_precisely(float (&sum)[4], const Left &a, uint4 b) {
    multiply(sum, a.high, b.x, b.y);
    multiply(sum, a.low, b.x, b.y);
    multiply(sum, a.high, b.z, b.w);
}
