// The clip that an avatar brings, played frame by frame.

export const FRAME_RATE = 25;

export class Playback {
  // onFrame(values) is called with pairs of name and value when another frame is due.
  constructor(onFrame) {
    Object.assign(this, { onFrame, frames: [], names: [], index: 0, playing: false, due: 0 });
  }

  use({ motion, coefficients }) {
    Object.assign(this, { frames: motion, names: coefficients });
    this.index = Math.min(this.index, Math.max(0, motion.length - 1));
  }

  values(index) {
    return this.names.map((name, i) => [name, this.frames[index][i]]);
  }

  show(index) {
    if (!this.frames.length) return;
    this.index = ((index % this.frames.length) + this.frames.length) % this.frames.length;
    this.onFrame(this.values(this.index));
  }

  toggle(now) {
    this.playing = !this.playing && this.frames.length > 1;
    this.due = now;
  }

  // In time even where drawing is slow: frames are left out, not delayed.
  tick(now) {
    if (!this.playing || now < this.due) return;
    const steps = 1 + Math.floor(((now - this.due) * FRAME_RATE) / 1000);
    this.due += (1000 / FRAME_RATE) * steps;
    this.show(this.index + steps);
  }
}
