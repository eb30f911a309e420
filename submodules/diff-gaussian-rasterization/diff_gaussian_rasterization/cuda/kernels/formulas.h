/* The formulas of the image model and their derivatives: one Gaussian, one pixel, at a time.

C99, so that the tests compile it with `cc` and compare it with the specification (reference.py); the kernels
include it as CUDA C++. Names follow reference.py and cpu/geometry.py. Gradients: v_x = d loss / d x.

Defined by the compiler's options (compiler.py): ALPHA_MIN, ALPHA_MAX, DILATION, FRUSTUM_MARGIN,
TRANSMITTANCE_MIN; SH_BASES, the number of bases of the colour (0: colours are given).

Sources: Zwicker et al. 2001, Eq. 29-31; Kerbl et al. 2023, Eq. 3-6; Yu et al. 2024 (2D Mip filter). */
#pragma once

#ifdef __CUDACC__
#define FORMULA static __device__ __forceinline__
#else
#include <math.h>
#define FORMULA static inline
#endif

#define LOG2_E 1.4426950408889634f
#define REACH_SLACK 0.01f /* tiles are rather listed in vain than missed: in units of the base-2 exponent */

typedef struct {
    float x, y, z;
} Vec3;

typedef struct {
    Vec3 x, y, z; /* rows */
} Mat3;

FORMULA Vec3 vec3(float x, float y, float z) {
    Vec3 result;
    result.x = x, result.y = y, result.z = z;
    return result;
}

FORMULA float dot(Vec3 a, Vec3 b) { return a.x * b.x + a.y * b.y + a.z * b.z; }

FORMULA Vec3 mix(float a, Vec3 x, float b, Vec3 y) { /* a x + b y */
    return vec3(a * x.x + b * y.x, a * x.y + b * y.y, a * x.z + b * y.z);
}

FORMULA Vec3 cross(Vec3 a, Vec3 b) {
    return vec3(a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x);
}

FORMULA Vec3 times(Vec3 a, Vec3 b) { return vec3(a.x * b.x, a.y * b.y, a.z * b.z); }

FORMULA Vec3 rotate(const Mat3 *m, Vec3 x) { return vec3(dot(m->x, x), dot(m->y, x), dot(m->z, x)); }

FORMULA Vec3 rotate_back(const Mat3 *m, Vec3 x) { /* m^T x */
    return mix(1, mix(x.x, m->x, x.y, m->y), x.z, m->z);
}

FORMULA void add_outer(Mat3 *m, Vec3 x, Vec3 y) { /* m + x y^T */
    m->x = mix(1, m->x, x.x, y);
    m->y = mix(1, m->y, x.y, y);
    m->z = mix(1, m->z, x.z, y);
}

/* --- the camera, and the mean on the screen --- */

typedef struct {
    Mat3 rotation;
    Vec3 translation;
    float fx, fy, cx, cy; /* pixels */
    float width, height, near_plane;
} Camera;

typedef struct {
    Mat3 rotation;
    Vec3 translation;
    float fx, fy, cx, cy;
} CameraGradient;

typedef struct {
    float ju, ku, jv, kv; /* the Jacobian: (ju, 0, ku), (0, jv, kv) */
    float slope_x, slope_y;
    int inside_x, inside_y; /* whether the slope is not clamped and so has a gradient */
    Vec3 row_u, row_v;      /* Jacobian x rotation */
} ToScreen;

FORMULA float clamp_to_frustum(float slope, float focal, float center, float size, int *inside) {
    float margin = FRUSTUM_MARGIN * size / (2 * focal);
    float low = -center / focal - margin, high = (size - center) / focal + margin;
    *inside = low <= slope && slope <= high;
    return fminf(fmaxf(slope, low), high);
}

FORMULA ToScreen to_screen(Vec3 p, const Camera *camera) { /* p: the mean in camera space */
    ToScreen s;
    float inv_z = 1 / p.z;
    s.slope_x = clamp_to_frustum(p.x * inv_z, camera->fx, camera->cx, camera->width, &s.inside_x);
    s.slope_y = clamp_to_frustum(p.y * inv_z, camera->fy, camera->cy, camera->height, &s.inside_y);
    s.ju = camera->fx * inv_z, s.ku = -s.ju * s.slope_x;
    s.jv = camera->fy * inv_z, s.kv = -s.jv * s.slope_y;
    s.row_u = mix(s.ju, camera->rotation.x, s.ku, camera->rotation.z);
    s.row_v = mix(s.jv, camera->rotation.y, s.kv, camera->rotation.z);
    return s;
}

