/* One Gaussian, from its parameters to a splat on the screen, and back. C99, like formulas.h.

Defined by the compiler's options: GIVEN_COV3D, whether covariances stand in for scales and rotations; ANTIALIASED,
whether the opacity that is drawn makes up for the dilation; INVERSE_DEPTH, whether 1 / z is blended and not z (blend.cu
inverts: z is what splats are sorted by). */
#pragma once
#include "formulas.h"

typedef struct {
    Vec3 mean;
    float opacity;
#if GIVEN_COV3D
    float cov3d[6]; /* xx xy xz yy yz zz */
#else
    Vec3 scale;
    Quaternion rotation;
#endif
#if SH_BASES > 0
    float sh[3 * SH_BASES]; /* loaded only where the Gaussian is visible */
#else
    Vec3 color;
#endif
} Gaussian;

typedef Gaussian GaussianGradient;

typedef struct {
    float half_width, half_height; /* of the box around {alpha >= ALPHA_MIN}, pixels */
    int radius;
} Extent;

/* What blending's backward sums over the pixels of a splat. With e the exponent of alpha (natural) at the
   offset (d, y), d = x - slope y, and g = d loss / d e: */
typedef struct {
    float g, g_d, g_y, g_dd, g_dy, g_yy;
    float red, green, blue, z;
} SplatSums;

FORMULA int is_finite(float x) { return x - x == 0; }

FORMULA ScreenCovariance screen_covariance(const Gaussian *g, const ToScreen *s) {
#if GIVEN_COV3D
    return covariance_of_cov3d(g->cov3d, s->row_u, s->row_v);
#else
    float norm;
    Mat3 axes = rotation_matrix(normalized(g->rotation, &norm));
    return covariance_of_axes(times(rotate_back(&axes, s->row_u), g->scale),
                              times(rotate_back(&axes, s->row_v), g->scale));
#endif
}

/* Fills all of the splat but its colour; returns whether it may be seen. */
FORMULA int project_shape(const Gaussian *g, const Camera *camera, Splat *splat, Extent *extent) {
    Vec3 p = mix(1, rotate(&camera->rotation, g->mean), 1, camera->translation);
    ToScreen s;
    ScreenCovariance cov;
    Conic conic;
    float opacity = g->opacity, exponent, reach, difference, largest;
    if (!(p.z > camera->near_plane && g->opacity >= ALPHA_MIN)) return 0;
    s = to_screen(p, camera);
    cov = screen_covariance(g, &s);
    splat->u = camera->fx * p.x / p.z + camera->cx;
    splat->v = camera->fy * p.y / p.z + camera->cy;
    splat->z = p.z;
    if (!is_finite(splat->u + splat->v + cov.a + cov.b + cov.c + g->opacity) || !(cov.determinant > 0)) return 0;
#if ANTIALIASED
    opacity *= compensation(&cov);
    if (!(opacity >= ALPHA_MIN)) return 0;
#endif

    conic = conic_of(cov);
    splat->half_a = LOG2_E * conic.half_a, splat->slope = conic.slope, splat->half_c = LOG2_E * conic.half_c;
    splat->tilt = cov.b / cov.a;
    splat->log2_opacity = log2f(opacity);
    exponent = splat->log2_opacity - log2f(ALPHA_MIN);
    splat->reach = exponent + REACH_SLACK;
    reach = 2 / LOG2_E * exponent; /* squared Mahalanobis distance */
    extent->half_width = sqrtf(reach * cov.a), extent->half_height = sqrtf(reach * cov.c);
    if (!(splat->u + extent->half_width > 0 && splat->u - extent->half_width < camera->width &&
          splat->v + extent->half_height > 0 && splat->v - extent->half_height < camera->height))
        return 0;
    difference = (cov.a - cov.c) / 2;
    largest = (cov.a + cov.c) / 2 + sqrtf(difference * difference + cov.b * cov.b);
    extent->radius = (int)fminf(ceilf(3 * sqrtf(largest)), 2147483520.0f);
    reach = 2 / LOG2_E * splat->reach;
    extent->half_width = sqrtf(reach * cov.a), extent->half_height = sqrtf(reach * cov.c);
    return 1;
}

/* The direction of the mean from the camera centre, of unit length. */
FORMULA Vec3 view_direction(Vec3 mean, const Camera *camera, float *length) {
    Vec3 direction = mix(1, mean, 1, rotate_back(&camera->rotation, camera->translation));
    *length = sqrtf(dot(direction, direction));
    return vec3(direction.x / *length, direction.y / *length, direction.z / *length);
}

FORMULA Vec3 color_before_clamp(const Gaussian *g, const Camera *camera) {
#if SH_BASES > 0
    float bases[SH_BASES], length;
    Vec3 color = vec3(0.5f, 0.5f, 0.5f);
    sh_bases(view_direction(g->mean, camera, &length), bases);
#ifdef __CUDACC__
#pragma unroll
#endif
    for (int k = 0; k < SH_BASES; k++)
        color = mix(1, color, bases[k], vec3(g->sh[3 * k], g->sh[3 * k + 1], g->sh[3 * k + 2]));
    return color;
#else
    return g->color;
#endif
}

/* Fills the splat's colour; returns whether it is finite. */
FORMULA int project_color(const Gaussian *g, const Camera *camera, Splat *splat) {
    Vec3 color = color_before_clamp(g, camera);
    int finite = is_finite(color.x + color.y + color.z);
#if SH_BASES > 0
    color = vec3(fmaxf(color.x, 0), fmaxf(color.y, 0), fmaxf(color.z, 0));
#endif
    splat->red = color.x, splat->green = color.y, splat->blue = color.z;
    return finite;
}

