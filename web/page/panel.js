// The panel beside the avatar: sliders by name, sources, view.

import { areArkit } from './retarget.js';
import { openMicrophone } from './microphone.js';
import { openWebcam } from './webcam.js';

const NUM_RANDOM = 5;
const STATS_EVERY = 250; // milliseconds
const element = (id) => document.getElementById(id);

export class Panel {
  constructor(api, stage, player) {
    Object.assign(this, { api, stage, player, avatar: player.avatar, device: null });
    element('title').textContent = this.avatar.title;
    this.sliders = this.avatar.names.map((name, place) => this.slider(name, place));
    // What begins with a line, as MediaPipe's _neutral, moves nothing.
    element('sliders').append(...this.sliders.filter(({ name }) => !name.startsWith('_')).map(({ row }) => row));
    element('search').addEventListener('input', ({ target }) => this.search(target.value));
    element('neutral').addEventListener('click', () => this.useSource(null, () => api.neutral()));
    element('random').addEventListener('click', () => this.useSource(null, () => this.random()));
    element('front').addEventListener('click', () => stage.orbit.reset());
    element('screenshot').addEventListener('click', () => this.save());
    element('toggle-stats').addEventListener('click', ({ target }) => {
      element('stats').hidden = !element('stats').hidden;
      target.setAttribute('aria-pressed', String(!element('stats').hidden));
    });
    element('background').addEventListener('change', ({ target }) => api.background(target.value));
    element('mode').addEventListener('change', ({ target }) => api.mode(target.value));
    for (const id of ['open', 'close']) element(id).addEventListener('click', () => document.body.classList.toggle('alone', id === 'close'));
    for (const button of element('sources').children) button.addEventListener('click', () => this.choose(button.dataset.source));
    element('file').addEventListener('change', ({ target }) => this.read(target.files[0]));
    this.acceptDrops();
  }

  slider(name, place) {
    const row = document.createElement('label');
    row.className = 'slider';
    const [text, value, input] = ['span', 'output', 'input'].map((tag) => document.createElement(tag));
    // ARKit's go from 0 to 1, others as far as the clip went.
    const isArkit = areArkit(this.avatar.names);
    const [low, high] = isArkit ? [0, 1] : [this.avatar.low[place], this.avatar.high[place]];
    Object.assign(input, { type: 'range', min: low, max: high > low ? high : low + 1, step: 'any' });
    input.setAttribute('aria-label', name);
    text.textContent = name;
    value.title = 'Click to let it go';
    text.title = name;
    row.append(text, input, value);
    input.addEventListener('input', () => this.api.set({ [name]: Number(input.value) }));
    value.addEventListener('click', (event) => {
      event.preventDefault();
      this.api.set({ [name]: null });
    });
    return { row, input, value, name, shown: null };
  }

  // Every frame: what the face does, and which buttons are on.
  show() {
    const { expression, overrides } = this.player;
    this.sliders.forEach((slider, place) => {
      const shown = expression[place].toFixed(2);
      slider.row.classList.toggle('set', overrides.has(place));
      if (shown === slider.shown) return;
      slider.shown = shown;
      slider.value.textContent = shown;
      const { input } = slider;
      input.value = expression[place];
      input.style.setProperty('--filled', `${(100 * (input.value - input.min)) / (input.max - input.min)}%`);
    });
    // Whoever asked for something else, a device that nobody follows is let go.
    if (this.device && !this.player.live) {
      this.device.stop();
      this.device = null;
    }
    const source = this.device?.source ?? (this.player.isPlaying ? (this.player.sequence === this.player.clip ? 'clip' : 'file') : null);
    for (const button of element('sources').children) {
      button.setAttribute('aria-pressed', String(button.dataset.source === source));
    }
    for (const [id, value] of [['background', this.stage.backgroundName], ['mode', this.stage.mode]]) {
      if (element(id).value !== value) element(id).value = value;
    }
    const now = performance.now();
    if (!element('stats').hidden && now - (this.statsShown ?? 0) > STATS_EVERY) {
      this.statsShown = now;
      element('stats').textContent = statsLine(this.stage.stats());
    }
  }

  search(text) {
    const words = text.toLowerCase().split(/\s+/);
    for (const { row, name } of this.sliders) row.hidden = !words.every((word) => name.toLowerCase().includes(word));
  }

  async choose(source) {
    const { player } = this;
    if (source === 'file') element('file').click();
    else if (source === 'clip') {
      const isOn = player.isPlaying && player.sequence === player.clip;
      await this.useSource(null, () => {
        if (isOn) return player.pause();
        if (!player.clip) throw new Error('this avatar brings no motion of its clip');
        return player.play(player.clip);
      });
    } else if (this.device?.source === source) await this.useSource(null, () => this.api.pause());
    else await this.useSource(source, source === 'microphone' ? openMicrophone : openWebcam);
  }

  // Ends a device that is on; `begin` starts what comes next, a device where `source` names one.
  async useSource(source, begin) {
    this.device?.stop();
    this.device = null;
    this.say(source ? 'One moment …' : '');
    try {
      const started = await begin(this.avatar);
      if (!source) return;
      this.device = { source, stop: started.stop };
      this.player.follow(started.values);
      this.say('');
    } catch (error) {
      this.say(source ? `No ${source}: ${error.message}` : error.message, true);
    }
  }

  random() {
    const { names, low, high } = this.avatar;
    this.api.neutral();
    for (let i = 0; i < NUM_RANDOM; i++) {
      const place = Math.floor(Math.random() * names.length);
      this.api.set({ [names[place]]: low[place] + Math.random() * (high[place] - low[place]) });
    }
  }

  async read(file) {
    if (!file) return;
    await this.useSource(null, async () => {
      const notes = this.api.drive(await file.text(), file.name);
      this.say([file.name, ...notes].join(': ').slice(0, 300));
    });
    element('file').value = '';
  }

  acceptDrops() {
    const drag = (isOver) => document.body.classList.toggle('dropping', isOver);
    window.addEventListener('dragover', (event) => { event.preventDefault(); drag(true); });
    window.addEventListener('dragleave', (event) => { if (!event.relatedTarget) drag(false); });
    window.addEventListener('drop', (event) => {
      event.preventDefault();
      drag(false);
      this.read(event.dataTransfer?.files[0]);
    });
  }

  async save() {
    const link = document.createElement('a');
    link.href = URL.createObjectURL(await this.stage.screenshot());
    link.download = `${this.avatar.title}.png`;
    link.click();
    URL.revokeObjectURL(link.href);
  }

  say(text, isError = false) {
    element('note').textContent = text;
    element('note').classList.toggle('error', isError);
  }
}

function statsLine({ splats, blend, sort, submit, rate, width, height }) {
  const times = `blend ${blend.toFixed(1)} + sort ${sort.toFixed(1)} + submit ${submit.toFixed(1)} ms`;
  return `${splats.toLocaleString('en')} splats · ${width} × ${height} · ${times}${rate ? ` · ${rate.toFixed(0)} fps` : ''}`;
}