/* Adds to the camera's gradient, and returns that of the mean in the world. v_u, v_v: of the mean on the
   screen in pixels; v_z: of its camera z; v_row_u, v_row_v: of Jacobian x rotation. */
FORMULA Vec3 to_screen_backward(Vec3 mean, Vec3 p, const Camera *camera, const ToScreen *s, float v_u, float v_v,
                                float v_z, Vec3 v_row_u, Vec3 v_row_v, CameraGradient *v_camera) {
    float inv_z = 1 / p.z;
    float v_ju = dot(v_row_u, camera->rotation.x), v_ku = dot(v_row_u, camera->rotation.z);
    float v_jv = dot(v_row_v, camera->rotation.y), v_kv = dot(v_row_v, camera->rotation.z);
    float v_scale_x = v_ju - v_ku * s->slope_x, v_scale_y = v_jv - v_kv * s->slope_y; /* of fx / z, fy / z */
    float v_slope_x = v_u * camera->fx - (s->inside_x ? v_ku * s->ju : 0);             /* of x / z */
    float v_slope_y = v_v * camera->fy - (s->inside_y ? v_kv * s->jv : 0);
    float v_p_z = v_z - (v_slope_x * p.x + v_slope_y * p.y) * inv_z * inv_z;
    Vec3 v_p;
    v_p_z -= (s->ju * v_scale_x + s->jv * v_scale_y) * inv_z;
    v_p = vec3(v_slope_x * inv_z, v_slope_y * inv_z, v_p_z);

    v_camera->rotation.x = mix(1, v_camera->rotation.x, s->ju, v_row_u);
    v_camera->rotation.y = mix(1, v_camera->rotation.y, s->jv, v_row_v);
    v_camera->rotation.z = mix(1, v_camera->rotation.z, 1, mix(s->ku, v_row_u, s->kv, v_row_v));
    add_outer(&v_camera->rotation, v_p, mean);
    v_camera->translation = mix(1, v_camera->translation, 1, v_p);
    v_camera->fx += (v_u * p.x + v_scale_x) * inv_z;
    v_camera->fy += (v_v * p.y + v_scale_y) * inv_z;
    v_camera->cx += v_u;
    v_camera->cy += v_v;
    return rotate_back(&camera->rotation, v_p);
}

/* --- the covariance on the screen --- */

typedef struct {
    float w, x, y, z;
} Quaternion;

FORMULA Quaternion normalized(Quaternion q, float *norm) {
    float inv;
    *norm = sqrtf(q.w * q.w + q.x * q.x + q.y * q.y + q.z * q.z);
    inv = 1 / *norm;
    q.w *= inv, q.x *= inv, q.y *= inv, q.z *= inv;
    return q;
}

FORMULA Mat3 rotation_matrix(Quaternion q) {
    float w = q.w, x = q.x, y = q.y, z = q.z;
    Mat3 m;
    m.x = vec3(1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y));
    m.y = vec3(2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x));
    m.z = vec3(2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y));
    return m;
}

/* The gradient of the quaternion before normalisation, from that of its matrix. */
FORMULA Quaternion rotation_matrix_backward(Quaternion q, float norm, const Mat3 *v) {
    float w = q.w, x = q.x, y = q.y, z = q.z, along;
    Quaternion g;
    g.w = 2 * (x * (v->z.y - v->y.z) + y * (v->x.z - v->z.x) + z * (v->y.x - v->x.y));
    g.x = 2 * (y * (v->x.y + v->y.x) + z * (v->x.z + v->z.x) + w * (v->z.y - v->y.z)) - 4 * x * (v->y.y + v->z.z);
    g.y = 2 * (x * (v->x.y + v->y.x) + z * (v->y.z + v->z.y) + w * (v->x.z - v->z.x)) - 4 * y * (v->x.x + v->z.z);
    g.z = 2 * (x * (v->x.z + v->z.x) + y * (v->y.z + v->z.y) + w * (v->y.x - v->x.y)) - 4 * z * (v->x.x + v->y.y);
    along = w * g.w + x * g.x + y * g.y + z * g.z;
    g.w = (g.w - along * w) / norm, g.x = (g.x - along * x) / norm;
    g.y = (g.y - along * y) / norm, g.z = (g.z - along * z) / norm;
    return g;
}