/* Adds the gradient of a visible Gaussian's colour; returns its share in the gradient of the mean. */
FORMULA Vec3 color_backward(const Gaussian *g, const Camera *camera, Vec3 v_color, GaussianGradient *v,
                            CameraGradient *v_camera) {
#if SH_BASES > 0
    float bases[SH_BASES], v_bases[SH_BASES], length;
    Vec3 direction = view_direction(g->mean, camera, &length), color = vec3(0.5f, 0.5f, 0.5f), v_direction;
    sh_bases(direction, bases);
#ifdef __CUDACC__
#pragma unroll
#endif
    for (int k = 0; k < SH_BASES; k++)
        color = mix(1, color, bases[k], vec3(g->sh[3 * k], g->sh[3 * k + 1], g->sh[3 * k + 2]));
    v_color = vec3(color.x > 0 ? v_color.x : 0, color.y > 0 ? v_color.y : 0, color.z > 0 ? v_color.z : 0);
#ifdef __CUDACC__
#pragma unroll
#endif
    for (int k = 0; k < SH_BASES; k++) {
        v_bases[k] = dot(vec3(g->sh[3 * k], g->sh[3 * k + 1], g->sh[3 * k + 2]), v_color);
        v->sh[3 * k] += bases[k] * v_color.x;
        v->sh[3 * k + 1] += bases[k] * v_color.y;
        v->sh[3 * k + 2] += bases[k] * v_color.z;
    }
    v_direction = sh_bases_backward(direction, length, v_bases);
    /* direction = mean + rotation^T translation */
    v_camera->translation = mix(1, v_camera->translation, 1, rotate(&camera->rotation, v_direction));
    add_outer(&v_camera->rotation, camera->translation, v_direction);
    return v_direction;
#else
    v->color = mix(1, v->color, 1, v_color);
    return vec3(0, 0, 0);
#endif
}

/* Adds the gradients of a drawn Gaussian and of the camera; v_u, v_v: of the mean on the screen, pixels. */
FORMULA void project_backward_one(const Gaussian *g, const Camera *camera, const SplatSums *sums,
                                  GaussianGradient *v, CameraGradient *v_camera, float *v_u, float *v_v) {
    Vec3 p = mix(1, rotate(&camera->rotation, g->mean), 1, camera->translation);
    ToScreen s = to_screen(p, camera);
    ScreenCovariance cov = screen_covariance(g, &s);
    Conic conic = conic_of(cov);
    Vec3 v_cov = conic_backward(cov, conic, vec3(-sums->g_dd, 2 * conic.half_a * sums->g_dy, -sums->g_yy));
    Vec3 v_row_u, v_row_v, v_mean;
    float v_z = sums->z;
    *v_u = 2 * conic.half_a * sums->g_d;
    *v_v = 2 * (conic.half_c * sums->g_y - conic.half_a * conic.slope * sums->g_d);
    /* Also where ANTIALIASED: the logarithm of the factor is added to that of the opacity. */
    v->opacity += sums->g / g->opacity;
#if INVERSE_DEPTH
    v_z = -sums->z / (p.z * p.z);
#endif
    v_mean = color_backward(g, camera, vec3(sums->red, sums->green, sums->blue), v, v_camera);
#if GIVEN_COV3D
    {
#if ANTIALIASED
        v_cov = mix(1, v_cov, 1, compensation_of_cov3d_backward(g->cov3d, s.row_u, s.row_v, sums->g));
#endif
        Vec3 sigma_u = times_cov3d(g->cov3d, s.row_u), sigma_v = times_cov3d(g->cov3d, s.row_v);
        v_row_u = mix(2 * v_cov.x, sigma_u, v_cov.y, sigma_v);
        v_row_v = mix(2 * v_cov.z, sigma_v, v_cov.y, sigma_u);
        covariance_of_cov3d_backward(s.row_u, s.row_v, v_cov, v->cov3d);
    }
#else
    {
        float norm;
        Quaternion q = normalized(g->rotation, &norm), v_q;
        Mat3 axes = rotation_matrix(q), v_axes;
        Vec3 along_u = rotate_back(&axes, s.row_u), along_v = rotate_back(&axes, s.row_v);
        Vec3 axes_u = times(along_u, g->scale), axes_v = times(along_v, g->scale);
        Vec3 v_axes_u = mix(2 * v_cov.x, axes_u, v_cov.y, axes_v), v_axes_v = mix(2 * v_cov.z, axes_v, v_cov.y, axes_u);
        Vec3 scaled_u, scaled_v;
#if ANTIALIASED
        compensation_backward(axes_u, axes_v, &cov, sums->g, &v_axes_u, &v_axes_v);
#endif
        scaled_u = times(v_axes_u, g->scale), scaled_v = times(v_axes_v, g->scale);
        v->scale = mix(1, v->scale, 1, mix(1, times(along_u, v_axes_u), 1, times(along_v, v_axes_v)));
        v_axes.x = mix(s.row_u.x, scaled_u, s.row_v.x, scaled_v);
        v_axes.y = mix(s.row_u.y, scaled_u, s.row_v.y, scaled_v);
        v_axes.z = mix(s.row_u.z, scaled_u, s.row_v.z, scaled_v);
        v_q = rotation_matrix_backward(q, norm, &v_axes);
        v->rotation.w += v_q.w, v->rotation.x += v_q.x, v->rotation.y += v_q.y, v->rotation.z += v_q.z;
        v_row_u = rotate(&axes, scaled_u), v_row_v = rotate(&axes, scaled_v);
    }
#endif
    v_mean = mix(1, v_mean, 1,
                 to_screen_backward(g->mean, p, camera, &s, *v_u, *v_v, v_z, v_row_u, v_row_v, v_camera));
    v->mean = mix(1, v->mean, 1, v_mean);
}
