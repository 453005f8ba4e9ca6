// What is to be seen.  What comes from people is set as text, never as HTML.

export const $ = (id) => document.getElementById(id);

const kept = 300;                 // messages on the page
const together = 5 * 60 * 1000;   // milliseconds between those of one person


export function element(tag, className, ...children) {
  const e = document.createElement(tag);

  e.className = className;
  e.append(...children);

  return e;
}


// A circle with the first letter; the colour is that of the name.

export function face(name) {
  const e = element('span', 'face', ([...name][0] ?? '?').toUpperCase());
  let hash = 0;

  for (const c of name) {
    hash = (hash * 31 + c.codePointAt(0)) % 997;
  }

  e.style.setProperty('--hue', hash % 24 * 15);
  e.ariaHidden = 'true';

  return e;
}


export function rooms(names, counts, current) {
  $('rooms').replaceChildren(...names.map((name) => {
    const n = counts.get(name) ?? 0;
    const link = element('a', '', element('bdi', '', name));

    link.href = `#${encodeURIComponent(name)}`;

    if (name === current) {
      link.ariaCurrent = 'page';
    }

    if (n) {
      const badge = element('span', 'badge', String(n));

      badge.ariaLabel = n === 1 ? '1 person' : `${n} people`;
      badge.setAttribute('role', 'img');
      link.append(badge);
    }

    return element('li', '', link);
  }));

  $('room').textContent = current;
}


export function people(list, me) {
  $('count').textContent = list.length === 1 ? 'only you'
    : `${list.length} people`;

  $('people').replaceChildren(...list.map(([user, name]) => {
    const e = element('li', '', face(name), element('bdi', '', name));

    if (user === me) {
      e.append(element('small', '', 'you'));
    }

    return e;
  }));
}


export function self(name) {
  $('self-name').replaceChildren(face(name), element('bdi', '', name));
}


// kind: good, busy or bad

export function status(kind, text) {
  $('status').className = kind;
  $('status').textContent = text;
}


export function typing(names) {
  // The last ones stay while they fade.
  if (names.length) {
    $('typing').firstElementChild.textContent = names.length > 2
      ? `${names.length} people are typing`
      : `${names.join(' and ')} ${names.length > 1 ? 'are' : 'is'} typing`;
  }

  $('typing').classList.toggle('on', names.length > 0);
}


let alerted;

export function alert(text) {
  clearTimeout(alerted);
  alerted = setTimeout(() => { $('alert').textContent = ''; }, 6000);

  $('alert').textContent = text;
}


// Messages, in the order of their time.

const list = $('messages');
const log = $('log');
let stuck = true;                 // to the newest one
let top = 0;

// Only who goes up leaves it: an image may have grown before this is called.
log.addEventListener('scroll', () => {
  const rest = log.scrollHeight - log.scrollTop - log.clientHeight;

  stuck = rest < 60 || (stuck && log.scrollTop >= top);
  top = log.scrollTop;
  $('latest').hidden = stuck;
});

export function newest() {
  stuck = true;
  log.scrollTop = log.scrollHeight;
}

// Images get their height late, and the keyboard of a phone takes some.
const watch = new ResizeObserver(() => stuck && newest());

watch.observe(list);
watch.observe(log);
$('latest').addEventListener('click', newest);


export function clear() {
  [...list.children].forEach(drop);
  newest();
}


export function busy(flag) {
  log.ariaBusy = String(flag);
}


function drop(e) {
  const src = e.querySelector('img')?.src ?? '';

  if (src.startsWith('blob:')) {
    URL.revokeObjectURL(src);
  }

  e.remove();
}


export function note(text) {
  const e = element('li', 'note', text);

  e.dataset.at = list.lastElementChild?.dataset.at ?? 0;
  list.append(e);
}


// {at, id, user, name, text, type}, as the application gives it, and the octets
// of the image unless they have to be fetched.  Once only, whoever sends it
// again.

export function message(m, own, bytes) {
  if (m.id && [...list.children].some((e) => e.dataset.id === m.id)) {
    return;
  }

  place(draw(m, own, bytes), m);
}


function draw(m, own, bytes) {
  const e = element('li', 'message', face(m.name),
                    element('div', 'head', element('b', '', element(
                      'bdi', '', own ? 'You' : m.name)), element('time', '')));

  e.dataset.user = m.user ?? m.name;
  e.classList.toggle('own', own);

  if (/^image\/(png|jpeg|gif|webp)$/.test(m.type)) {
    e.append(picture(m, bytes));
  }

  if (m.text) {
    e.append(element('p', 'text', m.text));
  }

  return e;
}


function picture(m, bytes) {
  const img = element('img', '');
  const open = element('button', 'picture', img);

  img.alt = `Image from ${m.name}`;
  img.src = bytes ? URL.createObjectURL(new Blob([bytes], { type: m.type }))
    : `image/${encodeURIComponent(m.id)}`;

  img.addEventListener('error', () => {
    open.replaceWith(element('p', 'text gone', 'The image is gone'));
  });

  open.type = 'button';
  open.addEventListener('click', () => {
    $('viewer').firstElementChild.src = img.src;
    $('viewer').firstElementChild.alt = img.alt;
    $('viewer').showModal();
  });

  return open;
}


function place(e, m) {
  const date = new Date(m.at);
  const time = e.querySelector('time');

  e.dataset.id = m.id ?? '';
  e.dataset.at = m.id ? m.at : Infinity;
  time.dateTime = date.toISOString();
  time.textContent = date.toLocaleTimeString([], {
    hour: '2-digit', minute: '2-digit',
  });

  let next = null;
  let last = e === list.lastElementChild ? e.previousElementSibling
    : list.lastElementChild;

  while (last && (last === e || Number(last.dataset.at) > e.dataset.at)) {
    next = last === e ? next : last;
    last = last.previousElementSibling;
  }

  list.insertBefore(e, next);

  group(e);
  group(e.nextElementSibling);

  while (list.childElementCount > kept) {
    drop(list.firstElementChild);
  }
}


// Whether it goes on from the one before, or begins a day.

function group(e) {
  if (!e?.classList.contains('message')) {
    return;
  }

  let last = e.previousElementSibling;
  const noted = last?.matches('.note');

  while (last?.matches('.note')) {
    last = last.previousElementSibling;
  }

  const [before, now] = [last, e].map((one) => {
    return new Date(one?.querySelector('time').dateTime ?? 0);
  });

  const day = before.toDateString() !== now.toDateString();

  e.classList.toggle('more', last?.dataset.user === e.dataset.user && !noted
                             && !day && now - before < together);

  delete e.dataset.day;

  if (day) {
    e.dataset.day = now.toLocaleDateString([], {
      weekday: 'long', day: 'numeric', month: 'long',
    });
  }
}


// A message of our own, until the application has it.

export function pending(m, bytes) {
  const e = draw(m, true, bytes);

  e.classList.add('pending');
  place(e, m);
  newest();

  return {
    sent(answer) {
      e.classList.remove('pending', 'failed');
      e.querySelector('.again')?.remove();
      place(e, answer);
    },

    failed(again) {
      const button = element('button', 'again', 'Not sent. Try again');

      button.type = 'button';
      button.addEventListener('click', () => {
        e.classList.remove('failed');
        button.remove();
        again();
      });

      e.classList.add('failed');
      e.append(button);
    },

    refused() {
      drop(e);
    },
  };
}