typedef struct {
    float a, b, c;     /* xx xy yy, pixels^2, dilated */
    float determinant; /* a c - b^2, without its cancellation */
    float sharp;       /* the determinant before dilation */
} ScreenCovariance;

/* From the Gaussian's axes times their lengths, seen on the screen: rows of Jacobian x rotation x axes. */
FORMULA ScreenCovariance covariance_of_axes(Vec3 axes_u, Vec3 axes_v) {
    ScreenCovariance s;
    /* Binet-Cauchy: a sum of squares, which does not cancel for needles */
    Vec3 minors = cross(axes_u, axes_v);
    float a = dot(axes_u, axes_u), c = dot(axes_v, axes_v);
    s.sharp = dot(minors, minors);
    s.determinant = s.sharp + DILATION * (a + c + DILATION);
    s.a = a + DILATION, s.b = dot(axes_u, axes_v), s.c = c + DILATION;
    return s;
}

/* By how much dilation makes a splat heavier, as a factor of its opacity that undoes it. */
FORMULA float compensation(const ScreenCovariance *s) { return sqrtf(fmaxf(s->sharp, 0) / s->determinant); }

/* Adds the gradients of the axes through that factor; g: of its logarithm. By the minors again: what the
   determinant's derivative by a, b, c would add up cancels for needles. */
FORMULA void compensation_backward(Vec3 axes_u, Vec3 axes_v, const ScreenCovariance *s, float g, Vec3 *v_axes_u,
                                   Vec3 *v_axes_v) {
    Vec3 minors = cross(axes_u, axes_v);
    float scale = g * DILATION / s->determinant, along = scale * (s->a + s->c - DILATION) / s->sharp;
    *v_axes_u = mix(1, *v_axes_u, 1, mix(along, cross(axes_v, minors), -scale, axes_u));
    *v_axes_v = mix(1, *v_axes_v, 1, mix(along, cross(minors, axes_u), -scale, axes_v));
}

FORMULA Vec3 times_cov3d(const float *cov3d, Vec3 x) { /* cov3d: xx xy xz yy yz zz */
    return vec3(cov3d[0] * x.x + cov3d[1] * x.y + cov3d[2] * x.z, cov3d[1] * x.x + cov3d[3] * x.y + cov3d[4] * x.z,
                cov3d[2] * x.x + cov3d[4] * x.y + cov3d[5] * x.z);
}

FORMULA double form_of_cov3d(const float *cov3d, Vec3 x, Vec3 y) { /* x^T cov3d y */
    return cov3d[0] * ((double)x.x * y.x) + cov3d[3] * ((double)x.y * y.y) + cov3d[5] * ((double)x.z * y.z) +
           cov3d[1] * ((double)x.x * y.y + (double)x.y * y.x) + cov3d[2] * ((double)x.x * y.z + (double)x.z * y.x) +
           cov3d[4] * ((double)x.y * y.z + (double)x.z * y.y);
}

/* From a covariance matrix. In double: nothing but digits helps against the determinant's cancellation. */
FORMULA ScreenCovariance covariance_of_cov3d(const float *cov3d, Vec3 row_u, Vec3 row_v) {
    double a = form_of_cov3d(cov3d, row_u, row_u), b = form_of_cov3d(cov3d, row_u, row_v);
    double c = form_of_cov3d(cov3d, row_v, row_v);
    ScreenCovariance s;
    s.sharp = (float)(a * c - b * b);
    s.determinant = (float)(a * c - b * b + DILATION * (a + c + DILATION));
    s.a = (float)(a + DILATION), s.b = (float)b, s.c = (float)(c + DILATION);
    return s;
}

/* The gradient of a, b, c through the factor of compensation(); g: of its logarithm. */
FORMULA Vec3 compensation_of_cov3d_backward(const float *cov3d, Vec3 row_u, Vec3 row_v, float g) {
    double a = form_of_cov3d(cov3d, row_u, row_u), b = form_of_cov3d(cov3d, row_u, row_v);
    double c = form_of_cov3d(cov3d, row_v, row_v), sharp = a * c - b * b;
    double dilated = sharp + DILATION * (a + c + DILATION), half = 0.5 * g;
    return vec3((float)(half * (c / sharp - (c + DILATION) / dilated)), (float)(g * b * (1 / dilated - 1 / sharp)),
                (float)(half * (a / sharp - (a + DILATION) / dilated)));
}

