// A light avatar (scene/light_file.py) as it comes from a file or a page.
//
//     const avatar = await readAvatar(bytes)           // an ArrayBuffer: NAME_light.safetensors, deflated or not
//     const avatar = await fetchAvatar('head.safetensors')
//
// N splats, K components of an attribute, E coefficients, S bases of spherical harmonics. Attributes are raw:
// log-scales, opacity logits. The torso's part of the file is left out: without a head pose it rests.

// What moves, and how many numbers it has for a splat: OFFSET_SIZES of scene/blendshapes.py.
export const ATTRIBUTES = { xyz: 3, rotation: 4, log_scale: 3, opacity_logit: 1, color: 3 };

const ELEMENT = { F32: 4, F16: 2, I16: 2, U8: 1, I8: 1 };

export async function fetchAvatar(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url}: ${answer.status} ${answer.statusText}`);
  return readAvatar(await answer.arrayBuffer());
}

export async function readAvatar(buffer) {
  // A zlib stream begins with 0x78, the length of a header of that many bytes is no avatar's.
  if (new Uint8Array(buffer, 0, 2)[0] === 0x78 && (new DataView(buffer).getUint16(0) % 31) === 0) {
    buffer = await inflated(new Uint8Array(buffer));
  }
  const { tensor, has, metadata } = readTensors(buffer);
  if (!metadata.light) throw new Error('not the light form of an avatar: make it by python export.py');
  const step = tensor('neutral.step')[0];
  const neutral = {
    xyz: new Float32Array(tensor('neutral.xyz')).map((value) => value * step), // [N, 3]
    rotation: tensor('neutral.rotation'), // [N, 4]
    log_scale: tensor('neutral.log_scale'), // [N, 3]
    opacity_logit: tensor('neutral.opacity_logit'), // [N]
    sh: tensor('neutral.sh'), // [N, S, 3]
  };
  const numSplats = neutral.opacity_logit.length;
  const neutralExpression = tensor('expression.neutral');
  const size = neutralExpression.length;
  const ranges = tensor('expression.ranges');
  const bases = {};
  for (const [name, channels] of Object.entries(ATTRIBUTES)) {
    const steps = tensor(`${name}.steps`);
    const weights = tensor(`${name}.weights`);
    const values = new Int8Array(await inflated(tensor(`${name}.values`)));
    if (values.length !== steps.length * channels * numSplats) throw new Error(`${name}: its basis is damaged`);
    // More columns than 2E follow the pose of the head, which rests here.
    bases[name] = { steps, weights, columns: steps.length ? weights.length / steps.length : 0, values };
  }
  return {
    numSplats,
    numBases: neutral.sh.length / (3 * numSplats), // S
    neutral,
    bases, // values [K, C, N]
    neutralExpression, // [E]
    low: ranges.subarray(0, size), // [E] of the clip
    high: ranges.subarray(size),
    names: metadata.expression_names ?? Array.from({ length: size }, (_, i) => `coefficient ${i}`),
    background: metadata.background,
    camera: cameraOf(metadata.camera),
    motion: has('clip.motion') ? tensor('clip.motion') : null, // [F, E]
    frameRate: metadata.frame_rate ?? 25,
    title: metadata.title ?? 'avatar',
  };
}

// [E] by name; what is not named stays neutral. Throws for names that the avatar does not know.
export function expressionOf(avatar, coefficients) {
  const expression = Float32Array.from(avatar.neutralExpression);
  for (const [name, value] of Object.entries(coefficients)) {
    const place = avatar.names.indexOf(name);
    if (place < 0) throw new Error(`expression '${name}' is unknown`);
    expression[place] = value;
  }
  return expression;
}

// The camera of a file: world to camera as 3 x 4, row after row.
function cameraOf(camera) {
  return { ...camera, worldToCamera: camera.world_to_camera.slice(0, 3).flat() };
}

// safetensors: the header's length (u64), the header (JSON), numbers.
function readTensors(buffer) {
  const length = Number(new DataView(buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  const tensor = (name) => {
    if (!header[name]) throw new Error(`not the light form of an avatar: it has no ${name}`);
    const { dtype, data_offsets: [begin, end] } = header[name];
    // A copy: typed arrays want their numbers aligned.
    const part = buffer.slice(8 + length + begin, 8 + length + end);
    const count = (end - begin) / ELEMENT[dtype];
    if (dtype === 'F32') return new Float32Array(part);
    if (dtype === 'I16') return new Int16Array(part);
    if (dtype === 'F16') return new Float32Array(new Uint16Array(part, 0, count)).map(fromHalf);
    return new Uint8Array(part);
  };
  return { tensor, has: (name) => name in header, metadata: JSON.parse(header.__metadata__.metadata) };
}

async function inflated(bytes) {
  if (!globalThis.DecompressionStream) throw new Error('this browser is too old: it has no DecompressionStream');
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'));
  return new Response(stream).arrayBuffer();
}

export function fromHalf(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
