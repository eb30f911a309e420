// What the face does at a time: a source (the clip, a file, a live signal), and over it what was set by hand.

export class Player {
  constructor(avatar) {
    this.avatar = avatar;
    this.overrides = new Map(); // place -> value
    this.clip = clipSequence(avatar);
    this.sequence = this.clip;
    this.isPlaying = false;
    this.position = 0; // seconds
    this.live = null; // () => Map of place -> value
    this.expression = Float32Array.from(avatar.neutralExpression);
  }

  play(sequence = this.sequence) {
    if (sequence !== this.sequence) this.position = 0;
    Object.assign(this, { sequence, live: null, isPlaying: Boolean(sequence), last: null });
  }

  pause() {
    Object.assign(this, { isPlaying: false, live: null });
  }

  // The source stops, nothing is set any more.
  neutral() {
    this.pause();
    this.position = 0;
    this.overrides.clear();
    this.base = null;
  }

  // From now on `values()` [E] moves the face.
  follow(values) {
    Object.assign(this, { isPlaying: false, live: values });
  }

  expressionAt(now) {
    if (this.live) {
      this.base = this.live(now);
    } else if (this.isPlaying) {
      this.position += Math.min((now - (this.last ?? now)) / 1000, 0.25);
      this.last = now;
      this.base = frameAt(this.sequence, this.position, this.avatar.names.length);
    }
    this.expression.set(this.base ?? this.avatar.neutralExpression);
    for (const [place, value] of this.overrides) this.expression[place] = value;
    return this.expression;
  }
}

// The clip's own motion, there and back, so that it has no seam.
function clipSequence({ motion, frameRate }) {
  return motion && { frames: motion, rate: frameRate, bounces: true };
}

// Between two frames, smoothly; sequences go on from their beginning.
export function frameAt({ frames, rate, bounces }, seconds, size) {
  const count = frames.length / size;
  let place = seconds * rate;
  if (bounces) {
    const period = Math.max(1, 2 * (count - 1));
    place %= period;
    place = Math.min(place, period - place);
  } else {
    place %= count;
  }
  const first = Math.min(Math.floor(place), count - 1);
  const second = Math.min(first + 1, count - 1);
  const share = place - first;
  return Float32Array.from({ length: size }, (_, i) => (
    (1 - share) * frames[first * size + i] + share * frames[second * size + i]));
}
