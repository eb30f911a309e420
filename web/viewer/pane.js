// One avatar on the stage: a canvas that the browser draws on, and above it one for pictures of the server.

import { readAvatar } from '../avatar_data.js';
import { SplatRenderer } from '../renderer.js';
import { MODES } from '../shaders.js';

export class Pane {
  constructor(description) {
    this.description = description;
    this.element = document.createElement('figure');
    this.canvas = this.element.appendChild(document.createElement('canvas'));
    this.picture = this.element.appendChild(document.createElement('canvas'));
    this.picture.className = 'picture';
    const caption = this.element.appendChild(document.createElement('figcaption'));
    this.title = caption.appendChild(document.createElement('b'));
    this.title.textContent = description.name;
    this.status = caption.appendChild(document.createElement('span'));
    this.bar = this.element.appendChild(document.createElement('progress'));
    this.bar.hidden = true;
    this.renderer = null;
    this.bytes = 0;
  }

  // Fetch the light form; from then on the browser can draw. Throws where it cannot.
  async load(url) {
    const answer = await fetch(url);
    if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
    this.light = await readAvatar(await answer.arrayBuffer());
    this.renderer = new SplatRenderer(this.canvas, this.light);
  }

  canDraw(mode) {
    return this.renderer !== null && mode in MODES;
  }

  // values: coefficients by name; camera as in camera.js.
  draw(values, camera, background, mode) {
    this.picture.classList.remove('shown');
    this.renderer.draw({ expression: this.expression(values), camera, background, mode });
    this.canvas.classList.add('shown');
  }

  expression(values) {
    const { neutralExpression, names } = this.light;
    return Float32Array.from(neutralExpression, (rest, i) => values.get(names[i]) ?? rest);
  }

  async show({ blob, width, height }) {
    const bitmap = await createImageBitmap(blob);
    [this.picture.width, this.picture.height] = [width, height];
    this.picture.getContext('2d').drawImage(bitmap, 0, 0);
    bitmap.close();
    this.picture.classList.add('shown');
  }

  // The pixels of what is shown; WebGL's only right after they were drawn.
  get shownCanvas() {
    return this.picture.classList.contains('shown') ? this.picture : this.canvas;
  }

  size() {
    const { clientWidth: width, clientHeight: height } = this.element;
    return { width: Math.max(width, 16), height: Math.max(height, 16) };
  }
}
