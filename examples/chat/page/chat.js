import { prepare } from './image.js';
import * as view from './view.js';

const { $ } = view;

const standing = ['lobby', 'kitchen', 'garden'];

const key = stored(sessionStorage, 'key') || random();

let name = stored(sessionStorage, 'name');   // of this tab
let me = '';                      // what the application calls us
let room = '';                    // '' until we are in
let asked = '';                   // the room that we have asked for
let everybody = [];               // [room, user, name]
let number = 0;                   // of that list
let present = null;               // user -> name, in this room
let image = null;                 // to be sent with the next message
let unseen = 0;                   // messages while nobody looks

const narrow = matchMedia('(max-width: 46rem)');

const typists = new Map();        // user -> [name, timer]
const leaving = new Map();        // user -> timer

sessionStorage.setItem('key', key);


function stored(storage, item) {
  return storage.getItem(item) || '';
}


// crypto.randomUUID() is for pages of https only.

function random() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)),
                    (b) => b.toString(16).padStart(2, '0')).join('');
}


function tidy(text) {
  return [...text.trim()].slice(0, 24).join('').split(/\s+/).join(' ').trim();
}


// The room stands in the address, so that a link leads into it.

function wanted() {
  let text = location.hash.slice(1);

  try {
    text = decodeURIComponent(text);
  } catch (error) { /* not encoded: as it is */ }

  return tidy(text) || standing[0];
}


// What is not acknowledged is sent again, also by the next connection.  Each
// message has a key, by which the application knows it.

const socket = io({
  autoConnect: false,
  retries: 3,
  ackTimeout: 8000,
  auth: (give) => give({ name, key, room: asked = wanted() }),
});

window.socket = socket;           // to play with, in the browser's console


socket.on('connect', () => {
  number = 0;
  $('app').hidden = false;
  view.self(name);

  if ($('door').open) {
    $('door').close();
    write();
  }

  for (const event of ['upgrading', 'upgrade', 'upgradeError']) {
    socket.io.engine.on(event, () => transport(event === 'upgrading'));
  }

  transport(socket.io.engine.upgrading);
  enter(asked);
  go();
});


function transport(upgrading) {
  const now = socket.io.engine.transport.name;

  view.status(upgrading ? 'busy' : 'good',
              upgrading ? `${now} → websocket` : now);
}


socket.on('connect_error', (error) => {
  // Refused by the application, which is not tried again by itself.
  if (!socket.active) {
    door(error.message);
  } else if ($('door').open) {
    $('error').textContent = 'No answer from the server, trying again…';
  }
});

socket.on('disconnect', (reason) => {
  view.status('bad', 'reconnecting…');

  if (reason === 'io server disconnect') {
    door('The server has closed the connection.');
  }
});

socket.io.on('reconnect_attempt', (n) => {
  view.status('bad', n > 1 ? `reconnecting… (${n})` : 'reconnecting…');
});


// From one room to another; the first one comes with the connection.

function go() {
  const next = wanted();

  if (next !== room && socket.connected) {
    socket.emit('move', next, (error) => {
      if (error) {
        view.alert(`The way to ${next} is closed at the moment`);
      } else {
        enter(next);
      }
    });
  }
}


function enter(next) {
  if (next !== room) {
    room = next;
    present = null;
    leaving.forEach(clearTimeout);
    leaving.clear();
    view.clear();
  }

  [...typists.keys()].forEach(quiet);
  menu(false);
  title();
  draw();
  view.busy(true);

  socket.emit('here', (error, answer) => {
    if (error) {
      view.alert('What was said here cannot be shown at the moment');
    }

    if (error || room !== next) {
      return;
    }

    me = answer.you;
    answer.messages.forEach((m) => show(m));
    view.busy(false);
    draw();
  });
}


function title() {
  document.title = `${unseen ? `(${unseen}) ` : ''}${room} · Chat`;
}


socket.on('people', (n, list) => {
  // Two workers of the application may have answered in another order.
  if (n > number) {
    number = n;
    everybody = list;
    draw();
  }
});


function draw() {
  const counts = new Map();
  const here = new Map();

  for (const [where, user, who] of everybody) {
    counts.set(where, (counts.get(where) ?? 0) + 1);

    if (where === room) {
      here.set(user, who);
    }
  }

  const others = [...counts.keys()].filter((r) => !standing.includes(r));

  view.rooms([...new Set([...standing, ...others.sort(), room])], counts, room);
  view.people([...here], me);

  // Our own list of ourselves means that it is about this room.
  if (here.has(me)) {
    changes(here);
  }
}


function changes(here) {
  for (const [user, who] of here) {
    const back = leaving.get(user);

    clearTimeout(back);
    leaving.delete(user);

    if (present && !present.has(user) && !back) {
      view.note(`${who} came in`);
    }
  }

  // Who comes back at once, with a new connection, was not away.
  for (const [user, who] of present ?? []) {
    if (!here.has(user)) {
      quiet(user);
      leaving.set(user, setTimeout(() => {
        leaving.delete(user);
        view.note(`${who} left`);
      }, 4000));
    }
  }

  present = here;
}


socket.on('message', (m, bytes) => {
  quiet(m.user);

  if (show(m, bytes) && document.hidden) {
    unseen++;
    title();
  }
});


// Also what somebody sends from a shell, where a name and a text are enough.

function show(m, bytes) {
  if ((m.room ?? room) !== room) {
    return false;
  }

  view.message({ at: Date.now(), id: random(), ...m, name: String(m.name) },
               m.user === me, bytes);

  return true;
}


