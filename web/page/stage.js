// The canvas with its camera, background and size; draws when something has changed.

import { fitted, orbited, OrbitControl } from '../camera.js';

export const BACKGROUNDS = { dark: null, transparent: null, white: [1, 1, 1] };
// Of the longer side of the clip's picture, what may be cut off to fill the canvas.
const CROP = 0.3;
const MOST_PIXELS_RATIO = 2;
// Frames a second below which pictures get smaller, and how small.
const SLOW = 24;
const LEAST_QUALITY = 0.5;
const NUM_TIMINGS = 100;

export class Stage {
  constructor(canvas, avatar, Renderer) {
    this.renderer = new Renderer(canvas, avatar);
    Object.assign(this, { canvas, avatar, mode: 'image', quality: 1, timings: [], frames: [], isStale: true });
    this.orbit = new OrbitControl(canvas, { onChange: () => { this.isStale = true; } });
    this.setBackground('dark');
    new ResizeObserver(() => { this.isStale = true; }).observe(canvas);
  }

  // 'dark' and 'transparent' leave the picture transparent over the page; 'white', or #rrggbb.
  setBackground(name) {
    this.backgroundName = name;
    this.background = name in BACKGROUNDS ? BACKGROUNDS[name] : [1, 3, 5].map((i) => parseInt(name.slice(i, i + 2), 16) / 255);
    for (const each of ['dark', 'transparent', 'white']) document.body.classList.toggle(each, each === name);
    this.isStale = true;
  }

  setMode(mode) {
    this.mode = mode;
    this.isStale = true;
  }

  // Draws for good: `expressionAt` gives an expression [E] for a time in milliseconds, or null for the last one.
  run(expressionAt) {
    const step = (now) => {
      const expression = expressionAt(now);
      const hasMoved = expression.some((value, i) => value !== this.expression?.[i]);
      this.expression = Float32Array.from(expression);
      if (this.isStale || hasMoved) this.draw(now);
      else this.frames = [];
      requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  draw(now) {
    this.isStale = false;
    this.renderer.draw(this.view(this.quality));
    this.timings.push(this.renderer.timings);
    if (this.timings.length > NUM_TIMINGS) this.timings.shift();
    this.frames.push(now);
    if (this.frames.length > 30) this.adapt();
  }

  view(quality) {
    const ratio = Math.min(window.devicePixelRatio || 1, MOST_PIXELS_RATIO) * quality;
    const size = [this.canvas.clientWidth, this.canvas.clientHeight].map((side) => Math.max(1, Math.round(side * ratio)));
    const camera = orbited(fitted(this.avatar.camera, ...size, CROP), this.orbit.state);
    return { expression: this.expression, camera, background: this.background, mode: this.mode };
  }

  // A device that is too slow gets smaller pictures.
  adapt() {
    const steps = this.frames.slice(1).map((time, i) => time - this.frames[i]).sort((a, b) => a - b);
    this.rate = 1000 / steps[steps.length >> 1];
    this.frames = this.frames.slice(-1);
    if (this.rate < SLOW && this.quality > LEAST_QUALITY) {
      this.quality = Math.max(LEAST_QUALITY, this.quality * 0.8);
      this.isStale = true;
    }
  }

  // A PNG of what is seen, as a Blob, transparent where the background is.
  screenshot() {
    this.renderer.draw(this.view(1));
    this.isStale = true;
    return new Promise((resolve) => this.canvas.toBlob(resolve, 'image/png'));
  }

  // Medians of the last frames.
  stats() {
    const median = (name) => {
      const sorted = this.timings.map((each) => each[name]).sort((a, b) => a - b);
      return sorted[sorted.length >> 1] ?? 0;
    };
    const { width, height } = this.canvas;
    const blend = median('blend');
    const sort = median('sort');
    return { splats: this.avatar.numSplats, blend, sort, submit: median('submit'), rate: this.rate ?? null, width, height };
  }
}
