'use strict';

const $ = (id) => document.getElementById(id);

const members = new Map();        // sid -> name, of those in our room
const typists = new Map();        // sid -> timer
const rooms = new Set(['lobby', 'kitchen', 'garden']);

let name = localStorage.getItem('name') || '';
let room = '';                    // '' until we are in


// The room stands in the address, so that a link leads into it.

function wanted() {
  let text = location.hash.slice(1);

  try {
    text = decodeURIComponent(text);
  } catch (error) { /* not encoded: as it is */ }

  return text.trim().slice(0, 24) || 'lobby';
}


const socket = io({
  autoConnect: false,
  // asked for at every attempt: a lost connection comes back into its room
  auth: (give) => give({ name, room: room || wanted() }),
});


socket.on('connect', () => {
  enter(room || wanted());
  status();

  socket.io.engine.once('upgrade', status);

  $('welcome').close();
  $('chat').hidden = false;
  $('text').focus();
});

socket.on('connect_error', (error) => {
  status();

  // Refused by the application, which is not tried again by itself.
  if (!socket.active) {
    welcome(error.message);
  }
});

socket.on('disconnect', status);

socket.on('joined', (sid, who) => {
  members.set(sid, who);
  people();
  note(`${who} came in`);

  // Nobody keeps a list: each of us tells the newcomer.
  socket.emit('here', sid);
});

socket.on('here', (sid, who, where) => {
  if (where === `#${room}`) {
    members.set(sid, who);
    people();
  }
});

socket.on('left', (sid) => {
  const who = members.get(sid);

  if (who !== undefined && sid !== socket.id) {
    members.delete(sid);
    quiet(sid);
    people();
    note(`${who} left`);
  }
});

socket.on('message', (sid, who, text) => {
  quiet(sid);
  message(sid, who, text);
});

socket.on('typing', (sid) => {
  clearTimeout(typists.get(sid));
  typists.set(sid, setTimeout(quiet, 3000, sid));
  typing();
});


function enter(next) {
  const again = next === room;

  room = next;
  rooms.add(room);

  members.clear();
  members.set(socket.id, name);
  typists.clear();

  document.title = `${room} · Chat`;
  $('room').textContent = `# ${room}`;
  $('chat').classList.remove('menu');

  if (!again) {
    $('messages').replaceChildren();
    note(`You are in ${room}`);
  }

  list();
  people();
  typing();
}


function status() {
  const transport = socket.io.engine?.transport.name;

  $('status').className = socket.connected ? 'online' : '';
  $('status').textContent = socket.connected ? transport : 'connecting…';
}


function welcome(error) {
  $('chat').hidden = true;
  $('name').value = name;
  $('error').textContent = error || '';

  if (!$('welcome').open) {
    $('welcome').showModal();
  }
}


// Drawing; text is only ever set as text.

function element(tag, className, ...children) {
  const e = document.createElement(tag);

  e.className = className;
  e.append(...children);

  return e;
}


function face(who) {
  const e = element('span', 'face', ([...who][0] ?? '?').toUpperCase());
  let hue = 0;

  for (const c of who) {
    hue = (hue * 31 + c.codePointAt(0)) % 360;
  }

  e.style.background = `hsl(${hue} 45% 45%)`;
  e.ariaHidden = 'true';

  return e;
}


function add(e) {
  const box = $('messages');
  const bottom = box.scrollHeight - box.scrollTop - box.clientHeight < 80;

  box.append(e);

  while (box.childElementCount > 500) {
    box.firstElementChild.remove();
  }

  // Who reads further up is left alone.
  if (bottom) {
    box.scrollTop = box.scrollHeight;
  }
}


function note(text) {
  add(element('li', 'note', text));
}


function message(sid, who, text) {
  const now = new Date();
  const time = element('time', '', now.toLocaleTimeString([], {
    hour: '2-digit', minute: '2-digit',
  }));

  const e = element('li', 'message', face(who),
                    element('div', '', element('b', '', who), time),
                    element('p', '', text));
  const last = $('messages').lastElementChild;

  e.dataset.sid = sid;
  e.classList.toggle('own', sid === socket.id);
  e.classList.toggle('more', last?.dataset.sid === sid);

  add(e);
}


function list() {
  $('rooms').replaceChildren(...[...rooms].map((r) => {
    const a = element('a', '', `# ${r}`);

    a.href = `#${encodeURIComponent(r)}`;

    return element('li', r === room ? 'current' : '', a);
  }));
}


function people() {
  const sorted = [...members].sort((a, b) => a[1].localeCompare(b[1]));

  $('count').textContent = members.size;
  $('members').replaceChildren(...sorted.map(([sid, who]) => {
    return element('li', '', face(who),
                   sid === socket.id ? `${who} (you)` : who);
  }));
}


function typing() {
  const names = [...typists.keys()].map((sid) => members.get(sid))
    .filter((who) => who !== undefined);

  $('typing').textContent = names.length === 0 ? ''
    : names.length === 1 ? `${names[0]} is writing…`
      : `${names.length} people are writing…`;
}


function quiet(sid) {
  clearTimeout(typists.get(sid));
  typists.delete(sid);
  typing();
}


$('enter').addEventListener('submit', (event) => {
  event.preventDefault();

  // as the application will clean it, so that all of us see the same
  name = $('name').value.trim().split(/\s+/).join(' ').slice(0, 24);
  localStorage.setItem('name', name);

  $('error').textContent = '';
  socket.disconnect().connect();
});

// The dialog is the only way in.
$('welcome').addEventListener('cancel', (event) => event.preventDefault());

$('send').addEventListener('submit', (event) => {
  event.preventDefault();

  const text = $('text').value.trim();

  if (text && socket.connected) {
    socket.emit('message', text);
    $('text').value = '';
    typed = 0;
  }
});

let typed = 0;

$('text').addEventListener('input', () => {
  if (Date.now() - typed > 2000 && socket.connected) {
    typed = Date.now();
    socket.volatile.emit('typing');
  }
});

$('move').addEventListener('submit', (event) => {
  event.preventDefault();

  if ($('other').value.trim()) {
    location.hash = encodeURIComponent($('other').value.trim());
    $('other').value = '';
  }
});

$('menu').addEventListener('click', () => {
  $('chat').classList.toggle('menu');
});

window.addEventListener('hashchange', () => {
  const next = wanted();

  if (next !== room && socket.connected) {
    // The others say who they are after they have heard of us, behind this.
    socket.emit('move', next, () => enter(next));
  }
});

welcome();