socket.on('typing', (user, who) => {
  if (user !== me) {
    clearTimeout(typists.get(user)?.[1]);
    typists.set(user, [who, setTimeout(quiet, 3000, user)]);
    view.typing([...typists.values()].map(([each]) => each));
  }
});


function quiet(user) {
  clearTimeout(typists.get(user)?.[1]);
  typists.delete(user);
  view.typing([...typists.values()].map(([each]) => each));
}


// Sending

$('send').addEventListener('submit', (event) => {
  event.preventDefault();

  const text = $('text').value.trim();

  if (text || image) {
    send(text, image);

    $('text').value = '';
    fit();
    attach(null);
    typed = 0;
  }

  $('text').focus();
});


function send(text, attached) {
  const m = {
    at: Date.now(), user: me, name, text, type: attached?.type,
  };
  const args = [room, random(), text, ...attached ? [attached.bytes] : []];
  const entry = view.pending(m, attached?.bytes);

  const deliver = () => {
    socket.emit('message', ...args, (error, answer) => {
      if (error) {
        entry.failed(deliver);
      } else if (answer.error) {
        entry.refused();
        view.alert(answer.error);
      } else {
        entry.sent(answer);
      }
    });
  };

  deliver();
}


let typed = 0;

$('text').addEventListener('input', () => {
  fit();

  if ($('text').value && Date.now() - typed > 2000) {
    typed = Date.now();
    socket.volatile.emit('typing');
  }
});

$('text').addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $('send').requestSubmit();
  }
});


// On a phone this would bring its keyboard up.

function write() {
  if (!narrow.matches) {
    $('text').focus();
  }
}


function fit() {
  $('text').style.height = 'auto';
  $('text').style.height = `${$('text').scrollHeight}px`;
}


// An image: chosen, dropped or pasted

$('attach').addEventListener('click', () => $('file').click());

$('file').addEventListener('change', () => {
  choose($('file').files[0]);
  $('file').value = '';
});

document.addEventListener('paste', (event) => {
  const file = event.clipboardData.files[0];

  if (file && room) {
    event.preventDefault();
    choose(file);
  }
});

for (const type of ['dragenter', 'dragover', 'dragleave', 'drop']) {
  window.addEventListener(type, (event) => {
    const over = event.dataTransfer?.types.includes('Files');

    if (over) {
      event.preventDefault();
      $('app').classList.toggle('dropping', type === 'dragenter'
                                            || type === 'dragover');
    }

    if (over && type === 'drop' && room) {
      choose(event.dataTransfer.files[0]);
    }
  });
}


async function choose(file) {
  try {
    attach(file && await prepare(file));
    $('text').focus();
  } catch (error) {
    view.alert(error.message);
  }
}


function attach(next) {
  const [img, caption] = $('preview').children;

  URL.revokeObjectURL(img.src);
  image = next ?? null;
  $('preview').hidden = !image;

  if (image) {
    img.src = URL.createObjectURL(new Blob([image.bytes],
                                           { type: image.type }));
    caption.textContent = `${image.name} · ${kb(image.bytes.byteLength)}`
      + (image.before ? `, was ${kb(image.before)}` : '');
  }
}


function kb(size) {
  return size < 1e6 ? `${Math.ceil(size / 1000)} kB`
    : `${(size / 1e6).toFixed(1)} MB`;
}

$('discard').addEventListener('click', () => {
  attach(null);
  $('text').focus();
});

$('viewer').addEventListener('click', () => $('viewer').close());


// The list of rooms and people, which a phone shows on demand

function menu(open) {
  $('app').classList.toggle('menu', open);
  $('menu').ariaExpanded = String(open);
  $('side').inert = narrow.matches && !open;
  $('main').inert = narrow.matches && open;

  if (open) {
    $('side').querySelector('a')?.focus();
  }
}

narrow.addEventListener('change', () => menu(false));
$('menu').addEventListener('click', () => menu(true));
$('shade').addEventListener('click', () => menu(false));

$('side').addEventListener('keydown', (event) => {
  if (event.key === 'Escape') {
    menu(false);
    $('menu').focus();
  }
});

$('rooms').addEventListener('click', (event) => {
  // also the one that we are in
  if (event.target.closest('a')) {
    menu(false);
  }
});

$('new-room').addEventListener('submit', (event) => {
  event.preventDefault();

  if (tidy($('new-room-name').value)) {
    location.hash = encodeURIComponent(tidy($('new-room-name').value));
    $('new-room-name').value = '';
  }
});

window.addEventListener('hashchange', go);

document.addEventListener('visibilitychange', () => {
  if (!document.hidden && unseen) {
    unseen = 0;
    title();
  }
});

// A browser may keep the page, connected, for somebody who comes back to it.

window.addEventListener('pagehide', () => socket.disconnect());

window.addEventListener('pageshow', (event) => {
  if (event.persisted && name) {
    socket.connect();
  }
});


// The door

function door(error) {
  $('name').value = name || stored(localStorage, 'name');
  $('error').textContent = error || '';

  if (!$('door').open) {
    $('door').showModal();
  }
}

$('enter').addEventListener('submit', (event) => {
  event.preventDefault();

  name = tidy($('name').value);
  sessionStorage.setItem('name', name);
  localStorage.setItem('name', name);

  $('error').textContent = '';
  socket.disconnect().connect();
});

// Who is not in yet has no other way.
$('door').addEventListener('cancel', (event) => {
  if (!socket.connected) {
    event.preventDefault();
  }
});

$('rename').addEventListener('click', () => door());

menu(false);

if (name) {
  socket.connect();
} else {
  door();
}
