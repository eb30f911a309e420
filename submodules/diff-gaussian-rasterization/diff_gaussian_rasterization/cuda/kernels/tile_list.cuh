/* The splats of one tile in depth order, sorted by one block in shared memory, as many at a time as fit.

A bucket sort: bucket by z (a monotone function of it, even where z is clustered), then each key finds its rank
among those of its bucket. Keys are distinct, so that the order is total and the same in every run. The keys
come from the tile's list, or, where that has overflowed, from all splats of the view: for_each_key(visit)
calls visit(key) for this thread's share of them. */
#pragma once
#include "device.cuh"

struct SortSpace { /* shared memory */
    uint64 *keys;  /* [capacity] */
    uint32 *order; /* [capacity] Gaussians, sorted; buckets before that */
    int capacity;  /* a power of two, at least the number of threads */
};

struct KeyRange {
    uint32 count, least_z, greatest_z; /* z as bits */
};

/* Count the keys in [low, high). */
template <class ForEachKey>
static __device__ KeyRange count_keys(ForEachKey for_each_key, uint64 low, uint64 high) {
    __shared__ KeyRange shared;
    __syncthreads();
    if (threadIdx.x == 0) shared = {0, ~0u, 0};
    __syncthreads();
    uint32 count = 0, least = ~0u, greatest = 0;
    for_each_key([&](uint64 key) {
        if (key < low || key >= high) return;
        uint32 z = (uint32)(key >> 32);
        count++, least = min(least, z), greatest = max(greatest, z);
    });
    for (int lanes = 16; lanes; lanes /= 2) {
        count += __shfl_xor_sync(ALL_LANES, count, lanes);
        least = min(least, __shfl_xor_sync(ALL_LANES, least, lanes));
        greatest = max(greatest, __shfl_xor_sync(ALL_LANES, greatest, lanes));
    }
    if (threadIdx.x % 32 == 0 && count) {
        atomicAdd(&shared.count, count);
        atomicMin(&shared.least_z, least);
        atomicMax(&shared.greatest_z, greatest);
    }
    __syncthreads();
    return shared;
}

/* Replace counts [num] by the sums of those before; num is a multiple of THREADS. */
template <int THREADS>
static __device__ void sum_before(uint32 *counts, int num) {
    __shared__ uint32 warp_sums[THREADS / 32];
    int share = num / THREADS, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    uint32 *own = counts + threadIdx.x * share, sum = 0;
    for (int k = 0; k < share; k++) sum += own[k];
    uint32 inclusive = sum;
    for (int lanes = 1; lanes < 32; lanes *= 2) {
        uint32 other = __shfl_up_sync(ALL_LANES, inclusive, lanes);
        if (lane >= lanes) inclusive += other;
    }
    if (lane == 31) warp_sums[warp] = inclusive;
    __syncthreads();
    uint32 before = inclusive - sum;
    for (int k = 0; k < warp; k++) before += warp_sums[k];
    for (int k = 0; k < share; k++) {
        uint32 count = own[k];
        own[k] = before;
        before += count;
    }
    __syncthreads();
}

/* Sort the keys in [low, high), whose range is known, into space.order. */
template <int THREADS, class ForEachKey>
static __device__ void sort_keys(ForEachKey for_each_key, uint64 low, uint64 high, KeyRange range, SortSpace space) {
    int num_buckets = THREADS;
    while (num_buckets < 2 * (int)range.count && num_buckets < space.capacity) num_buckets *= 2;
    float scale = (num_buckets - 1) / fmaxf((float)(range.greatest_z - range.least_z), 1);
    auto bucket = [&](uint64 key) { return (uint32)((float)((uint32)(key >> 32) - range.least_z) * scale); };

    uint32 *places = space.order;
    for (int i = threadIdx.x; i < num_buckets; i += THREADS) places[i] = 0;
    __syncthreads();
    for_each_key([&](uint64 key) {
        if (key >= low && key < high) atomicAdd(places + bucket(key), 1u);
    });
    __syncthreads();
    sum_before<THREADS>(places, num_buckets);
    for_each_key([&](uint64 key) {
        if (key >= low && key < high) space.keys[atomicAdd(places + bucket(key), 1u)] = key;
    });
    __syncthreads();
    for (int i = threadIdx.x; i < (int)range.count; i += THREADS) {
        uint64 key = space.keys[i];
        uint32 own = bucket(key);
        int rank = i;
        for (int j = i - 1; j >= 0 && bucket(space.keys[j]) == own; j--) rank -= space.keys[j] > key;
        for (int j = i + 1; j < (int)range.count && bucket(space.keys[j]) == own; j++) rank += space.keys[j] < key;
        space.order[rank] = (uint32)key;
    }
    __syncthreads();
}

/* Call draw(order, count, before) with one part after another of the tile's splats, front to back, until it
   returns false (to all threads alike); `before` is the number of splats in the parts before. */
template <int THREADS, class ForEachKey, class Draw>
static __device__ void for_sorted_parts(ForEachKey for_each_key, SortSpace space, Draw draw) {
    const uint64 end = ~0ull;
    uint64 low = 0, high = end;
    int before = 0;
    while (true) {
        KeyRange range = count_keys(for_each_key, low, high);
        if (range.count > (uint32)space.capacity) { /* too many at once: the nearer half of their range */
            uint64 least = max(low, (uint64)range.least_z << 32);
            uint64 greatest = min(high, (uint64)range.greatest_z << 32 | 0xffffffffu);
            high = least + (greatest - least + 1) / 2;
            continue;
        }
        sort_keys<THREADS>(for_each_key, low, high, range, space);
        if (!draw(space.order, (int)range.count, before) || high == end) return;
        before += range.count;
        low = high, high = end;
    }
}
