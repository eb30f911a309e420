// The three programs of a frame: blend the splats, draw them back to front, put the picture on the canvas.
// The image model is that of submodules/diff-gaussian-rasterization (reference.py, constants.py).

const HEAD = `#version 300 es
precision highp float;
precision highp int;
precision highp sampler2D;
precision highp sampler2DArray;
precision highp isampler2DArray;
precision highp usampler2D;
`;

// A triangle that covers the target.
export const COVERING = `${HEAD}
void main() {
  gl_Position = vec4(vec2(gl_VertexID & 1, gl_VertexID >> 1) * 4.0 - 1.0, 0, 1);
}`;

// A texel a splat. Floats go out as their bits: integer targets need no extension, and every device has them.
export const BLENDING = `${HEAD}
// xyz and opacity logit, rotation, log-scale, colour (DC), at rest.
uniform sampler2DArray rest;
// Of every attribute (row) the components in use: weight and layer.
uniform sampler2D components;
uniform int counts[5];
uniform isampler2DArray xyz, rotation, logScale, opacityLogit, color;
layout(location = 0) out uvec4 placeAndOpacity;
layout(location = 1) out uvec4 covarianceRows;
layout(location = 2) out uvec4 covarianceAndColor;

vec4 offset(isampler2DArray values, int row, ivec2 texel) {
  vec4 sum = vec4(0);
  for (int i = 0; i < counts[row]; i++) {
    vec2 component = texelFetch(components, ivec2(i, row), 0).xy;
    sum += component.x * vec4(texelFetch(values, ivec3(texel, int(component.y)), 0));
  }
  return sum;
}

void main() {
  ivec2 texel = ivec2(gl_FragCoord.xy);
  vec4 place = texelFetch(rest, ivec3(texel, 0), 0);
  place.xyz += offset(xyz, 0, texel).xyz;
  vec4 q = normalize(texelFetch(rest, ivec3(texel, 1), 0) + offset(rotation, 1, texel));
  vec3 size = exp(texelFetch(rest, ivec3(texel, 2), 0).xyz + offset(logScale, 2, texel).xyz);
  float opacity = 1.0 / (1.0 + exp(-place.w - offset(opacityLogit, 3, texel).x));
  vec3 dc = texelFetch(rest, ivec3(texel, 3), 0).xyz + offset(color, 4, texel).xyz;
  // Quaternions are w x y z; columns are axes.
  float w = q.x, x = q.y, y = q.z, z = q.w;
  mat3 axes = mat3(
    1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y + w * z), 2.0 * (x * z - w * y),
    2.0 * (x * y - w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z + w * x),
    2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y));
  mat3 scaled = mat3(axes[0] * size.x, axes[1] * size.y, axes[2] * size.z);
  mat3 cov = scaled * transpose(scaled);
  placeAndOpacity = floatBitsToUint(vec4(place.xyz, opacity));
  covarianceRows = floatBitsToUint(vec4(cov[0], cov[1].y));
  covarianceAndColor = uvec4(floatBitsToUint(vec2(cov[1].z, cov[2].z)), packHalf2x16(dc.xy), packHalf2x16(dc.zz));
}`;

// What can be drawn: depth is brightest near the camera, ellipsoids are the splats as solid bodies.
export const MODES = { image: 0, depth: 1, alpha: 2, ellipsoids: 3 };

