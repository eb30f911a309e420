// Files that drive a face, as rendering/driving/ reads them: a text to
//
//     { names, frames: [F][P], rate, isFootage, notes }
//
// Throws an Error that names file, line or field, what was expected and what was there.

const EYE = ['Blink', 'LookDown', 'LookIn', 'LookOut', 'LookUp', 'Squint', 'Wide'];
const HEAD = ['headyaw', 'headpitch', 'headroll'];
const EYES = ['left', 'right'].flatMap((side) => ['yaw', 'pitch', 'roll'].map((angle) => `${side}eye${angle}`));
const NO_COEFFICIENTS = new Set(['timecode', 'blendshapecount', ...HEAD, ...EYES]);
const SIDED = (names, ...sides) => names.flatMap((name) => sides.map((side) => `${name}${side}`));
export const ARKIT_NAMES = [
  ...['Left', 'Right'].flatMap((side) => EYE.map((what) => `eye${what}${side}`)),
  'jawForward', 'jawRight', 'jawLeft', 'jawOpen', 'mouthClose', 'mouthFunnel', 'mouthPucker', 'mouthRight', 'mouthLeft',
  ...SIDED(['mouthSmile', 'mouthFrown', 'mouthDimple', 'mouthStretch'], 'Left', 'Right'),
  'mouthRollLower', 'mouthRollUpper', 'mouthShrugLower', 'mouthShrugUpper',
  ...SIDED(['mouthPress', 'mouthLowerDown', 'mouthUpperUp'], 'Left', 'Right'),
  'browDownLeft', 'browDownRight', 'browInnerUp', 'browOuterUpLeft', 'browOuterUpRight',
  'cheekPuff', 'cheekSquintLeft', 'cheekSquintRight', 'noseSneerLeft', 'noseSneerRight', 'tongueOut',
];
const CANONICAL = new Map(ARKIT_NAMES.map((name) => [name.toLowerCase(), name]));

const DEFAULT_RATE = 25;
const SHORTEST_FOOTAGE = 1; // seconds
// Frames to which timecodes count in a second; a file that sees no second end has one of the usual ones.
const COUNTS = [24, 25, 30, 48, 50, 60, 100, 120, 240];
const USUAL_COUNTS = [30, 60, 120, 240];
const MOST_COUNTED = 240;
const DAY = 24 * 3600;
const UNEVEN = 0.25; // of a step
const MOST_MISSING = 100;

