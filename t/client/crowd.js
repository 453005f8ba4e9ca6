// Many official clients in one process, driven by lines of JSON.
//
//   node crowd.js <url>
//
// in:   {"start":[{"version":2|3|4, ...options}, ...]}   numbered from 0
//       {"say":[n, value]}     client n emits "say" with this value
//       {"call":[n, value]}    ... "echo", and wants an acknowledgement
//       {"report":true}         {"leave":true}
// out:  {"connect":n, "sid":id}  {"disconnect":n, "reason":text}
//       {"answer":[n, value]}
//       {"report":[[first argument of each event "m", ...], ...]}

'use strict';

const readline = require('readline');

const url = process.argv[2];
const clients = [];


function print(line) {
  process.stdout.write(JSON.stringify(line) + '\n');
}


function start({ version, ...options }) {
  const io = require(version === 4 ? 'socket.io-client'
                                   : `socket.io-client-${version}`);
  const n = clients.length;
  const socket = io(url, { forceNew: true, ...options });
  const seen = [];

  clients.push({ socket, seen });

  socket.on('connect', () => print({ connect: n, sid: socket.id }));
  socket.on('disconnect', (reason) => print({ disconnect: n, reason }));
  socket.on('m', (value) => seen.push(value));
}


const commands = {
  start: (list) => list.forEach(start),

  say: ([n, value]) => clients[n].socket.emit('say', value),

  call: ([n, value]) => clients[n].socket.emit('echo', value, (answer) => {
    print({ answer: [n, answer] });
  }),

  leave: () => clients.forEach((client) => client.socket.disconnect()),

  report: () => print({ report: clients.map((client) => client.seen) }),
};


readline.createInterface({ input: process.stdin })
  .on('line', (text) => {
    for (const [name, value] of Object.entries(JSON.parse(text))) {
      commands[name](value);
    }
  })
  .on('close', () => process.exit(0));
