// Lines that come and go above the transport.

const SHOWN_MS = { note: 9000, error: 12000 };

// A later line of the same key takes the place of the one before.
export function notify(text, kind = 'note', key = '') {
  const list = document.getElementById('notices');
  const line = (key && list.querySelector(`[data-key="${key}"]`)) || list.appendChild(document.createElement('p'));
  line.dataset.key = key;
  line.className = kind;
  line.replaceChildren(text);
  clearTimeout(line.timer);
  line.timer = setTimeout(() => line.remove(), SHOWN_MS[kind]);
  return line;
}

export function offerFile(url, name) {
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
}
