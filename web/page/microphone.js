// Loudness to a mouth that moves with it. Nothing is recorded, nothing leaves the page.

import { reasonOf } from './permissions.js';

// Shares of one loudness, 0 to 1: a speaking mouth opens, and is a little round.
const MOUTH = { jawOpen: 0.45, mouthFunnel: 0.12, mouthLowerDownLeft: 0.25, mouthLowerDownRight: 0.25, mouthUpperUpLeft: 0.1, mouthUpperUpRight: 0.1 };
// Decibels of a quiet room, and of speech close by, against full scale.
const QUIET = -50;
const LOUD = -18;
// Milliseconds in which the mouth opens, and closes.
const ATTACK = 40;
const RELEASE = 110;

// Gives { values(now) -> expression [E], stop() }; throws an Error that says why there is no microphone.
export async function openMicrophone(avatar) {
  const places = Object.entries(MOUTH).map(([name, share]) => [avatar.names.indexOf(name), share]).filter(([place]) => place >= 0);
  if (!places.length) throw new Error('this avatar has no jawOpen to move');
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: true, noiseSuppression: true } });
  } catch (error) {
    throw new Error(reasonOf(error, 'microphone'));
  }
  const context = new AudioContext();
  await context.resume();
  const analyser = new AnalyserNode(context, { fftSize: 1024 });
  context.createMediaStreamSource(stream).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  const follower = new LoudnessFollower();
  const expression = Float32Array.from(avatar.neutralExpression);
  return {
    values(now) {
      analyser.getFloatTimeDomainData(samples);
      const loudness = follower.next(samples, now);
      for (const [place, share] of places) expression[place] = avatar.neutralExpression[place] + share * loudness;
      return expression;
    },
    stop() {
      stream.getTracks().forEach((track) => track.stop());
      context.close();
    },
  };
}

// Loudness of samples, 0 to 1, smoothed: up at once, down more slowly, so that the mouth does not flutter.
export class LoudnessFollower {
  level = 0;
  last = null;

  next(samples, now) {
    const power = samples.reduce((sum, value) => sum + value * value, 0) / samples.length;
    const decibels = 10 * Math.log10(Math.max(power, 1e-12));
    const heard = Math.min(Math.max((decibels - QUIET) / (LOUD - QUIET), 0), 1);
    const passed = this.last === null ? 0 : now - this.last;
    this.last = now;
    const share = 1 - Math.exp(-passed / (heard > this.level ? ATTACK : RELEASE));
    this.level += share * (heard - this.level);
    return this.level;
  }
}
