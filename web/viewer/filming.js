// Films: cameras and expressions are noted here, the server draws them with the full avatar and makes an MP4.

import { fitted, orbited } from '../camera.js';
import { notify, offerFile } from './notices.js';
import { FRAME_RATE } from './playback.js';

const MOST_FRAMES = 3000;
const $ = (id) => document.getElementById(id);

export class Filming {
  constructor(viewer, { films }) {
    Object.assign(this, { viewer, frames: null, due: 0, isMaking: false });
    $('record').hidden = $('film-clip').hidden = !films;
    if (!viewer.panes[0].description.motion.length) $('film-clip').hidden = true;
    $('record').addEventListener('click', () => this.toggle());
    $('film-clip').addEventListener('click', () => this.filmClip());
    viewer.connection.on('filming', ({ done, total }) => this.show(done, total));
    viewer.connection.on('error', () => {
      // Refused; a film that goes on says so with its next frame.
      this.isMaking = false;
      this.label();
    });
    viewer.connection.on('film', ({ url, frames }) => this.finish(url, frames));
    viewer.connection.on('film_cancelled', () => this.finish(null));
    viewer.connection.on('closed', () => this.finish(null));
  }

  toggle() {
    if (this.isMaking) return this.viewer.connection.send({ type: 'cancel' });
    if (this.frames) {
      this.order(this.frames);
      this.frames = null;
    } else {
      this.frames = [];
      this.due = performance.now();
    }
    this.label();
  }

  // The view of every moment that is due: the film is in time, however fast the page draws.
  tick(now) {
    while (this.frames && now >= this.due) {
      this.frames.push(this.viewer.moment(this.camera()));
      this.due += 1000 / FRAME_RATE;
      if (this.frames.length >= MOST_FRAMES) this.toggle();
    }
    if (this.frames) $('record').lastChild.textContent = `${(this.frames.length / FRAME_RATE).toFixed(1)} s`;
  }

  filmClip() {
    const { playback, expression } = this.viewer;
    const camera = this.camera();
    const before = new Map(expression.values);
    const frames = playback.frames.slice(0, MOST_FRAMES).map((_, index) => {
      expression.set(playback.values(index));
      return this.viewer.moment(camera);
    });
    expression.set(before);
    this.order(frames);
    this.label();
  }

  // Of the size of the clip's frames.
  camera() {
    const { camera, orbit } = this.viewer;
    return fitted(orbited(camera, orbit.state), camera.width, camera.height);
  }

  order(frames) {
    const { controls, panes, connection } = this.viewer;
    this.isMaking = frames.length > 0 && connection.send({
      type: 'record',
      avatars: panes.map((_, i) => i),
      mode: controls.mode,
      background: controls.background,
      fps: FRAME_RATE,
      frames,
    });
  }

  show(done, total) {
    if (!this.isMaking) {
      this.isMaking = true;
      this.label();
    }
    notify(`filming: ${done} of ${total} frames`, 'note', 'film');
  }

  finish(url, frames) {
    if (this.isMaking) {
      const line = notify(url ? `${frames} frames: ` : 'no film', 'note', 'film');
      if (url) {
        const link = line.appendChild(document.createElement('a'));
        Object.assign(link, { href: url, download: 'gaussianhead.mp4', textContent: 'gaussianhead.mp4' });
        offerFile(url, 'gaussianhead.mp4');
      }
    }
    this.isMaking = false;
    this.frames = null;
    this.label();
  }

  label() {
    $('record').classList.toggle('active', this.frames !== null);
    $('record').lastChild.textContent = this.isMaking ? 'Cancel film' : 'Record';
    $('film-clip').disabled = this.isMaking || this.frames !== null;
  }
}
