// What an expression does to the splats, as far as the CPU must know: the weights of the components, and how
// far from the camera every splat is, to sort them. The graphics card does the rest (shaders.js).
//
//     attribute = neutral + sum_k (weights[k] . features(expression)) * steps[k] * values[k]

// World units, a quarter of a pixel: what a component moves a splat by less is left out of the depths. Nine of ten
// numbers are less; the order of splats stays what it is but for such as nearly touch.
export const DEPTH_TOLERANCE = 5e-4;
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

// The places' basis once more, for depths alone: of every component the splats that it moves, those that move most
// first, and how many move by at least 0, 1 ... 127 steps.
export function sortedByReach({ values, steps }, count) {
  const components = Array.from(steps, (_, k) => sortedComponent(values, 3 * k * count, count));
  const total = components.reduce((sum, each) => sum + each.splats.length, 0);
  const all = { splats: new Uint32Array(total), x: new Int8Array(total), y: new Int8Array(total), z: new Int8Array(total) };
  let start = 0;
  const starts = components.map(({ splats }) => (start += splats.length) - splats.length);
  components.forEach(({ splats }, k) => {
    const first = 3 * k * count;
    all.splats.set(splats, starts[k]);
    splats.forEach((n, i) => {
      all.x[starts[k] + i] = values[first + n];
      all.y[starts[k] + i] = values[first + count + n];
      all.z[starts[k] + i] = values[first + 2 * count + n];
    });
  });
  return { ...all, starts, reaching: components.map((each) => each.reaching) };
}

function sortedComponent(values, start, count) {
  const reach = new Uint8Array(count);
  const reaching = new Uint32Array(LARGEST + 2);
  for (let n = 0, i = start; n < count; n++, i++) {
    // -128 counts as 127.
    reach[n] = Math.min(LARGEST, Math.max(Math.abs(values[i]), Math.abs(values[i + count]), Math.abs(values[i + 2 * count])));
    reaching[reach[n]]++;
  }
  for (let level = LARGEST; level >= 0; level--) reaching[level] += reaching[level + 1];
  const splats = new Uint32Array(reaching[1]);
  const next = reaching.slice(1);
  for (let n = 0; n < count; n++) if (reach[n]) splats[next[reach[n]]++] = n;
  return { splats, reaching };
}

// Camera z of every splat [N]; `moves` is what sortedByReach made.
export function depthsOf(avatar, moves, weights, worldToCamera, out, tolerance = DEPTH_TOLERANCE) {
  const [x, y, z, offset] = worldToCamera.slice(8, 12);
  const { neutral: { xyz }, numSplats: count } = avatar;
  for (let n = 0, i = 0; n < count; n++, i += 3) out[n] = x * xyz[i] + y * xyz[i + 1] + z * xyz[i + 2] + offset;
  for (let k = 0; k < weights.length; k++) {
    const weight = weights[k];
    const level = Math.max(1, Math.ceil(tolerance / Math.abs(weight)));
    if (!(level <= LARGEST)) continue;
    addComponent(out, moves, moves.starts[k], moves.starts[k] + moves.reaching[k][level], weight * x, weight * y, weight * z);
  }
  return out;
}

// On its own, so that the compiler sees one hot loop.
function addComponent(out, { splats, x: xs, y: ys, z: zs }, start, end, x, y, z) {
  for (let i = start; i < end; i++) out[splats[i]] += x * xs[i] + y * ys[i] + z * zs[i];
}

function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}
