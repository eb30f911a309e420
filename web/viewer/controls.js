// Buttons, keys and the line under the stage.

import { notify, offerFile } from './notices.js';

const LABELS = { image: 'Image', depth: 'Depth', alpha: 'Alpha', ellipsoids: 'Ellipsoids', scaffold: 'Scaffold' };
const BACKGROUNDS = { dark: [0.086, 0.102, 0.129], grey: [0.5, 0.5, 0.5], white: [1, 1, 1], green: [0, 0.69, 0.25], transparent: null };
const $ = (id) => document.getElementById(id);

export class Controls {
  constructor(viewer, { avatars, pauses }) {
    Object.assign(this, { viewer, mode: 'image', drawing: 'server', background: BACKGROUNDS.dark, paused: false });
    this.chosenByUser = false;
    this.modes = Object.keys(LABELS).filter((mode) => avatars.every(({ modes }) => modes.includes(mode)));
    $('modes').append(...this.modes.map((mode) => button(LABELS[mode], mode)));
    segments($('modes'), (mode) => this.choose({ mode }));
    segments($('drawing'), (drawing) => {
      this.chosenByUser = true;
      this.choose({ drawing });
    });
    $('backgrounds').append(...Object.keys(BACKGROUNDS).map(swatch), customColor((background) => this.choose({ background })));
    segments($('backgrounds'), (name) => this.choose({ background: BACKGROUNDS[name] }));
    this.offerBrowser(false);
    this.mark();
    this.wireClip(avatars);
    this.wireExpression();
    $('screenshot').addEventListener('click', () => this.screenshot());
    $('refine').addEventListener('change', () => viewer.change());
    if (pauses) this.wireTraining();
    addEventListener('keydown', (event) => this.press(event));
  }

  get refines() {
    return $('refine').checked;
  }

  choose(what) {
    Object.assign(this, what);
    this.mark();
    this.viewer.change();
  }

  mark() {
    const background = Object.keys(BACKGROUNDS).find((name) => BACKGROUNDS[name] === this.background) ?? 'custom';
    for (const [id, value] of [['modes', this.mode], ['drawing', this.drawing], ['backgrounds', background]]) {
      for (const each of $(id).children) each.setAttribute('aria-checked', each.dataset.value === value);
    }
    $('stage').classList.toggle('transparent', this.background === null);
    const color = (this.background ?? BACKGROUNDS.dark).map((value) => Math.round(255 * value));
    $('stage').style.backgroundColor = `rgb(${color.join(' ')})`;
  }

  // Whether the browser can draw; it does, unless the user has chosen.
  offerBrowser(isReady) {
    $('drawing').firstElementChild.disabled = !isReady;
    $('refine').disabled = !isReady;
    if (isReady && !this.chosenByUser) this.drawing = 'browser';
    this.mark();
  }

  // A browser without a graphics card can be slower than the server; what the user has chosen stays.
  giveUpBrowser() {
    if (this.chosenByUser || this.drawing !== 'browser') return;
    this.choose({ drawing: 'server' });
    notify('this browser draws slowly, perhaps without a graphics card: the server draws now');
  }

  wireClip(avatars) {
    const { playback } = this.viewer;
    const movers = avatars.filter(({ motion }) => motion.length);
    const use = (description) => {
      playback.use(description);
      const last = Math.max(0, playback.frames.length - 1);
      $('scrubber').max = $('copy-frame').max = last;
    };
    if (movers.length) use(movers[0]);
    for (const each of [$('play'), $('scrubber'), $('copy'), $('copy-frame')]) each.disabled = !movers.length;
    $('motion').hidden = movers.length < 2;
    $('motion').append(...movers.map(({ name }, i) => new Option(`clip of ${name}`, i)));
    $('motion').addEventListener('change', () => use(movers[$('motion').value]));
    $('play').addEventListener('click', () => playback.toggle(performance.now()));
    $('scrubber').addEventListener('input', () => {
      playback.playing = false;
      playback.show(Number($('scrubber').value));
    });
    $('copy').addEventListener('click', () => {
      playback.playing = false;
      playback.show(Math.min(Math.max(0, Math.round(Number($('copy-frame').value))), playback.frames.length - 1));
    });
  }

