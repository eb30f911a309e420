// The API for a page that embeds this one, by postMessage:
//
//     frame.contentWindow.postMessage({ avatar: 'set', with: [{ jawOpen: 0.5 }], id: 1 }, '*')
//     -> { avatar: 'answer', id: 1, ok: true, value }   or   { avatar: 'answer', id: 1, ok: false, error }
//
// Any page may ask: nothing here reads more than this avatar. Messages without `avatar` are for somebody else.

const CALLS = ['names', 'get', 'set', 'neutral', 'play', 'pause', 'drive', 'camera', 'background', 'mode', 'screenshot', 'stats'];
// Our own, which must start no conversation with another avatar.
const OWN = ['answer', 'ready'];

export function listenToMessages(api) {
  window.addEventListener('message', async ({ data, source, origin }) => {
    if (typeof data !== 'object' || data === null || !('avatar' in data) || OWN.includes(data.avatar)) return;
    const answer = { avatar: 'answer', id: data.id ?? null, ...await answered(api, data) };
    // A file has the origin 'null', to which nothing can be addressed.
    source?.postMessage(answer, origin === 'null' || !origin ? '*' : origin);
  });
  if (window.parent !== window) window.parent.postMessage({ avatar: 'ready', names: [...api.names] }, '*');
}

async function answered(api, { avatar: call, with: given = [] }) {
  try {
    if (!CALLS.includes(call)) throw new Error(`avatar: expected one of ${CALLS.join(', ')}`);
    if (!Array.isArray(given)) throw new Error('with: expected a list of arguments');
    const value = call === 'names' ? [...api.names] : await api[call](...given);
    return { ok: true, value: value ?? null };
  } catch (error) {
    return { ok: false, error: error.message };
  }
}
