// The sliders of the expression. Values are kept by name, so that avatars with other coefficients share them.

const RANDOM_TOGETHER = 6;
// The others wait for a click; '' is of avatars with few coefficients.
const OPEN_GROUPS = ['', 'jaw', 'mouth'];

// Of all avatars: each name once, with its rest and its range in the training data (of the first that has it).
export function coefficientsOf(descriptions) {
  const found = new Map();
  for (const { coefficients, neutral, ranges: [low, high], arkit } of descriptions) {
    coefficients.forEach((name, i) => {
      if (found.has(name)) return;
      const [from, to] = arkit ? [Math.min(0, low[i]), Math.max(1, high[i])] : [low[i], high[i]];
      found.set(name, { name, rest: neutral[i], low: low[i], high: high[i], from, to });
    });
  }
  return found;
}

export class ExpressionPanel {
  // onChange is called when the user moves a slider.
  constructor(container, search, coefficients, onChange) {
    Object.assign(this, { container, coefficients, onChange });
    this.values = new Map([...coefficients.values()].map(({ name, rest }) => [name, rest]));
    this.rows = new Map();
    const groups = new Map();
    for (const coefficient of coefficients.values()) {
      // MediaPipe's first one, which nothing follows.
      if (coefficient.name.startsWith('_')) continue;
      const group = coefficients.size > 20 ? coefficient.name.match(/^[a-z]+/)?.[0] ?? '' : '';
      if (!groups.has(group)) groups.set(group, this.addGroup(group));
      groups.get(group).append(this.addRow(coefficient));
    }
    search.addEventListener('input', () => this.filter(search.value.trim().toLowerCase()));
  }

  set(values) {
    for (const [name, value] of values) if (this.values.has(name)) this.values.set(name, value);
    this.refresh();
  }

  neutral() {
    this.set([...this.coefficients.values()].map(({ name, rest }) => [name, rest]));
  }

  // Some of the coefficients, each within what the clip shows.
  random() {
    this.neutral();
    const known = [...this.rows.keys()];
    for (let i = 0; i < RANDOM_TOGETHER; i++) {
      const { name, low, high } = this.coefficients.get(known[Math.floor(Math.random() * known.length)]);
      this.values.set(name, low + Math.random() * (high - low));
    }
    this.refresh();
  }

  refresh() {
    for (const [name, { slider, number }] of this.rows) {
      const text = this.values.get(name).toFixed(2);
      if (number.value === text) continue;
      slider.value = text;
      number.value = text;
      paint(slider);
    }
  }

  addGroup(name) {
    const group = this.container.appendChild(document.createElement('details'));
    group.dataset.name = name;
    group.open = OPEN_GROUPS.includes(name);
    const title = group.appendChild(document.createElement('summary'));
    title.textContent = name || 'coefficients';
    return group;
  }

  addRow({ name, rest, low, high, from, to }) {
    const row = document.createElement('label');
    row.className = 'slider';
    row.dataset.name = name;
    const title = row.appendChild(document.createElement('span'));
    title.textContent = name;
    title.title = `${name}: ${low.toFixed(2)} to ${high.toFixed(2)} in the clip`;
    const track = row.appendChild(document.createElement('div'));
    const slider = track.appendChild(document.createElement('input'));
    Object.assign(slider, { type: 'range', min: from, max: to, step: 0.01, value: rest });
    const known = track.appendChild(document.createElement('i'));
    known.style.left = `${(100 * (low - from)) / (to - from || 1)}%`;
    known.style.width = `${(100 * (high - low)) / (to - from || 1)}%`;
    const number = row.appendChild(document.createElement('input'));
    Object.assign(number, { type: 'number', step: 0.05, value: rest.toFixed(2) });
    const change = (input) => {
      const value = Number(input.value);
      if (input.value === '' || !Number.isFinite(value)) return;
      this.values.set(name, Math.min(Math.max(value, -10), 10));
      slider.value = value;
      if (input !== number) number.value = value.toFixed(2);
      paint(slider);
      this.onChange();
    };
    slider.addEventListener('input', () => change(slider));
    number.addEventListener('input', () => change(number));
    slider.addEventListener('dblclick', () => { slider.value = rest; change(slider); });
    paint(slider);
    this.rows.set(name, { row, slider, number });
    return row;
  }

  filter(text) {
    for (const group of this.container.children) {
      let found = 0;
      for (const row of group.querySelectorAll('.slider')) {
        row.hidden = !row.dataset.name.toLowerCase().includes(text);
        found += !row.hidden;
      }
      group.hidden = !found;
      group.open = text ? true : OPEN_GROUPS.includes(group.dataset.name);
    }
  }
}

// The part of a slider before its thumb, for the style sheet.
function paint(slider) {
  const share = (slider.value - slider.min) / (slider.max - slider.min || 1);
  slider.style.setProperty('--share', `${100 * share}%`);
}
