// From a driver's coefficients to the avatar's, as rendering/driving/retarget.py does it:
//
//     avatar = avatar's rest + scale (driver - driver's rest), clipped
//
// Rest and scale are read from footage, a second and longer; what was made by hand is taken as it stands.

const REST = 10;
const REACH = 99;
const LARGEST_SCALE = 1.5;
// Ranges below this are the tracker's noise.
const SMALLEST_RANGE = 0.02;
// A coefficient that stays below this says nothing.
const SILENT = 1e-3;

// { frames: [F * E], rate, notes }; throws where not one name is known on both sides.
export function retargeted({ names, frames, rate, isFootage, notes }, avatar) {
  const columns = matched(names, avatar.names);
  const size = avatar.names.length;
  const isArkit = areArkit(avatar.names);
  const { neutralExpression: neutral, motion } = avatar;
  const own = isFootage && motion ? habitsOf(rowsOf(motion, size), isArkit) : { rest: neutral, range: null };
  const driver = isFootage ? habitsOf(frames, isArkit)
    : { rest: columns.map((_, i) => (isArkit ? 0 : neutral[i])), range: null, isByAvatar: true };
  const out = new Float32Array(frames.length * size);
  frames.forEach((row, frame) => columns.forEach((column, i) => {
    let value = own.rest[i];
    if (column >= 0) {
      const from = driver.isByAvatar ? i : column;
      const scale = own.range && driver.range ? scaleOf(driver.range[from], own.range[i]) : 1;
      value += scale * (row[column] - driver.rest[from]);
    }
    out[frame * size + i] = isArkit ? Math.min(Math.max(value, 0), 1) : value;
  }));
  if (!isArkit && motion) keepWithin(out, rowsOf(motion, size), size);
  return { frames: out, rate, notes: [...notes, ...unmatched(names, frames, columns, avatar.names)] };
}

// Of each of the avatar's coefficients the driver's column, -1 where it has none.
export function matched(names, own) {
  const column = new Map(names.map((name, i) => [keyOf(name), i]));
  const columns = own.map((name) => column.get(keyOf(name)) ?? -1);
  if (columns.every((each) => each < 0)) {
    throw new Error(`none of the coefficients (${names.slice(0, 4).join(', ')} …) is one of the avatar's (${own.slice(0, 4).join(', ')} …)`);
  }
  return columns;
}

function unmatched(names, frames, columns, own) {
  const notes = [];
  const unknown = names.filter((_, i) => !columns.includes(i) && frames.some((row) => Math.abs(row[i]) > SILENT));
  const lacking = own.filter((name, i) => columns[i] < 0 && !name.startsWith('_'));
  if (unknown.length) notes.push(`the avatar does not know ${unknown.join(', ')}: left out`);
  if (lacking.length) notes.push(`it has no ${lacking.join(', ')}: at rest`);
  return notes;
}

export function areArkit(names) {
  return ['jawOpen', 'eyeBlinkLeft', 'mouthSmileLeft'].every((name) => names.includes(name));
}

// One spelling of eyeBlinkLeft, EyeBlinkLeft and eyeBlink_L.
function keyOf(name) {
  return name.replace(/_L$/, 'Left').replace(/_R$/, 'Right').replaceAll('_', '').toLowerCase();
}

function rowsOf(values, size) {
  return Array.from({ length: values.length / size }, (_, frame) => values.subarray(frame * size, (frame + 1) * size));
}

// How a face rests, and how far from there it moves. Coefficients with signs rest in their middle.
function habitsOf(rows, isArkit) {
  const columns = Array.from({ length: rows[0].length }, (_, i) => Array.from(rows, (row) => row[i]).sort((a, b) => a - b));
  const low = columns.map((each) => percentile(each, REST));
  const range = columns.map((each, i) => percentile(each, REACH) - low[i]);
  return { rest: isArkit ? low : nearest(rows, columns.map((each) => percentile(each, 50))), range };
}

// The row nearest another one: no average, which no frame may have had.
function nearest(rows, wanted) {
  const distances = Array.from(rows, (row) => wanted.reduce((sum, value, i) => sum + (row[i] - value) ** 2, 0));
  return rows[distances.indexOf(Math.min(...distances))];
}

function percentile(sorted, percent) {
  const place = ((sorted.length - 1) * percent) / 100;
  const first = Math.floor(place);
  const second = Math.min(first + 1, sorted.length - 1);
  return sorted[first] + (place - first) * (sorted[second] - sorted[first]);
}

function scaleOf(driver, own) {
  if (Math.min(driver, own) < SMALLEST_RANGE) return 1;
  return Math.min(Math.max(own / Math.max(driver, SMALLEST_RANGE), 1 / LARGEST_SCALE), LARGEST_SCALE);
}

function keepWithin(values, rows, size) {
  for (let i = 0; i < size; i++) {
    const own = rows.map((row) => row[i]);
    const [low, high] = [Math.min(...own), Math.max(...own)];
    for (let j = i; j < values.length; j += size) values[j] = Math.min(Math.max(values[j], low), high);
  }
}