// A quad a splat, just around where its alpha is at least 1 / 255.
export const PROJECTING = `${HEAD}
layout(location = 0) in uint splat;
uniform usampler2D placeAndOpacity, covarianceRows, covarianceAndColor;
uniform sampler2DArray harmonics; // [S - 1] layers
uniform int numBases;
uniform int mode;
uniform mat4x3 pose; // world to camera
uniform vec4 intrinsics; // fx fy cx cy
uniform vec2 size;
uniform vec3 depths; // near plane, least and most of the splats
// A splat in its own axes, in standard deviations: dot products of (pixel - mean).
flat out vec2 mean;
flat out vec4 axes;
flat out vec4 colorAndOpacity;

const float DILATION = 0.3, FRUSTUM_MARGIN = 0.3, ALPHA_MIN = 1.0 / 255.0;
// Pixels: corners of triangles are rounded to a sixteenth at worst, which is why the fragments do not interpolate.
const float SNAPPED = 0.1;
// Of an ellipsoid, in standard deviations; of fainter ones nothing is shown.
const float ELLIPSOID = 1.5, FAINTEST = 0.1;

vec3 seenColor(vec3 dc, vec3 d, ivec2 texel) {
  float b[16] = float[](
    0.28209479177387814, -0.4886025119029199 * d.y, 0.4886025119029199 * d.z, -0.4886025119029199 * d.x,
    1.0925484305920792 * d.x * d.y, -1.0925484305920792 * d.y * d.z,
    0.31539156525252005 * (2.0 * d.z * d.z - d.x * d.x - d.y * d.y), -1.0925484305920792 * d.x * d.z,
    0.5462742152960396 * (d.x * d.x - d.y * d.y), -0.5900435899266435 * d.y * (3.0 * d.x * d.x - d.y * d.y),
    2.890611442640554 * d.x * d.y * d.z, -0.4570457994644658 * d.y * (4.0 * d.z * d.z - d.x * d.x - d.y * d.y),
    0.3731763325901154 * d.z * (2.0 * d.z * d.z - 3.0 * d.x * d.x - 3.0 * d.y * d.y),
    -0.4570457994644658 * d.x * (4.0 * d.z * d.z - d.x * d.x - d.y * d.y),
    1.445305721320277 * d.z * (d.x * d.x - d.y * d.y), -0.5900435899266435 * d.x * (d.x * d.x - 3.0 * d.y * d.y));
  vec3 sum = 0.5 + b[0] * dc;
  for (int i = 1; i < numBases; i++) sum += b[i] * texelFetch(harmonics, ivec3(texel, i - 1), 0).xyz;
  return max(sum, 0.0);
}

void main() {
  int columns = textureSize(placeAndOpacity, 0).x;
  ivec2 texel = ivec2(int(splat) % columns, int(splat) / columns);
  vec4 place = uintBitsToFloat(texelFetch(placeAndOpacity, texel, 0));
  vec4 rows = uintBitsToFloat(texelFetch(covarianceRows, texel, 0));
  uvec4 rest = texelFetch(covarianceAndColor, texel, 0);
  vec2 last = uintBitsToFloat(rest.xy);
  float opacity = place.w;
  vec3 seen = pose * vec4(place.xyz, 1);
  gl_Position = vec4(2, 2, 2, 1);
  float least = mode == 3 ? FAINTEST : ALPHA_MIN;
  if (opacity < least || !(seen.z > depths.x)) return;

  vec2 focal = intrinsics.xy, middle = intrinsics.zw;
  vec2 slope = seen.xy / seen.z;
  mean = focal * slope + middle;
  // The affine approximation of the projection, at most a little outside of the picture.
  vec2 margin = FRUSTUM_MARGIN * size / (2.0 * focal);
  slope = clamp(slope, -middle / focal - margin, (size - middle) / focal + margin);
  mat3 view = mat3(pose);
  vec3 toX = transpose(view) * vec3(focal.x, 0, -focal.x * slope.x) / seen.z;
  vec3 toY = transpose(view) * vec3(0, focal.y, -focal.y * slope.y) / seen.z;
  mat3 cov = mat3(rows.xyz, rows.y, rows.w, last.x, rows.z, last.x, last.y);
  float xx = dot(toX, cov * toX) + DILATION, xy = dot(toX, cov * toY), yy = dot(toY, cov * toY) + DILATION;

  // Its axes: eigenvectors and standard deviations of the covariance.
  float half_ = (xx - yy) / 2.0, spread = length(vec2(half_, xy));
  float largest = (xx + yy) / 2.0 + spread;
  float smallest = max((xx * yy - xy * xy) / largest, DILATION);
  vec2 axis = spread < 1e-6 * largest ? vec2(1, 0)
    : half_ > 0.0 ? normalize(vec2(spread + half_, xy)) : normalize(vec2(xy, spread - half_));
  float reach = mode == 3 ? ELLIPSOID : sqrt(2.0 * log(opacity / ALPHA_MIN));
  vec2 other = vec2(-axis.y, axis.x), deviation = sqrt(vec2(largest, smallest));
  axes = vec4(axis / deviation.x, other / deviation.y);
  vec2 corner = (vec2(gl_VertexID & 1, gl_VertexID >> 1) * 2.0 - 1.0) * (reach * deviation + SNAPPED);
  vec2 pixel = mean + corner.x * axis + corner.y * other;
  gl_Position = vec4(2.0 * pixel / size - 1.0, 0, 1);
  // Row 0 of a picture is its top.
  gl_Position.y = -gl_Position.y;

  vec3 center = -(transpose(view) * pose[3]);
  vec3 dc = vec3(unpackHalf2x16(rest.z), unpackHalf2x16(rest.w).x);
  vec3 shown = mode == 1 ? vec3(clamp((seen.z - depths.y) / (depths.z - depths.y), 0.0, 1.0))
    : seenColor(dc, normalize(place.xyz - center), texel);
  colorAndOpacity = vec4(shown, opacity);
}`;

// Premultiplied, to be blended over what lies behind.
export const SPLATTING = `${HEAD}
flat in vec2 mean;
flat in vec4 axes;
flat in vec4 colorAndOpacity;
uniform int mode;
uniform vec2 size;
out vec4 drawn;

const float ALPHA_MIN = 1.0 / 255.0, ALPHA_MAX = 0.99, ELLIPSOID = 1.5;

void main() {
  vec2 away = vec2(gl_FragCoord.x, size.y - gl_FragCoord.y) - mean;
  vec2 unit = vec2(dot(away, axes.xy), dot(away, axes.zw));
  float distance = dot(unit, unit);
  if (mode == 3) {
    float height = 1.0 - distance / (ELLIPSOID * ELLIPSOID);
    if (height < 0.0) discard;
    // Lit from where one looks.
    drawn = vec4(min(colorAndOpacity.rgb, 1.0) * mix(0.45, 1.0, sqrt(height)), 1);
    return;
  }
  float alpha = min(colorAndOpacity.a * exp(-0.5 * distance), ALPHA_MAX);
  if (alpha < ALPHA_MIN) discard;
  drawn = vec4(colorAndOpacity.rgb * alpha, alpha);
}`;

// Background: rgb, and how much of it there is.
export const SHOWING = `${HEAD}
uniform sampler2D picture;
uniform int mode;
uniform vec4 background;
out vec4 shown;

void main() {
  vec4 seen = texelFetch(picture, ivec2(gl_FragCoord.xy), 0);
  if (mode == 1) seen.rgb = vec3(seen.a - seen.r); // near is bright
  if (mode == 2) seen.rgb = seen.aaa;
  float behind = (1.0 - seen.a) * background.a;
  // Alpha is a picture of its own, over black.
  shown = mode == 2 ? vec4(seen.rgb, 1) : vec4(min(seen.rgb + behind * background.rgb, 1.0), seen.a + behind);
}`;
