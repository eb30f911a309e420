// What an expression does to the splats, as far as the CPU must know: the weights of the components, and how
// far from the camera every splat is, to sort them. The graphics card does the rest (shaders.js).
//
//     attribute = neutral + sum_k (weights[k] . features(expression)) * steps[k] * values[k]

// World units: components that move no splat farther than this are left out of the depths. It is a hundredth of
// the width of a usual splat, and leaves four of five components out.
export const DEPTH_TOLERANCE = 4e-4;
const LARGEST = 127;

// [E] -> [2E]: the coefficients, and the same held within the clip's range, as differences from neutral.
export function features(avatar, expression, out = new Float32Array(2 * avatar.names.length)) {
  const { neutralExpression: neutral, low, high } = avatar;
  const size = neutral.length;
  for (let i = 0; i < size; i++) {
    out[i] = expression[i] - neutral[i];
    out[size + i] = clamp(expression[i], low[i], high[i]) - clamp(neutral[i], low[i], high[i]);
  }
  return out;
}

// [K] what each component's values are multiplied with.
export function componentWeights(basis, signal, out = new Float32Array(basis.steps.length)) {
  const { steps, weights, columns } = basis;
  for (let k = 0; k < steps.length; k++) {
    let sum = 0;
    for (let i = 0, row = k * columns; i < signal.length; i++) sum += weights[row + i] * signal[i];
    out[k] = steps[k] * sum;
  }
  return out;
}

// Camera z of every splat [N], without what `tolerance` leaves out.
export function depthsOf(avatar, weights, worldToCamera, out, tolerance = DEPTH_TOLERANCE) {
  const [x, y, z, offset] = worldToCamera.slice(8, 12);
  const { neutral: { xyz }, bases: { xyz: { values } }, numSplats: count } = avatar;
  for (let n = 0; n < count; n++) {
    out[n] = x * xyz[3 * n] + y * xyz[3 * n + 1] + z * xyz[3 * n + 2] + offset;
  }
  for (let k = 0; k < weights.length; k++) {
    const weight = weights[k];
    if (Math.abs(weight) * LARGEST < tolerance) continue;
    addComponent(out, values, 3 * k * count, count, weight * x, weight * y, weight * z);
  }
  return out;
}

// On its own, so that the compiler sees one hot loop.
function addComponent(out, values, start, count, x, y, z) {
  for (let n = 0, i = start, j = start + count, k = start + 2 * count; n < count; n++) {
    out[n] += x * values[i + n] + y * values[j + n] + z * values[k + n];
  }
}

function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}
