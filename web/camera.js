// Cameras, as scene/cameras.py has them: the head at the origin, y up in the world; camera axes x right, y down,
// z forward; pixel i spans [i, i + 1).
//
//     { worldToCamera: 12 numbers, 3 x 4, row after row, fx, fy, cx, cy, width, height, near }

const NEAR = 0.2;

// Of what is cut off a picture's height, so much is cut above: hats matter more than ties.
const CUT_ABOVE = 0.25;

// The camera seen on a canvas of another shape: its picture fills `width` x `height`, and at most a share `crop`
// of it is cut off for that.
export function fitted(camera, width, height, crop = 0) {
  const [least, most] = [width / camera.width, height / camera.height].sort((a, b) => a - b);
  const scale = Math.min(most, least / (1 - crop));
  const [roomX, roomY] = [width - camera.width * scale, height - camera.height * scale];
  return {
    ...camera,
    fx: camera.fx * scale,
    fy: camera.fy * scale,
    cx: camera.cx * scale + roomX / 2,
    // Where there is room, it is above: persons go on downwards.
    cy: camera.cy * scale + (roomY < 0 ? CUT_ABOVE : 1) * roomY,
    width,
    height,
  };
}

// The same place at another turn of the head: degrees, positive yaw as in render.py's swings, positive pitch
// looks from above; the camera stays `zoom` times as near.
export function orbited(camera, { yaw = 0, pitch = 0, zoom = 1, x = 0, y = 0 }) {
  const pose = camera.worldToCamera;
  const turned = multiplied(aboutX(radians(pitch)), multiplied(rotationOf(pose), aboutY(-radians(yaw))));
  const place = [pose[3], pose[7], pose[11]].map((value) => value / zoom);
  return {
    ...camera,
    near: Math.min(camera.near ?? NEAR, 0.1 * Math.hypot(...place)),
    worldToCamera: [0, 1, 2].flatMap((row) => [...turned.slice(3 * row, 3 * row + 3), place[row]]),
    // A shift, in shares of the picture.
    cx: camera.cx + x * camera.width,
    cy: camera.cy + y * camera.height,
  };
}

// Drag turns, two fingers or shift move, wheel and pinch zoom, a double click goes back.
export class OrbitControl {
  constructor(canvas, { maxYaw = 180, maxPitch = 60, onChange = () => {} } = {}) {
    Object.assign(this, { canvas, maxYaw, maxPitch, onChange });
    this.pointers = new Map();
    this.reset();
    canvas.style.touchAction = 'none';
    canvas.addEventListener('pointerdown', (event) => this.press(event));
    canvas.addEventListener('pointermove', (event) => this.move(event));
    for (const name of ['pointerup', 'pointercancel', 'lostpointercapture']) {
      canvas.addEventListener(name, (event) => this.pointers.delete(event.pointerId));
    }
    canvas.addEventListener('wheel', (event) => {
      event.preventDefault();
      this.set({ zoom: this.state.zoom * Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)) });
    }, { passive: false });
    canvas.addEventListener('dblclick', () => this.reset());
  }

  // Any of yaw, pitch (degrees), zoom, x, y.
  set(state) {
    const next = { ...this.state, ...state };
    next.yaw = Math.min(Math.max(next.yaw, -this.maxYaw), this.maxYaw);
    next.pitch = Math.min(Math.max(next.pitch, -this.maxPitch), this.maxPitch);
    next.zoom = Math.min(Math.max(next.zoom, 0.3), 6);
    this.state = next;
    this.onChange(next);
  }

  reset() {
    this.state = { yaw: 0, pitch: 0, zoom: 1, x: 0, y: 0 };
    this.onChange(this.state);
  }

  press(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
  }

  move(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = [event.clientX, event.clientY];
    const { yaw, pitch, zoom, x, y } = this.state;
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const [right, down] = [now[0] - before[0], now[1] - before[1]];
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    if (other) {
      const grown = distance(now, other) / Math.max(distance(before, other), 1);
      // Each of two fingers moves the picture by half.
      this.set({ zoom: zoom * grown, x: x + right / 2 / width, y: y + down / 2 / height });
    } else if (event.shiftKey || event.buttons === 2) {
      this.set({ x: x + right / width, y: y + down / height });
    } else {
      const degrees = 180 / Math.min(width, height);
      this.set({ yaw: yaw - right * degrees, pitch: pitch + down * degrees });
    }
    this.pointers.set(event.pointerId, now);
  }
}

function distance(a, b) {
  return Math.hypot(a[0] - b[0], a[1] - b[1]);
}

function radians(degrees) {
  return (degrees * Math.PI) / 180;
}

function aboutX(angle) {
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  return [1, 0, 0, 0, c, -s, 0, s, c];
}

function aboutY(angle) {
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  return [c, 0, s, 0, 1, 0, -s, 0, c];
}

// Of a pose, 9 numbers, row after row.
export function rotationOf(pose) {
  return [...pose.slice(0, 3), ...pose.slice(4, 7), ...pose.slice(8, 11)];
}

// The product of two 3 x 3 matrices.
export function multiplied(a, b) {
  return Array.from({ length: 9 }, (_, i) => {
    const [row, column] = [3 * Math.floor(i / 3), i % 3];
    return a[row] * b[column] + a[row + 1] * b[3 + column] + a[row + 2] * b[6 + column];
  });
}
