// A server of socket.io with the Redis adapter, and an emitter, driven by lines
// of JSON.
//
//   node server.js <redis URL> <prefix> <redis|ioredis> <port>
//
// in:   [name, ...args], one of the commands below
// out:  {"ready":port}, then {"ok":value} or {"error":text} for each
//
// {"$binary":base64} stands for octets, both ways.  Its clients join a room by
// the event "join", and are heard by others by the event "say".

'use strict';

const http = require('http');
const readline = require('readline');
const { Server } = require('socket.io');
const { createAdapter } = require('@socket.io/redis-adapter');
const { Emitter } = require('@socket.io/redis-emitter');
const { encode, decode } = require('./octets');

const [url, key, library, port] = process.argv.slice(2);
const heard = [];


function print(line) {
  process.stdout.write(JSON.stringify(line) + '\n');
}


async function connect() {
  if (library === 'ioredis') {
    const Redis = require('ioredis');
    return new Redis(url);
  }

  const client = require('redis').createClient({ url });

  client.on('error', (e) => process.stderr.write(`${e}\n`));
  await client.connect();

  return client;
}


// Whom it is for: a server, namespace or emitter and {to, except, volatile}.

function target(of, options) {
  let to = of;

  for (const room of options.to || []) {
    to = to.to(room);
  }

  for (const room of options.except || []) {
    to = to.except(room);
  }

  return options.volatile ? to.volatile : to;
}


async function main() {
  const pub = await connect();
  const sub = await connect();
  const server = http.createServer();
  const io = new Server(server, {
    adapter: createAdapter(pub, sub, { key, requestsTimeout: 4000 }),
  });
  const emitter = new Emitter(await connect(), { key });

  for (const name of ['/', '/chat', '/test']) {
    io.of(name).on('connection', (socket) => {
      socket.data.name = `of ${name}`;

      socket.on('join', (room, done) => {
        socket.join(room);
        done();
      });

      socket.on('say', (...args) => {
        socket.broadcast.emit('said', ...args);
      });
    });

    io.of(name).on('question', (...args) => {
      heard.push(encode(args.slice(0, -1)));
      args[args.length - 1]('of Node');
    });
  }

  const commands = {
    emit: (nsp, options, ...args) => {
      target(io.of(nsp), options).emit(...args);
    },

    emitter: (nsp, options, ...args) => {
      target(emitter.of(nsp), options).emit(...args);
    },

    ask: (nsp, options, time, ...args) =>
      target(io.of(nsp).timeout(time), options).emitWithAck(...args),

    fetch: async (nsp, options) =>
      (await target(io.of(nsp), options).fetchSockets())
        .map(({ id, handshake, rooms, data }) =>
          ({ id, rooms: [...rooms].sort(), data,
             lately: Math.abs(handshake.issued - Date.now()) < 600000,
             query: typeof handshake.query }))
        .sort((a, b) => (a.id < b.id ? -1 : 1)),

    rooms: async (nsp) => [...await io.of(nsp).adapter.allRooms()].sort(),

    count: (nsp) => io.of(nsp).adapter.serverCount(),

    question: (nsp, ...args) => io.of(nsp).serverSideEmitWithAck(...args),

    join: (nsp, options, rooms) => {
      target(io.of(nsp), options).socketsJoin(rooms);
    },

    leave: (nsp, options, rooms) => {
      target(io.of(nsp), options).socketsLeave(rooms);
    },

    disconnect: (nsp, options, close) => {
      target(io.of(nsp), options).disconnectSockets(close);
    },

    emitterJoin: (nsp, options, rooms) => {
      target(emitter.of(nsp), options).socketsJoin(rooms);
    },

    emitterDisconnect: (nsp, options, close) => {
      target(emitter.of(nsp), options).disconnectSockets(close);
    },

    // raw, as an enemy or another version might
    publish: (channel, octets) => pub.publish(channel, octets),

    local: (nsp) => [...io.of(nsp).sockets.values()].map(
      (socket) => ({ id: socket.id, rooms: [...socket.rooms].sort() })),
  };

  readline.createInterface({ input: process.stdin })
    .on('line', async (line) => {
      const [name, ...args] = decode(JSON.parse(line));

      try {
        print({ ok: encode(await commands[name](...args)) ?? null });

      } catch (e) {
        print({ error: String(e.message || e) });
      }
    })
    .on('close', () => process.exit(0));

  server.listen(Number(port), '127.0.0.1', () => print({ ready: port }));
}


main();
