// The WebSocket to viewer.py, see viewing/messages.py. Every message is an event of its type; a picture's detail
// is its header with `blob`.

const RETRY_MS = 1500;

export class Connection extends EventTarget {
  constructor() {
    super();
    this.open();
  }

  send(message) {
    if (this.socket.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(message));
    return true;
  }

  open() {
    const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
    this.socket = new WebSocket(`${scheme}://${location.host}/socket`);
    this.socket.binaryType = 'arraybuffer';
    this.socket.onmessage = ({ data }) => {
      const message = typeof data === 'string' ? JSON.parse(data) : pictureOf(data);
      this.dispatchEvent(new CustomEvent(message.type, { detail: message }));
    };
    this.socket.onclose = () => {
      this.dispatchEvent(new CustomEvent('closed'));
      setTimeout(() => this.open(), RETRY_MS);
    };
  }

  // Like addEventListener, with the message itself.
  on(type, listener) {
    this.addEventListener(type, (event) => listener(event.detail));
  }
}

function pictureOf(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const blob = new Blob([new Uint8Array(buffer, 4 + length)], { type: `image/${header.encoding}` });
  return { type: 'picture', ...header, blob };
}
