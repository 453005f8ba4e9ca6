// An official client, driven by lines of JSON.
//
//   node client.js <2|3|4> <url with namespace> [<options>]
//
// in:   {"emit":[name, ...args]}      {"call":[name, ...args]} wants an ack
//       {"ack":n, "args":[...]}       answers an event that came with "ack"
//       {"connect":true}  {"disconnect":true}  {"drop":true}  {"quit":true}
// out:  {"connect":sid, "transport":name}  {"connect_error":..., "data":...}
//       {"event":[name, ...args], "ack":n}  {"answer":[...]}
//       {"upgrade":name}  {"disconnect":reason}
//
// {"$binary":base64} stands for octets, both ways.

'use strict';

const readline = require('readline');
const { encode, decode } = require('./octets');

const [version, url, options] = process.argv.slice(2);
const io = require(version === '4' ? 'socket.io-client'
                                   : `socket.io-client-${version}`);

const socket = io(url, {
  reconnection: false,
  forceNew: true,
  ...JSON.parse(options || '{}'),
});

const acks = new Map();


function print(line) {
  process.stdout.write(JSON.stringify(line) + '\n');
}


// Version 2 has no onAny(); all of them have this method.

socket.onevent = (packet) => {
  const line = { event: encode(packet.data) };

  if (packet.id !== undefined && packet.id !== null) {
    acks.set(packet.id, socket.ack(packet.id));
    line.ack = packet.id;
  }

  print(line);
};


// The upgrade may be through before the namespace is connected.

socket.io.on('open', () => {
  socket.io.engine.once('upgrade', (transport) => {
    print({ upgrade: transport.name });
  });
});

socket.on('connect', () => {
  print({ connect: socket.id, transport: socket.io.engine.transport.name });
});

socket.on('connect_error', (error) => {
  print({ connect_error: error.message || String(error), data: error.data });
});

// what version 2 calls the refusal of a namespace
socket.on('error', (error) => print({ connect_error: error }));

socket.on('disconnect', (reason) => print({ disconnect: reason }));


const commands = {
  emit: (args) => socket.emit(...decode(args)),

  call: (args) => socket.emit(...decode(args), (...answer) => {
    print({ answer: encode(answer) });
  }),

  ack: (id, line) => acks.get(id)(...decode(line.args)),

  connect: () => socket.connect(),

  disconnect: () => socket.disconnect(),

  drop: () => socket.io.engine.close(),

  quit: () => process.exit(0),
};


readline.createInterface({ input: process.stdin })
  .on('line', (text) => {
    const line = JSON.parse(text);

    for (const [name, command] of Object.entries(commands)) {
      if (name in line) {
        command(line[name], line);
        break;
      }
    }
  })
  .on('close', () => process.exit(0));
