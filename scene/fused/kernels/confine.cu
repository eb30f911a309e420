/* Gaussians brought back to within the limits of their places: GaussianHead.confine_, a thread for each. */
#include "mesh.cuh"

struct Confine {
    float *xyz, *log_scale; /* [N, 3] */
    Places places;
    Mesh mesh;
    float pull, largest_log_scale, smallest_unseen;
    int num;
};

KERNEL confine(Confine args) {
    const Mesh &m = args.mesh;
    FOR_ITEMS(item, THREADS) {
        int i = int(BLOCK) * THREADS + item;
        if (i >= args.num) continue;
        int t = args.places.triangle[i];
        const int *corners = m.triangles + 3 * t;
        const float *limits = m.limits + 3 * t;
        Vec origin = on_triangle(m.neutral, corners, vec(args.places.barycentric + 3 * i));
        Matrix axes = matrix_of_rows(m.rest_frames + 9 * t);
        Vec at = transposed_times(axes, vec(args.xyz + 3 * i) - origin);
        float along = limits[0], below = limits[1], above = limits[2];
        at.x = fminf(fmaxf(at.x, -along), along), at.y = fminf(fmaxf(at.y, -along), along);
        at.z = fminf(fmaxf(at.z, -below), above);
        at.z += args.pull * (0.5f * (above - below) - at.z);
        put(args.xyz + 3 * i, origin + axes * at);
        float unseen = args.smallest_unseen * (m.is_of_head[t] ? 1 : 0) * (1 - m.seen[t]);
        float least = logf(fmaxf(unseen * along, 1e-12f));
        for (int c = 0; c < 3; c++) {
            float &scale = args.log_scale[3 * i + c];
            scale = fminf(scale, args.largest_log_scale);
            if (c < 2) scale = fmaxf(scale, least);
        }
    }
}
