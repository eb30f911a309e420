// What WebGL2 needs many lines for: programs, textures, targets.

// A program with its uniforms' places by name. Throws with the compiler's words.
export function linked(gl, vertex, fragment) {
  const program = gl.createProgram();
  for (const [type, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(type);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS) && !gl.isContextLost()) {
      throw new Error(`shader: ${gl.getShaderInfoLog(shader)}`);
    }
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) {
    throw new Error(`program: ${gl.getProgramInfoLog(program)}`);
  }
  const count = gl.getProgramParameter(program, gl.ACTIVE_UNIFORMS) ?? 0;
  const names = Array.from({ length: count }, (_, i) => gl.getActiveUniform(program, i).name.replace('[0]', ''));
  return { program, at: Object.fromEntries(names.map((name) => [name, gl.getUniformLocation(program, name)])) };
}

// A texture whose texels are fetched, not filtered.
export function texture(gl, kind, format, width, height, layers = 0) {
  const made = gl.createTexture();
  gl.bindTexture(kind, made);
  gl.texParameteri(kind, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
  gl.texParameteri(kind, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
  if (layers) gl.texStorage3D(kind, 1, format, width, height, layers);
  else gl.texStorage2D(kind, 1, format, width, height);
  return made;
}

// Bytes or floats [L, C, N] (N numbers of a channel, one after the other) to a texture array of `width` columns;
// where there are no layers, one that nobody looks at.
export function layeredTexture(gl, source, channels, count, width) {
  const isByte = source instanceof Int8Array;
  const [format, external] = isByte
    ? { 1: [gl.R8I, gl.RED_INTEGER], 3: [gl.RGB8I, gl.RGB_INTEGER], 4: [gl.RGBA8I, gl.RGBA_INTEGER] }[channels]
    : { 3: [gl.RGB32F, gl.RGB], 4: [gl.RGBA32F, gl.RGBA] }[channels];
  const layers = source.length / (channels * count);
  const most = gl.getParameter(gl.MAX_ARRAY_TEXTURE_LAYERS);
  if (layers > most) throw new Error(`${layers} components of a kind; this device can do ${most}`);
  const height = Math.ceil(count / width);
  const made = texture(gl, gl.TEXTURE_2D_ARRAY, format, width, height, Math.max(1, layers));
  gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
  const texels = new source.constructor(width * height * channels);
  for (let layer = 0, i = 0; layer < layers; layer++) {
    for (let channel = 0; channel < channels; channel++) {
      for (let n = 0, j = channel; n < count; n++, j += channels) texels[j] = source[i++];
    }
    const type = isByte ? gl.BYTE : gl.FLOAT;
    gl.texSubImage3D(gl.TEXTURE_2D_ARRAY, 0, 0, 0, layer, width, height, 1, external, type, texels);
  }
  return made;
}

// A framebuffer over textures.
export function target(gl, textures) {
  const made = gl.createFramebuffer();
  gl.bindFramebuffer(gl.FRAMEBUFFER, made);
  textures.forEach((each, i) => {
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0 + i, gl.TEXTURE_2D, each, 0);
  });
  gl.drawBuffers(textures.map((_, i) => gl.COLOR_ATTACHMENT0 + i));
  return made;
}

// Textures by the name of their sampler, each in a unit of its own.
export function bindTextures(gl, { at }, textures) {
  Object.entries(textures).forEach(([name, [kind, each]], unit) => {
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.bindTexture(kind, each);
    gl.uniform1i(at[name], unit);
  });
}
