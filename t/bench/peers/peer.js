'use strict';

// Socket.IO of npm, doing what the module is asked to do.
//
// usage: node peer.js port ping-interval

const http = require('http');
const { Server } = require('socket.io');

const TEXT = 'x'.repeat(128 - '42["m",""]'.length);
const [port, ping] = process.argv.slice(2).map(Number);

const server = http.createServer((req, res) => {
    let body = '';

    req.on('data', (data) => { body += data; });

    req.on('end', () => {
        const { event, args } = JSON.parse(body);

        io.to('r').emit(event, ...args);
        res.setHeader('Content-Type', 'application/json');
        res.end('{"matched":10}');
    });
});

const io = new Server(server, {
    pingInterval: ping * 1000,
    pingTimeout: ping * 1000,
});

io.on('connection', (socket) => {
    socket.join('r');

    socket.on('message', (data, ack) => ack({ ok: true }));

    socket.on('go', (n) => {
        for (let i = 0; i < n; i++) {
            io.to('r').emit('m', TEXT);
        }
    });
});

process.on('SIGUSR2', () => global.gc());

server.keepAliveTimeout = 600 * 1000;
server.listen(port, '127.0.0.1', 4096);
