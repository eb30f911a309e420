// How large pictures may be so that what moves stays fluid: a share of the size of the pane, by what the last
// pictures took.

const LEAST = 0.25;
// So many pictures in a row that took ten times what they may, at the smallest size, are no accident.
const HOPELESS = 5;

export class Quality {
  // seconds: what a picture may take.
  constructor(seconds) {
    Object.assign(this, { seconds, share: 0.6, failures: 0 });
  }

  get isHopeless() {
    return this.failures >= HOPELESS;
  }

  observe(seconds) {
    this.failures = this.share === LEAST && seconds > 10 * this.seconds ? this.failures + 1 : 0;
    // Time goes by the number of pixels; halfway there, since single pictures say little.
    const wanted = this.share * Math.sqrt(this.seconds / Math.max(seconds, 1e-3));
    this.share = Math.min(1, Math.max(LEAST, 0.5 * (this.share + wanted)));
  }
}

// Pictures of the last second.
export class Speed {
  constructor() {
    this.times = [];
  }

  count(now) {
    this.times.push(now);
  }

  perSecond(now) {
    while (this.times.length && this.times[0] < now - 1000) this.times.shift();
    return this.times.length;
  }
}