/* The gradient of xx xy xz yy yz zz, added to v_cov3d. v: of a, b, c. */
FORMULA void covariance_of_cov3d_backward(Vec3 row_u, Vec3 row_v, Vec3 v, float *v_cov3d) {
    Vec3 left_u = mix(v.x, row_u, v.y / 2, row_v), left_v = mix(v.y / 2, row_u, v.z, row_v);
    v_cov3d[0] += left_u.x * row_u.x + left_v.x * row_v.x;
    v_cov3d[1] += left_u.x * row_u.y + left_v.x * row_v.y + left_u.y * row_u.x + left_v.y * row_v.x;
    v_cov3d[2] += left_u.x * row_u.z + left_v.x * row_v.z + left_u.z * row_u.x + left_v.z * row_v.x;
    v_cov3d[3] += left_u.y * row_u.y + left_v.y * row_v.y;
    v_cov3d[4] += left_u.y * row_u.z + left_v.y * row_v.z + left_u.z * row_u.y + left_v.z * row_v.y;
    v_cov3d[5] += left_u.z * row_u.z + left_v.z * row_v.z;
}

/* The inverse covariance, completed to squares: half the squared Mahalanobis distance at an offset (x, y) is
   half_a (x - slope y)^2 + half_c y^2, which does not cancel for needles. */
typedef struct {
    float half_a, slope, half_c;
} Conic;

FORMULA Conic conic_of(ScreenCovariance s) {
    Conic k;
    k.half_a = 0.5f * s.c / s.determinant, k.slope = s.b / s.c, k.half_c = 0.5f / s.c;
    return k;
}

/* The gradient of a, b, c, from that of half_a, slope, half_c. */
FORMULA Vec3 conic_backward(ScreenCovariance s, Conic k, Vec3 v) {
    float v_a = -2 * k.half_a * k.half_a * v.x;
    float v_b = v.y / s.c - 2 * k.slope * v_a;
    float v_c = k.slope * k.slope * v_a - v.y * k.slope / s.c - 2 * k.half_c * k.half_c * v.z;
    return vec3(v_a, v_b, v_c);
}

/* --- colour --- */

#define SH_0 0.28209479177387814f
#define SH_1 0.4886025119029199f
#define SH_2A 1.0925484305920792f
#define SH_2B 0.31539156525252005f
#define SH_2C 0.5462742152960396f
#define SH_3A 0.5900435899266435f
#define SH_3B 2.890611442640554f
#define SH_3C 0.4570457994644658f
#define SH_3D 0.3731763325901154f
#define SH_3E 1.445305721320277f

#if SH_BASES > 0

/* Real spherical harmonics at a unit direction, signs as in the family. */
FORMULA void sh_bases(Vec3 d, float *bases) {
    bases[0] = SH_0;
#if SH_BASES > 1
    float x = d.x, y = d.y, z = d.z;
    bases[1] = -SH_1 * y, bases[2] = SH_1 * z, bases[3] = -SH_1 * x;
#endif
#if SH_BASES > 4
    float xx = x * x, yy = y * y, zz = z * z;
    bases[4] = SH_2A * x * y, bases[5] = -SH_2A * y * z;
    bases[6] = SH_2B * (2 * zz - xx - yy);
    bases[7] = -SH_2A * x * z, bases[8] = SH_2C * (xx - yy);
#endif
#if SH_BASES > 9
    bases[9] = -SH_3A * y * (3 * xx - yy);
    bases[10] = SH_3B * x * y * z;
    bases[11] = -SH_3C * y * (4 * zz - xx - yy);
    bases[12] = SH_3D * z * (2 * zz - 3 * xx - 3 * yy);
    bases[13] = -SH_3C * x * (4 * zz - xx - yy);
    bases[14] = SH_3E * z * (xx - yy);
    bases[15] = -SH_3A * x * (xx - 3 * yy);
#endif
}

