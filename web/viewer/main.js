// The page of viewer.py: what the user does becomes a view (camera, expression, mode), which either the browser
// draws from the light form, or the server from the full avatar.

import { OrbitControl, fitted, orbited } from '../camera.js';
import { Connection } from './connection.js';
import { Controls } from './controls.js';
import { ExpressionPanel, coefficientsOf } from './expression.js';
import { Filming } from './filming.js';
import { LiveFace } from './live.js';
import { notify } from './notices.js';
import { Pane } from './pane.js';
import { Playback } from './playback.js';
import { Quality, Speed } from './quality.js';

// After so long without a change the view rests: it is drawn once more, at full size.
const REST_MS = 220;
// Of the longer side of a clip's frame, what may be cut off so that the head fills a pane: shoulders rather than
// hair.
const CROP_SIDES = 0.3;
const CROP_HEIGHT = 0.05;
// What the server draws at most, see messages.py.
const LARGEST_PICTURE = 2048;
// Seconds that a picture may take while something moves.
const BROWSER_SECONDS = 1 / 30;
const SERVER_SECONDS = 1 / 9;

const $ = (id) => document.getElementById(id);

class Viewer {
  constructor() {
    this.connection = new Connection();
    this.panes = [];
    this.quality = { browser: new Quality(BROWSER_SECONDS), server: new Quality(SERVER_SECONDS) };
    this.speed = new Speed();
    Object.assign(this, { changedAt: 0, drawnAt: 0, dirty: false, isFinal: false, pending: null, number: 0 });
    this.connection.on('welcome', (message) => this.welcome(message));
    this.connection.on('picture', (picture) => this.receive(picture));
    this.connection.on('light', (message) => this.loadLight(message));
    this.connection.on('baking', ({ avatar, progress }) => this.showBaking(avatar, progress));
    this.connection.on('no_light', ({ avatar, message }) => this.drawHere(avatar, message));
    this.connection.on('error', ({ message }) => {
      this.pending = null;
      notify(message, 'error');
    });
    this.connection.on('closed', () => {
      this.pending = null;
      if (!this.isOver) notify('no connection to viewer.py; trying again', 'error', 'connection');
    });
  }

  welcome(message) {
    // After a new start of viewer.py the avatars may be others.
    if (this.panes.length) return location.reload();
    const { avatars } = message;
    this.camera = cameraOf(avatars[0].camera);
    this.panes = avatars.map((description) => new Pane(description));
    $('stage').append(...this.panes.map((pane) => pane.element));
    $('stage').dataset.count = avatars.length;
    document.title = `${avatars.map(({ name }) => name).join(' | ')} - GaussianHead`;
    this.expression = new ExpressionPanel($('sliders'), $('search'), coefficientsOf(avatars), () => this.change());
    this.playback = new Playback((values) => {
      this.expression.set(values);
      this.change();
    });
    this.live = new LiveFace(this, message);
    this.controls = new Controls(this, message);
    this.filming = new Filming(this, message);
    this.orbit = new OrbitControl($('stage'), { onChange: () => this.change() });
    new ResizeObserver(() => this.change()).observe($('stage'));
    this.isTraining = message.pauses;
    this.change();
    requestAnimationFrame((now) => this.tick(now));
  }

  // Something of the view is another now.
  change() {
    this.changedAt = performance.now();
    this.dirty = true;
    this.isFinal = false;
  }

  tick(now) {
    requestAnimationFrame((next) => this.tick(next));
    this.playback.tick(now);
    this.filming.tick(now);
    if (this.dirty) this.draw(false);
    else if (!this.isFinal && !this.isMoving && now - Math.max(this.changedAt, this.drawnAt) > REST_MS) this.draw(true);
    this.controls.tick(now, this.speed.perSecond(now));
  }

  // Somebody drags, or the clip plays: where a picture takes long, that is no rest.
  get isMoving() {
    return this.playback.playing || this.orbit.pointers.size > 0;
  }

  // Whether every avatar can be drawn here, in this mode.
  get isDrawnHere() {
    return this.controls?.drawing === 'browser' && this.panes.every((pane) => pane.canDraw(this.controls.mode));
  }

  draw(isFinal) {
    if (this.isDrawnHere) {
      this.dirty = false;
      this.isFinal = isFinal;
      this.drawHereNow(isFinal);
      if (isFinal && this.controls.refines && !this.playback.playing) this.ask(true);
    } else if (this.pending === null && this.ask(isFinal)) {
      this.dirty = false;
      this.isFinal = isFinal;
    }
  }