  wireExpression() {
    const { viewer } = this;
    for (const name of ['neutral', 'random']) {
      $(name).addEventListener('click', () => {
        viewer.playback.playing = false;
        viewer.expression[name]();
        viewer.change();
      });
    }
  }

  wireTraining() {
    const { connection } = this.viewer;
    $('training').hidden = false;
    $('drawing').parentElement.hidden = true;
    $('refine').parentElement.hidden = true;
    $('pause').addEventListener('click', () => connection.send({ type: 'pause', paused: !this.paused }));
    connection.on('training', ({ iteration, iterations, gaussians, psnr, paused }) => {
      this.paused = paused;
      $('pause').textContent = paused ? 'Go on' : 'Pause';
      $('training-progress').max = iterations;
      $('training-progress').value = iteration;
      const quality = psnr === undefined ? '' : `, ${psnr.toFixed(1)} dB`;
      $('training-text').textContent = `iteration ${iteration} of ${iterations}${quality}, ${gaussians} Gaussians`;
    });
    connection.on('training_over', () => {
      this.viewer.isOver = true;
      $('pause').disabled = true;
      notify('the training is over; look at the avatar by python viewer.py', 'note', 'connection');
    });
  }

  press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches('input[type=search], input[type=number]')) return;
    const { playback } = this.viewer;
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const space = this.viewer.live.isCalibrated ? 'calibrate' : 'play';
    const id = { ' ': space, n: 'neutral', r: 'random', s: 'screenshot', f: 'record' }[event.key.toLowerCase()];
    const mode = this.modes[Number(event.key) - 1];
    if (step && event.target.type === 'range') return;
    if (step) {
      playback.playing = false;
      playback.show(playback.index + step);
    } else if (mode) this.choose({ mode });
    else if (id) $(id).click();
    else return;
    event.preventDefault();
  }

  tick(now, perSecond) {
    const { playback } = this.viewer;
    $('speed').textContent = perSecond > 1 ? `${perSecond} pictures/s` : '';
    $('play').classList.toggle('playing', playback.playing);
    if (Number($('scrubber').value) !== playback.index) $('scrubber').value = playback.index;
    $('frame').value = `${playback.index} / ${Math.max(0, playback.frames.length - 1)}`;
  }

  // What is shown, at its size; several avatars side by side.
  screenshot() {
    const { viewer } = this;
    if (viewer.isDrawnHere && !viewer.panes[0].picture.classList.contains('shown')) viewer.drawHereNow(true);
    const canvases = viewer.panes.map((pane) => pane.shownCanvas);
    const picture = document.createElement('canvas');
    picture.width = canvases.reduce((sum, { width }) => sum + width, 0);
    picture.height = Math.max(...canvases.map(({ height }) => height));
    let x = 0;
    for (const canvas of canvases) {
      picture.getContext('2d').drawImage(canvas, x, 0);
      x += canvas.width;
    }
    picture.toBlob((blob) => {
      const url = URL.createObjectURL(blob);
      offerFile(url, 'gaussianhead.png');
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
    });
  }
}

function button(text, value) {
  const made = document.createElement('button');
  made.dataset.value = value;
  made.textContent = text;
  made.setAttribute('role', 'radio');
  return made;
}

function swatch(name) {
  const made = button('', name);
  made.title = name;
  made.setAttribute('aria-label', name);
  made.className = `swatch ${name}`;
  return made;
}

function customColor(onChange) {
  const input = document.createElement('input');
  Object.assign(input, { type: 'color', value: '#304060', title: 'another colour', className: 'swatch' });
  input.dataset.value = 'custom';
  input.addEventListener('input', () => {
    onChange([1, 3, 5].map((at) => parseInt(input.value.slice(at, at + 2), 16) / 255));
  });
  return input;
}

// Buttons of which one is chosen.
function segments(container, onChoose) {
  container.addEventListener('click', (event) => {
    const chosen = event.target.closest('button');
    if (chosen && !chosen.disabled) onChoose(chosen.dataset.value);
  });
}
