// An avatar on a canvas.
//
//     const renderer = new SplatRenderer(canvas, avatar)
//     renderer.draw({ expression, camera })            // background [r, g, b] or null, mode, as below
//     renderer.timings                                 // milliseconds of the last frame on the CPU
//
// Bases lie on the graphics card as textures. A frame is: weights of components and the order of the splats
// (CPU), splats blended into textures of floats, drawn as quads from back to front, put on the canvas. Every
// renderer has a canvas and a context of its own, so that a page may have several.

import { ATTRIBUTES } from './avatar_data.js';
import { componentWeights, depthsOf, features, sortedByReach } from './blending.js';
import { bindTextures, layeredTexture, linked, target, texture } from './graphics.js';
import { BLENDING, COVERING, MODES, PROJECTING, SHOWING, SPLATTING } from './shaders.js';
import { DepthSorter } from './sorting.js';

const COLUMNS = 256;
const CAMEL = { xyz: 'xyz', rotation: 'rotation', log_scale: 'logScale', opacity_logit: 'opacityLogit', color: 'color' };
// Components whose every value moves an attribute by less are left out on the graphics card.
const LEAST = { xyz: 1e-6, rotation: 1e-4, log_scale: 1e-4, opacity_logit: 3e-4, color: 1e-4 };
const LARGEST = 127;
const NEAR = 0.2;

export class SplatRenderer {
  // Throws where the browser has no WebGL2.
  constructor(canvas, avatar) {
    const gl = canvas.getContext('webgl2', { alpha: true, antialias: false, depth: false, powerPreference: 'high-performance' });
    if (!gl) throw new Error('this browser has no WebGL2, or it is turned off');
    Object.assign(this, { canvas, avatar, gl });
    this.signal = new Float32Array(2 * avatar.names.length);
    this.weights = Object.keys(ATTRIBUTES).map((name) => new Float32Array(avatar.bases[name].steps.length));
    this.moves = sortedByReach(avatar.bases.xyz, avatar.numSplats);
    this.depths = new Float32Array(avatar.numSplats);
    this.sorter = new DepthSorter(avatar.numSplats);
    this.timings = { blend: 0, sort: 0, submit: 0 };
    // A phone takes the context away from a page that it puts aside.
    canvas.addEventListener('webglcontextlost', (event) => event.preventDefault());
    canvas.addEventListener('webglcontextrestored', () => {
      this.setUp();
      if (this.last) this.draw(this.last);
    });
    this.setUp();
  }

  // expression [E]; camera: see camera.js; background [3] in 0..1, null is transparent; mode: of MODES.
  draw({ expression, camera, background = this.avatar.background, mode = 'image' }) {
    this.last = { expression: Float32Array.from(expression), camera, background, mode };
    if (this.gl.isContextLost()) return;
    if (!(mode in MODES)) throw new Error(`mode '${mode}': expected ${Object.keys(MODES).join(', ')}`);
    const begun = performance.now();
    features(this.avatar, expression, this.signal);
    Object.keys(ATTRIBUTES).forEach((name, i) => componentWeights(this.avatar.bases[name], this.signal, this.weights[i]));
    depthsOf(this.avatar, this.moves, this.weights[0], camera.worldToCamera, this.depths);
    const blended = performance.now();
    const order = this.sorter.sort(this.depths, camera.near ?? NEAR);
    const sorted = performance.now();
    this.resize(camera.width, camera.height);
    this.blend();
    this.splat(order, camera, MODES[mode]);
    this.show(background, MODES[mode]);
    this.timings = { blend: blended - begun, sort: sorted - blended, submit: performance.now() - sorted };
  }

