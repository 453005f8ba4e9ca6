"""Flask-SocketIO with gevent, doing what the module is asked to do.

usage: peer.py port ping-interval
"""

from gevent import monkey

monkey.patch_all()

import gc
import json
import sys

import gevent
import gevent.signal
from flask import Flask, request
from flask_socketio import SocketIO, emit, join_room

TEXT = 'x' * (128 - len('42["m",""]'))
port, ping = int(sys.argv[1]), int(sys.argv[2])

app = Flask(__name__)
server = SocketIO(app, async_mode='gevent', ping_interval=ping,
                  ping_timeout=ping)


@server.on('connect')
def connect():
    join_room('r')


@server.on('message')
def message(data):
    return {'ok': True}


@server.on('go')
def go(n):
    for _ in range(n):
        emit('m', TEXT, to='r')


@app.post('/emit')
def push():
    body = json.loads(request.data)
    server.emit(body['event'], *body['args'], to='r')
    return {'matched': 10}


gevent.signal_handler(12, gc.collect)

server.run(app, host='127.0.0.1', port=port)