  drawHereNow(isFinal) {
    const begun = performance.now();
    const share = isFinal ? 1 : this.quality.browser.share;
    for (const pane of this.panes) {
      const camera = this.live.turned(this.cameraFor(pane, share), pane.description.camera.world_to_camera);
      pane.draw(this.expression.values, camera, this.controls.background, this.controls.mode);
    }
    if (isFinal) return;
    // The card works on while the script is done already: what counts is when the next frame comes.
    requestAnimationFrame(() => {
      const now = performance.now();
      this.drawnAt = now;
      this.quality.browser.observe((now - begun) / 1000);
      this.speed.count(now);
      if (this.quality.browser.isHopeless) this.controls.giveUpBrowser();
    });
  }

  // Ask the server for a picture of every avatar.
  ask(isFinal) {
    const { mode, background } = this.controls;
    const camera = this.cameraFor(this.panes[0], isFinal ? 1 : this.quality.server.share, LARGEST_PICTURE);
    const id = ++this.number;
    const isSent = this.connection.send({
      type: 'draw',
      id,
      avatars: this.panes.map((_, i) => i),
      mode,
      background,
      encoding: isFinal ? 'png' : 'jpeg',
      // What moves now cannot wait for the full avatar.
      form: isFinal || this.live.number === undefined ? 'full' : 'light',
      live: isFinal ? undefined : this.live.number,
      ...this.moment(camera),
    });
    if (isSent) this.pending = { id, isFinal, left: this.panes.length, at: performance.now(), change: this.changedAt };
    return isSent;
  }

  moment(camera) {
    const { values, coefficients } = this.expression;
    const moved = [...values].filter(([name, value]) => value !== coefficients.get(name).rest);
    const turn = this.live.turn ?? undefined;
    return { camera: messageOf(camera), expression: Object.fromEntries(moved), turn };
  }

  async receive(picture) {
    const { pending } = this;
    if (picture.latency) this.live.show('to pictures', picture.latency);
    if (pending === null || picture.id !== pending.id) return;
    // What the browser has drawn since is newer.
    const isLate = pending.change !== this.changedAt && this.isDrawnHere;
    if (!isLate) await this.panes[picture.avatar].show(picture);
    if (--pending.left || this.pending !== pending) return;
    this.pending = null;
    const now = performance.now();
    if (!pending.isFinal) {
      this.quality.server.observe((now - pending.at) / 1000);
      this.speed.count(now);
    }
    // A head in training is another one at every look.
    if (this.isTraining && !this.controls.paused && !this.isOver) this.isFinal = false;
  }

  // The camera of a pane at a share of its pixels; all panes look from the same place.
  cameraFor(pane, share, largest = Infinity) {
    const size = pane.size();
    const full = share * Math.min(globalThis.devicePixelRatio || 1, 2);
    const scale = Math.min(full, largest / Math.max(size.width, size.height));
    const [width, height] = [size.width, size.height].map((side) => Math.max(16, Math.round(side * scale)));
    const isNarrow = width / height < this.camera.width / this.camera.height;
    const crop = isNarrow ? CROP_SIDES : CROP_HEIGHT;
    return fitted(orbited(this.camera, this.orbit.state), width, height, crop);
  }

  async loadLight({ avatar, url }) {
    const pane = this.panes[avatar];
    try {
      await pane.load(url);
      pane.bar.hidden = true;
      pane.status.textContent = '';
      this.controls.offerBrowser(this.panes.every(({ renderer }) => renderer));
      this.change();
    } catch (error) {
      this.drawHere(avatar, `${pane.description.name}: drawn by the server, since ${error.message}`);
    }
  }

  showBaking(avatar, progress) {
    const pane = this.panes[avatar];
    pane.bar.hidden = false;
    pane.bar.value = progress;
    pane.status.textContent = `making the browser's form: ${Math.round(100 * progress)} %`;
  }

  drawHere(avatar, message) {
    this.panes[avatar].bar.hidden = true;
    this.panes[avatar].status.textContent = '';
    if (message) notify(message);
  }
}

// camera.js has 12 numbers, the messages 16, both row after row.
function cameraOf({ world_to_camera: pose, ...lens }) {
  return { ...lens, worldToCamera: pose.slice(0, 12) };
}

function messageOf({ worldToCamera, fx, fy, cx, cy, width, height }) {
  return { world_to_camera: [...worldToCamera, 0, 0, 0, 1], fx, fy, cx, cy, width, height };
}

// For tests, and for who likes the console.
globalThis.viewer = new Viewer();
