// `window.avatar`: what a page, or a script on one, can ask. Every method checks what it is given and throws an
// Error that says what was expected; messages.js answers with its text.

import { MODES } from '../shaders.js';
import { readDriving } from './driving.js';
import { retargeted } from './retarget.js';
import { BACKGROUNDS } from './stage.js';

const CAMERA = ['yaw', 'pitch', 'zoom', 'x', 'y'];

export class Api {
  #avatar; #stage; #player;

  constructor(avatar, stage, player) {
    this.#avatar = avatar;
    this.#stage = stage;
    this.#player = player;
    this.names = Object.freeze([...avatar.names]);
  }

  // { name: value } of the face as it is now.
  get() {
    return Object.fromEntries(this.names.map((name, i) => [name, this.#player.expression[i]]));
  }

  // Sets some coefficients, whatever plays; null lets one go again.
  set(values) {
    checkObject('set', values, 'an object of numbers by name');
    const entries = Object.entries(values).map(([name, value]) => {
      const place = this.names.indexOf(name);
      if (place < 0) throw new Error(`set: '${name}' is no coefficient of this avatar; avatar.names lists them`);
      if (value !== null && !Number.isFinite(value)) throw new Error(`set: ${name}: expected a number or null, found ${shown(value)}`);
      return [place, value];
    });
    for (const [place, value] of entries) {
      if (value === null) this.#player.overrides.delete(place);
      else this.#player.overrides.set(place, value);
    }
  }

  neutral() {
    this.#player.neutral();
  }

  // The clip's motion, or what drive() was given last.
  play() {
    if (!this.#player.sequence) throw new Error('play: this avatar brings no motion of its clip');
    this.#player.play();
  }

  pause() {
    this.#player.pause();
  }

  // Plays the text of a Live Link Face CSV or of a JSON; returns what should be said about it.
  drive(text, name = 'the text') {
    if (typeof text !== 'string') throw new Error(`drive: expected the text of a CSV or JSON, found ${shown(text)}`);
    const { frames, rate, notes } = retargeted(readDriving(text, String(name)), this.#avatar);
    this.#player.neutral();
    this.#player.play({ frames, rate });
    return notes;
  }

  // Any of yaw, pitch (degrees), zoom, x, y (shares of the picture); returns all of them.
  camera(state = {}) {
    checkObject('camera', state, `an object with ${CAMERA.join(', ')}`);
    for (const [name, value] of Object.entries(state)) {
      if (!CAMERA.includes(name)) throw new Error(`camera: '${name}': expected ${CAMERA.join(', ')}`);
      if (!Number.isFinite(value)) throw new Error(`camera: ${name}: expected a number, found ${shown(value)}`);
    }
    this.#stage.orbit.set(state);
    return { ...this.#stage.orbit.state };
  }

  // 'dark', 'white', 'transparent' or '#rrggbb'.
  background(name) {
    const isKnown = typeof name === 'string' && (Object.hasOwn(BACKGROUNDS, name) || /^#[0-9a-f]{6}$/i.test(name));
    if (!isKnown) throw new Error(`background: expected ${Object.keys(BACKGROUNDS).join(', ')} or #rrggbb, found ${shown(name)}`);
    this.#stage.setBackground(name);
  }

  // 'image', 'depth', 'alpha' or 'ellipsoids'.
  mode(name) {
    if (!Object.hasOwn(MODES, name)) throw new Error(`mode: expected ${Object.keys(MODES).join(', ')}, found ${shown(name)}`);
    this.#stage.setMode(name);
  }

  // A PNG as a data: address.
  async screenshot() {
    const blob = await this.#stage.screenshot();
    return new Promise((resolve) => {
      const reader = new FileReader();
      reader.onload = () => resolve(reader.result);
      reader.readAsDataURL(blob);
    });
  }

  // Milliseconds of the last 100 frames (medians), and sizes.
  stats() {
    return this.#stage.stats();
  }
}

function checkObject(what, value, expected) {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Error(`${what}: expected ${expected}, found ${shown(value)}`);
  }
}

function shown(value) {
  return typeof value === 'number' ? String(value) : (JSON.stringify(value)?.slice(0, 60) ?? typeof value);
}