  // RGBA of the canvas, from its upper row on, right after `draw`.
  pixels() {
    const { gl, canvas: { width, height } } = this;
    const rows = new Uint8Array(4 * width * height);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, rows);
    const flipped = new Uint8Array(rows.length);
    for (let y = 0; y < height; y++) flipped.set(rows.subarray(4 * width * y, 4 * width * (y + 1)), 4 * width * (height - 1 - y));
    return flipped;
  }

  // Gives the memory of the graphics card back.
  dispose() {
    this.gl.getExtension('WEBGL_lose_context')?.loseContext();
  }

  setUp() {
    const { gl, avatar } = this;
    const isFloat = gl.getExtension('EXT_color_buffer_float') ?? gl.getExtension('EXT_color_buffer_half_float');
    // Without: eight bits, in which many faint splats lose a little.
    this.pictureFormat = isFloat ? gl.RGBA16F : gl.RGBA8;
    this.blending = linked(gl, COVERING, BLENDING);
    this.splatting = linked(gl, PROJECTING, SPLATTING);
    this.showing = linked(gl, COVERING, SHOWING);
    this.pictureSize = null;

    const rows = Math.ceil(avatar.numSplats / COLUMNS);
    this.blendSize = [COLUMNS, rows];
    this.bases = Object.entries(ATTRIBUTES).map(([name, channels]) => (
      layeredTexture(gl, avatar.bases[name].values, channels, avatar.numSplats, COLUMNS)));
    this.rest = this.restTexture();
    this.harmonics = this.harmonicsTexture();
    this.mostActive = Math.max(1, ...this.weights.map((each) => each.length));
    this.active = texture(gl, gl.TEXTURE_2D, gl.RG32F, this.mostActive, this.weights.length);
    this.blended = [0, 1, 2].map(() => texture(gl, gl.TEXTURE_2D, gl.RGBA32UI, COLUMNS, rows));
    this.blendTarget = target(gl, this.blended);

    this.orderBuffer = gl.createBuffer();
    this.quads = gl.createVertexArray();
    gl.bindVertexArray(this.quads);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.orderBuffer);
    gl.bufferData(gl.ARRAY_BUFFER, 4 * avatar.numSplats, gl.DYNAMIC_DRAW);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribIPointer(0, 1, gl.UNSIGNED_INT, 0, 0);
    gl.vertexAttribDivisor(0, 1);
    gl.bindVertexArray(null);
  }

  // Places and opacities, rotations, log-scales, colours at rest: four layers of four channels.
  restTexture() {
    const { gl, avatar: { neutral, numBases, numSplats: count } } = this;
    const source = new Float32Array(16 * count);
    for (let n = 0; n < count; n++) {
      for (let c = 0; c < 4; c++) {
        source[c * count + n] = c < 3 ? neutral.xyz[3 * n + c] : neutral.opacity_logit[n];
        source[(4 + c) * count + n] = neutral.rotation[4 * n + c];
        if (c === 3) continue;
        source[(8 + c) * count + n] = neutral.log_scale[3 * n + c];
        source[(12 + c) * count + n] = neutral.sh[3 * numBases * n + c];
      }
    }
    return layeredTexture(gl, source, 4, count, COLUMNS);
  }

  // What colours have beyond their DC: a layer for each base.
  harmonicsTexture() {
    const { gl, avatar: { neutral: { sh }, numBases, numSplats: count } } = this;
    const source = new Float32Array(3 * (numBases - 1) * count);
    for (let i = 0; i < source.length; i++) {
      const [row, n] = [Math.floor(i / count) + 3, i % count];
      source[i] = sh[3 * numBases * n + row];
    }
    return layeredTexture(gl, source, 3, count, COLUMNS);
  }

  resize(width, height) {
    const { gl, canvas } = this;
    if (this.pictureSize?.[0] === width && this.pictureSize[1] === height) return;
    this.pictureSize = [width, height];
    [canvas.width, canvas.height] = this.pictureSize;
    gl.deleteTexture(this.picture ?? null);
    gl.deleteFramebuffer(this.pictureTarget ?? null);
    this.picture = texture(gl, gl.TEXTURE_2D, this.pictureFormat, width, height);
    this.pictureTarget = target(gl, [this.picture]);
  }

  blend() {
    const { gl, weights, mostActive } = this;
    const components = new Float32Array(2 * mostActive * weights.length);
    const least = Object.values(LEAST);
    const counts = weights.map((each, row) => {
      let used = 0;
      each.forEach((weight, layer) => {
        if (Math.abs(weight) * LARGEST < least[row]) return;
        components.set([weight, layer], 2 * (row * mostActive + used++));
      });
      return used;
    });
    gl.bindTexture(gl.TEXTURE_2D, this.active);
    gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, mostActive, weights.length, gl.RG, gl.FLOAT, components);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.blendTarget);
    gl.viewport(0, 0, ...this.blendSize);
    gl.disable(gl.BLEND);
    gl.useProgram(this.blending.program);
    gl.uniform1iv(this.blending.at.counts, counts);
    const bases = Object.values(CAMEL).map((name, i) => [name, [gl.TEXTURE_2D_ARRAY, this.bases[i]]]);
    const others = { rest: [gl.TEXTURE_2D_ARRAY, this.rest], components: [gl.TEXTURE_2D, this.active] };
    bindTextures(gl, this.blending, { ...others, ...Object.fromEntries(bases) });
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  splat(order, camera, mode) {
    const { gl, splatting: { at, program } } = this;
    const pose = camera.worldToCamera;
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.pictureTarget);
    gl.viewport(0, 0, camera.width, camera.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.useProgram(program);
    gl.uniform1i(at.numBases, this.avatar.numBases);
    gl.uniform1i(at.mode, mode);
    gl.uniformMatrix4x3fv(at.pose, false, [0, 1, 2, 3].flatMap((column) => [0, 4, 8].map((row) => pose[row + column])));
    gl.uniform4f(at.intrinsics, camera.fx, camera.fy, camera.cx, camera.cy);
    gl.uniform2f(at.size, camera.width, camera.height);
    gl.uniform3f(at.depths, camera.near ?? NEAR, ...this.sorter.range);
    const [placeAndOpacity, covarianceRows, covarianceAndColor] = this.blended.map((each) => [gl.TEXTURE_2D, each]);
    const harmonics = [gl.TEXTURE_2D_ARRAY, this.harmonics];
    bindTextures(gl, this.splatting, { placeAndOpacity, covarianceRows, covarianceAndColor, harmonics });
    gl.bindVertexArray(this.quads);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.orderBuffer);
    gl.bufferSubData(gl.ARRAY_BUFFER, 0, order);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, order.length);
    gl.bindVertexArray(null);
  }

  show(background, mode) {
    const { gl, showing: { at, program }, canvas: { width, height } } = this;
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.viewport(0, 0, width, height);
    gl.disable(gl.BLEND);
    gl.useProgram(program);
    gl.uniform1i(at.mode, mode);
    gl.uniform4f(at.background, ...(background ?? [0, 0, 0]), background ? 1 : 0);
    bindTextures(gl, this.showing, { picture: [gl.TEXTURE_2D, this.picture] });
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }
}
