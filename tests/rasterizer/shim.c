/* The formulas as exported functions, for host_formulas.py: in float, or with `float` defined as double. */
#include <math.h>
#if DOUBLE
#define float double
#define sqrtf sqrt
#define fminf fmin
#define fmaxf fmax
#define fmaf fma
#define exp2f exp2
#define log2f log2
#define ceilf ceil
#define fabsf fabs
#endif
#include "gaussian.h"
typedef float real;

int project(const Gaussian *g, const Camera *camera, Splat *splat, real *half, int *radius) {
    Extent extent;
    if (!project_shape(g, camera, splat, &extent) || !project_color(g, camera, splat)) return 0;
    half[0] = extent.half_width, half[1] = extent.half_height, *radius = extent.radius;
    return 1;
}

void project_backward(const Gaussian *g, const Camera *camera, const SplatSums *sums, Gaussian *v,
                      CameraGradient *v_camera, real *v_mean2d) {
    project_backward_one(g, camera, sums, v, v_camera, &v_mean2d[0], &v_mean2d[1]);
}

int sizes(int k) {
    int all[] = {sizeof(Gaussian), sizeof(Camera), sizeof(Splat), sizeof(SplatSums), sizeof(CameraGradient)};
    return all[k] / (int)sizeof(real);
}

/* u, v, z, row_u, row_v of a mean in the world, and whether the slopes are inside */
void screen(const Vec3 *mean, const Camera *camera, real *out, int *inside) {
    Vec3 p = mix(1, rotate(&camera->rotation, *mean), 1, camera->translation);
    ToScreen s = to_screen(p, camera);
    out[0] = camera->fx * p.x / p.z + camera->cx, out[1] = camera->fy * p.y / p.z + camera->cy, out[2] = p.z;
    ((Vec3 *)(out + 3))[0] = s.row_u, ((Vec3 *)(out + 3))[1] = s.row_v;
    inside[0] = s.inside_x, inside[1] = s.inside_y;
}

void screen_backward(const Vec3 *mean, const Camera *camera, const real *v, Vec3 *v_mean,
                     CameraGradient *v_camera) {
    Vec3 p = mix(1, rotate(&camera->rotation, *mean), 1, camera->translation);
    ToScreen s = to_screen(p, camera);
    *v_mean = to_screen_backward(*mean, p, camera, &s, v[0], v[1], v[2], ((const Vec3 *)(v + 3))[0],
                                 ((const Vec3 *)(v + 3))[1], v_camera);
}

real clamp(real slope, real focal, real center, real size, int *inside) {
    return clamp_to_frustum(slope, focal, center, size, inside);
}

void matrix(const Quaternion *q, Mat3 *m) {
    real norm;
    *m = rotation_matrix(normalized(*q, &norm));
}

void matrix_backward(const Quaternion *q, const Mat3 *v, Quaternion *v_q) {
    real norm;
    Quaternion unit = normalized(*q, &norm);
    *v_q = rotation_matrix_backward(unit, norm, v);
}

void axes_covariance(const Vec3 *axes, ScreenCovariance *s) { *s = covariance_of_axes(axes[0], axes[1]); }

void matrix_covariance(const real *cov3d, const Vec3 *rows, ScreenCovariance *s) {
    *s = covariance_of_cov3d(cov3d, rows[0], rows[1]);
}

void matrix_covariance_backward(const Vec3 *rows, const Vec3 *v, real *v_cov3d) {
    covariance_of_cov3d_backward(rows[0], rows[1], *v, v_cov3d);
}

void cov3d_times(const real *cov3d, const Vec3 *x, Vec3 *y) { *y = times_cov3d(cov3d, *x); }

static ScreenCovariance of_three(const real *abc) {
    ScreenCovariance s;
    s.a = abc[0], s.b = abc[1], s.c = abc[2], s.determinant = s.a * s.c - s.b * s.b;
    return s;
}

void conic(const real *abc, Conic *k) { *k = conic_of(of_three(abc)); }

void conic_gradient(const real *abc, const Vec3 *v, Vec3 *v_abc) {
    ScreenCovariance s = of_three(abc);
    *v_abc = conic_backward(s, conic_of(s), *v);
}

#if SH_BASES > 0
void bases(const Vec3 *d, real *out) { sh_bases(*d, out); }
void bases_backward(const Vec3 *d, real length, const real *v, Vec3 *v_d) {
    *v_d = sh_bases_backward(*d, length, v);
}
#endif

real alpha(const Splat *s, real x, real y) {
    real d, dy;
    return splat_alpha(s, x, y, &d, &dy);
}

real step(real alpha, real *transmittance) { return blend_step(alpha, transmittance); }

int meets(const Splat *s, const real *box) { return touches(s, box[0], box[1], box[2], box[3]); }
