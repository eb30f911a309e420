// A face that moves now, from viewer.py: a camera, a phone or a program. It sets the sliders and turns the head.

import { multiplied, rotationOf } from '../camera.js';

const STATES = {
  none: 'as the source sends it',
  observing: 'now move your face: jaw, smile, brows, blink',
  done: 'calibrated',
};
// OpenGL axes to OpenCV's, and back.
const FLIPPED = [1, -1, -1, -1, 1, 1, -1, 1, 1];
// How long a face counts as one that moves now.
const FRESH_MS = 1000;
const $ = (id) => document.getElementById(id);

export class LiveFace {
  constructor(viewer, { live }) {
    // turn: 9 numbers, how the head is turned; number: of the face that is shown, while it moves.
    Object.assign(this, { viewer, isMeasured: Boolean(live), turn: null, last: null, at: -Infinity });
    $('live').hidden = !live;
    $('live-source').textContent = live;
    $('calibrate').hidden = $('uncalibrate').hidden = !live;
    $('calibrate').addEventListener('click', () => this.send('neutral'));
    $('uncalibrate').addEventListener('click', () => this.send('reset'));
    $('follow').addEventListener('change', () => {
      if (!$('follow').checked) this.turn = null;
      viewer.change();
    });
    viewer.connection.on('live', (message) => this.receive(message));
    viewer.connection.on('calibration', ({ state, seconds_left: seconds }) => {
      $('calibration').textContent = STATES[state] + (seconds ? ` (${seconds} s)` : '');
      $('uncalibrate').disabled = state === 'none';
    });
  }

  // Whether a source that can be calibrated moves the face.
  get isCalibrated() {
    return this.isMeasured && $('follow').checked;
  }

  // The face that a picture is to show, where one moves now.
  get number() {
    return performance.now() - this.at < FRESH_MS ? this.last : undefined;
  }

  send(action) {
    this.viewer.connection.send({ type: 'calibrate', action });
  }

  receive({ number, source, expression, turn, latency }) {
    $('live').hidden = false;
    $('live-source').textContent = source;
    if (!$('follow').checked) return;
    const { viewer } = this;
    Object.assign(this, { turn, last: number, at: performance.now() });
    viewer.playback.playing = false;
    viewer.expression.set(Object.entries(expression));
    viewer.change();
    if (viewer.isDrawnHere) this.show('to coefficients', latency);
    // Not at the next frame of the screen: a picture has a long way.
    else if (viewer.pending === null) viewer.draw(false);
  }

  // Milliseconds, by what was done.
  show(what, { total, ...stages } = {}) {
    if (total === undefined) return;
    const parts = Object.entries(stages).map(([name, value]) => `${name} ${value.toFixed(1)}`);
    $('latency').textContent = `${Math.round(total)} ms ${what}`;
    $('latency').title = parts.join(', ');
    $('latency-parts').textContent = parts.join(', ');
  }

  // A camera before which the head is turned about the origin; clip: the world_to_camera of the avatar's clip, 16
  // numbers, in whose axes it turns.
  turned(camera, clip) {
    if (!this.turn) return camera;
    const own = rotationOf(clip);
    const inCamera = this.turn.map((value, i) => value * FLIPPED[i]);
    const inWorld = multiplied(transposed(own), multiplied(inCamera, own));
    const rotation = multiplied(rotationOf(camera.worldToCamera), inWorld);
    const worldToCamera = [0, 1, 2].flatMap((row) => [
      ...rotation.slice(3 * row, 3 * row + 3),
      camera.worldToCamera[4 * row + 3],
    ]);
    return { ...camera, worldToCamera };
  }
}

function transposed(matrix) {
  return [0, 3, 6, 1, 4, 7, 2, 5, 8].map((at) => matrix[at]);
}
