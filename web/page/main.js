// The page: one avatar, what moves it, the panel, and the doors for other programs.

import { fetchAvatar, readAvatar } from '../avatar_data.js';
import { SplatRenderer } from '../renderer.js';
import { Api } from './api.js';
import { listenToMessages } from './messages.js';
import { Panel } from './panel.js';
import { Player } from './player.js';
import { Stage } from './stage.js';

const message = document.getElementById('message');

start().catch((error) => {
  message.hidden = false;
  message.textContent = `The avatar cannot be shown: ${error.message}`;
  window.avatarError = error.message;
});

async function start() {
  const avatar = await givenAvatar();
  const stage = new Stage(document.getElementById('canvas'), avatar, SplatRenderer);
  const player = new Player(avatar);
  const api = new Api(avatar, stage, player);
  const panel = new Panel(api, stage, player);
  // #panel=off&background=transparent&play=off, for pages that embed this one.
  const asked = new URLSearchParams(location.hash.slice(1));
  document.body.classList.toggle('embedded', window.parent !== window);
  if (asked.get('panel') === 'off') document.body.classList.add('alone', 'bare');
  if (asked.has('background')) api.background(asked.get('background'));
  if (asked.get('play') !== 'off') api.play();
  document.title = avatar.title;
  message.hidden = true;
  stage.run((now) => {
    panel.show();
    return player.expressionAt(now);
  });
  window.avatar = api;
  listenToMessages(api);
}

// What was inlined at export; else ?avatar=FILE, for pages with a server.
async function givenAvatar() {
  const inlined = document.getElementById('avatar-data');
  if (!inlined) return fetchAvatar(new URLSearchParams(location.search).get('avatar') ?? 'avatar.safetensors');
  const text = atob(inlined.textContent.trim());
  inlined.remove();
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
  return readAvatar(bytes.buffer);
}