/* The gradient of the direction, before normalisation to length `length`, from those of the bases. */
FORMULA Vec3 sh_bases_backward(Vec3 d, float length, const float *v) {
    Vec3 g = vec3(0, 0, 0);
#if SH_BASES > 1
    g = vec3(-SH_1 * v[3], -SH_1 * v[1], SH_1 * v[2]);
#endif
#if SH_BASES > 4
    float x = d.x, y = d.y, z = d.z;
    g.x += SH_2A * (y * v[4] - z * v[7]) - 2 * SH_2B * x * v[6] + 2 * SH_2C * x * v[8];
    g.y += SH_2A * (x * v[4] - z * v[5]) - 2 * SH_2B * y * v[6] - 2 * SH_2C * y * v[8];
    g.z += -SH_2A * (y * v[5] + x * v[7]) + 4 * SH_2B * z * v[6];
#endif
#if SH_BASES > 9
    float xx = x * x, yy = y * y, zz = z * z;
    g.x += -6 * SH_3A * x * y * v[9] + SH_3B * y * z * v[10] + 2 * SH_3C * x * y * v[11] - 6 * SH_3D * x * z * v[12] -
           SH_3C * (4 * zz - 3 * xx - yy) * v[13] + 2 * SH_3E * x * z * v[14] - 3 * SH_3A * (xx - yy) * v[15];
    g.y += -3 * SH_3A * (xx - yy) * v[9] + SH_3B * x * z * v[10] - SH_3C * (4 * zz - xx - 3 * yy) * v[11] -
           6 * SH_3D * y * z * v[12] + 2 * SH_3C * x * y * v[13] - 2 * SH_3E * y * z * v[14] +
           6 * SH_3A * x * y * v[15];
    g.z += SH_3B * x * y * v[10] - 8 * SH_3C * y * z * v[11] + 3 * SH_3D * (2 * zz - xx - yy) * v[12] -
           8 * SH_3C * x * z * v[13] + SH_3E * (xx - yy) * v[14];
#endif
    return mix(1 / length, g, -dot(g, d) / length, d);
}

#endif

/* --- a splat on the screen, as blending reads it --- */

typedef struct {
    float u, v;                  /* mean, pixels */
    float half_a, slope, half_c; /* conic, half_a and half_c in units of the base-2 exponent */
    float log2_opacity;
    float reach;              /* the largest base-2 exponent at which alpha >= ALPHA_MIN, and REACH_SLACK */
    float tilt;               /* b / a: where a vertical line comes nearest to the mean is y = tilt x */
    float red, green, blue, z;
} Splat;

#ifdef __CUDACC__
FORMULA float power_of_2(float x) {
    float result;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
    return result;
}
#else
#define power_of_2 exp2f
#endif

/* Alpha before cap and cut, at a pixel centre; also its offset (d, y) with d = x - slope y. Written in fmaf(),
   so that no compiler can contract it one way in forward and another in backward: both take the same
   decisions. */
FORMULA float splat_alpha(const Splat *s, float pixel_x, float pixel_y, float *d, float *y) {
    float x = pixel_x - s->u, exponent;
    *y = pixel_y - s->v;
    *d = fmaf(-s->slope, *y, x);
    exponent = fmaf(-s->half_c * *y, *y, s->log2_opacity);
    exponent = fmaf(-s->half_a * *d, *d, exponent);
    return power_of_2(exponent);
}

/* Puts a splat of this alpha over a pixel of this transmittance; returns its weight, 0 where it is not
   blended. A pixel has ended when its transmittance is negative. */
FORMULA float blend_step(float alpha, float *transmittance) {
    float before = *transmittance, capped = fminf(alpha, ALPHA_MAX);
    float after = fmaf(-capped, before, before);
    if (!(alpha >= ALPHA_MIN) || before < 0) return 0;
    *transmittance = after >= TRANSMITTANCE_MIN ? after : -before;
    return after >= TRANSMITTANCE_MIN ? capped * before : 0;
}

/* Whether a splat's outline {alpha >= ALPHA_MIN} meets a rectangle of pixel centres. The quadratic form is
   least in the rectangle on an edge that faces the mean: at most two. */
FORMULA int touches(const Splat *s, float left, float top, float right, float bottom) {
    float x0 = left - s->u, x1 = right - s->u, y0 = top - s->v, y1 = bottom - s->v;
    float edge_x = fminf(fmaxf(x0, 0), x1), edge_y = fminf(fmaxf(y0, 0), y1);
    float y = fminf(fmaxf(s->tilt * edge_x, y0), y1), x = fminf(fmaxf(s->slope * edge_y, x0), x1);
    float d_x = edge_x - s->slope * y, d_y = x - s->slope * edge_y;
    float on_x = s->half_a * d_x * d_x + s->half_c * y * y;
    float on_y = s->half_a * d_y * d_y + s->half_c * edge_y * edge_y;
    return fminf(on_x, on_y) <= s->reach;
}