export function readDriving(text, name = 'the file') {
  const read = /^\s*[[{]/.test(text) ? readCoefficients(text, name) : readLiveLink(text, name);
  return { ...read, isFootage: read.frames.length / read.rate >= SHORTEST_FOOTAGE };
}

// CSV of Live Link Face: columns by name, in any order and case; rows without a face are left out.
export function readLiveLink(text, name) {
  const lines = text.replace(/^\ufeff/, '').split(/\r\n|\n|\r/).map((line, i) => ({ number: i + 1, cells: line.split(',') }))
    .filter(({ cells }) => cells.some((cell) => cell.trim()));
  if (!lines.length) throw new Error(`${name}: expected a header and rows, found nothing`);
  const header = lines.shift().cells.map((cell) => cell.trim().toLowerCase());
  const twice = header.find((each, i) => each && header.indexOf(each) !== i);
  if (twice) throw new Error(`${name}: line 1: column ${twice} occurs more than once`);
  const columns = header.flatMap((each, i) => (NO_COEFFICIENTS.has(each) ? [] : [i]));
  const known = columns.filter((i) => CANONICAL.has(header[i]));
  if (!known.length) throw new Error(`${name}: line 1: expected columns such as JawOpen and EyeBlinkLeft, found none`);
  for (const { number, cells } of lines) {
    if (cells.length !== header.length) throw new Error(`${name}: line ${number}: expected ${header.length} columns, found ${cells.length}`);
  }
  const tracked = lines.filter(({ cells }) => known.some((i) => cells[i].trim()));
  if (!tracked.length) throw new Error(`${name}: expected rows with coefficients, found none`);
  let frames = tracked.map(({ number, cells }) => columns.map((i) => {
    const value = cells[i].trim() === '' ? NaN : Number(cells[i]);
    if (Number.isFinite(value)) return value;
    const column = CANONICAL.get(header[i]) ?? header[i];
    throw new Error(`${name}: line ${number}: ${column}: expected a number, found '${cells[i].trim()}'`);
  }));
  const notes = [];
  if (tracked.length < lines.length) notes.push(`${lines.length - tracked.length} rows without a face, left out`);
  let rate = DEFAULT_RATE;
  const timecode = header.indexOf('timecode');
  if (timecode < 0) {
    notes.push(`no Timecode: taken as ${rate} frames/s`);
  } else if (tracked.length > 1) {
    const times = secondsOf(tracked.map(({ number, cells }) => [number, cells[timecode].trim()]), name);
    ({ frames, rate } = evenlyTimed(times, frames, name));
  }
  return { names: columns.map((i) => CANONICAL.get(header[i]) ?? header[i]), frames, rate, notes };
}

// JSON: Audio2Face, names with frames of weights, or one face (or lists of values) by name.
export function readCoefficients(text, name) {
  let document;
  try {
    document = JSON.parse(text);
  } catch (error) {
    throw new Error(`${name}: cannot be read as JSON (${error.message})`);
  }
  if (typeof document !== 'object' || document === null || Array.isArray(document)) {
    throw new Error(`${name}: expected an object, found ${shown(document)}`);
  }
  if ('weightMat' in document || 'facsNames' in document) return audio2Face(document, name);
  if ('names' in document && 'frames' in document) return namedFrames(document, name);
  return byName(document, name);
}

function audio2Face(document, name) {
  const names = namesOf(document, 'facsNames', name);
  const rate = document.exportFps;
  if (!Number.isFinite(rate) || rate <= 0) throw new Error(`${name}: exportFps: expected frames per second, found ${shown(rate)}`);
  const rows = listOf(document, 'weightMat', name);
  for (const [key, count, what] of [['numPoses', names.length, 'facsNames'], ['numFrames', rows.length, 'weightMat']]) {
    if ((document[key] ?? count) !== count) throw new Error(`${name}: ${key}: expected ${count} as ${what} has, found ${shown(document[key])}`);
  }
  const frames = rows.map((row, i) => checkedWeights(row, names.length, `${name}: weightMat[${i}]`));
  return { names, frames, rate, notes: [] };
}

function namedFrames(document, name) {
  const names = namesOf(document, 'names', name);
  const entries = listOf(document, 'frames', name);
  const frames = entries.map((entry, i) => checkedWeights(entry?.weights, names.length, `${name}: frames[${i}].weights`));
  if (!entries.some((entry) => 'time' in entry)) {
    return { names, frames, rate: DEFAULT_RATE, notes: [`frames have no time: taken as ${DEFAULT_RATE} frames/s`] };
  }
  const times = entries.map(({ time }, i) => {
    if (!Number.isFinite(time)) throw new Error(`${name}: frames[${i}].time: expected seconds, found ${shown(time)}`);
    return time;
  });
  const timed = times.length > 1 ? evenlyTimed(times, frames, name) : { frames, rate: DEFAULT_RATE };
  return { names, ...timed, notes: [] };
}

function byName(document, name) {
  const names = Object.keys(document);
  const values = names.map((key) => [document[key]].flat());
  const count = values[0]?.length ?? 0;
  if (!count) throw new Error(`${name}: expected numbers by name, or names and frames, found an empty object`);
  values.forEach((list, i) => {
    if (list.length !== count) throw new Error(`${name}: ${names[i]}: expected ${count} numbers as ${names[0]} has, found ${list.length}`);
    checkedWeights(list, count, `${name}: ${names[i]}`);
  });
  const frames = Array.from({ length: count }, (_, frame) => values.map((list) => list[frame]));
  return { names, frames, rate: DEFAULT_RATE, notes: count > 1 ? [`taken as ${DEFAULT_RATE} frames/s`] : [] };
}

function namesOf(document, key, name) {
  const names = listOf(document, key, name);
  if (!names.every((each) => typeof each === 'string')) throw new Error(`${name}: ${key}: expected a list of names, found ${shown(names)}`);
  const twice = names.find((each, i) => names.indexOf(each) !== i);
  if (twice !== undefined) throw new Error(`${name}: ${key}: '${twice}' occurs more than once`);
  return names;
}

function listOf(document, key, name) {
  const value = document[key];
  if (Array.isArray(value) && value.length) return value;
  throw new Error(`${name}: ${key}: expected a list with something in it, found ${shown(value)}`);
}

function checkedWeights(row, count, where) {
  if (!Array.isArray(row) || row.length !== count) {
    throw new Error(`${where}: expected ${count} numbers, found ${Array.isArray(row) ? row.length : shown(row)}`);
  }
  row.forEach((value, i) => {
    if (!Number.isFinite(value)) throw new Error(`${where}[${i}]: expected a number, found ${shown(value)}`);
  });
  return row;
}

// Seconds of timecodes HH:MM:SS:FF.mmm (line number and text), rising over midnight.
function secondsOf(timecodes, name) {
  const parts = timecodes.map(([number, text]) => {
    const match = /^(\d+):(\d+):(\d+)[:;](\d+(?:\.\d+)?)$/.exec(text);
    if (!match) throw new Error(`${name}: line ${number}: Timecode: expected HH:MM:SS:FF.mmm, found '${text}'`);
    return [3600 * match[1] + 60 * match[2] + Number(match[3]), Number(match[4])];
  });
  const largest = parts.reduce((most, [, frame]) => Math.max(most, frame), 0);
  if (largest >= MOST_COUNTED) throw new Error(`${name}: Timecode: expected frames within the second, found ${largest}`);
  let count = USUAL_COUNTS.find((each) => largest < each) ?? MOST_COUNTED;
  if (parts.some(([whole]) => whole !== parts[0][0])) {
    // The last frame of a second, or the one before it, if it was dropped.
    count = Math.floor(largest) + 1;
    if (COUNTS.includes(count + 1) && !COUNTS.includes(count)) count++;
  }
  let days = 0;
  let before = -Infinity;
  return parts.map(([whole, frame]) => {
    let time = whole + frame / count + DAY * days;
    if (time < before - DAY / 2) {
      days++;
      time += DAY;
    }
    before = time;
    return time;
  });
}

// Frames at rising times to an even rate, that of the median step; what is even stays as it is.
export function evenlyTimed(times, frames, name) {
  const steps = times.slice(1).map((time, i) => time - times[i]);
  const late = steps.findIndex((step) => !(step > 0)) + 1;
  if (late) throw new Error(`${name}: frame ${late}: time ${times[late]} s: expected later than ${times[late - 1]} s`);
  const last = times.length - 1;
  const span = times[last] - times[0];
  const even = span / last;
  if (times.every((time, i) => Math.abs(time - times[0] - i * even) <= UNEVEN * even)) return { frames, rate: 1 / even };
  const sorted = [...steps].sort((a, b) => a - b);
  const step = (sorted[(last - 1) >> 1] + sorted[last >> 1]) / 2;
  const count = Math.floor(span / step + 0.5) + 1;
  if (count > MOST_MISSING * times.length) throw new Error(`${name}: ${times.length} frames over ${span} s: expected steps of about ${step} s`);
  let i = 0;
  const moved = Array.from({ length: count }, (_, frame) => {
    const time = times[0] + step * frame;
    while (i < last - 1 && times[i + 1] <= time) i++;
    const share = Math.min((time - times[i]) / steps[i], 1);
    return frames[i].map((value, column) => value + share * (frames[i + 1][column] - value));
  });
  return { frames: moved, rate: 1 / step };
}

function shown(value) {
  return value === undefined ? 'nothing' : JSON.stringify(value).slice(0, 60);
}
