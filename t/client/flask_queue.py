"""An external emitter, or a server, of Flask-SocketIO on a message queue.

    flask_queue.py URL CHANNEL [PORT]

With PORT it serves clients there, too.  Each line of the input is a command,
a JSON array of a method and its arguments, the last of which may be {"kw":
{...}}; each is answered with a line of JSON.  {"$binary": "base64"} is bytes,
{"$tuple": [...]} a tuple.
"""

import base64
import json
import sys
import threading

# what Flask prints is no answer
output, sys.stdout = sys.stdout, sys.stderr

url, channel = sys.argv[1:3]
port = int(sys.argv[3]) if len(sys.argv) > 3 else None


def thing(value):
    if isinstance(value, list):
        return [thing(v) for v in value]

    if isinstance(value, dict):
        if '$binary' in value:
            return base64.b64decode(value['$binary'])
        if '$tuple' in value:
            return tuple(thing(v) for v in value['$tuple'])
        return {k: thing(v) for k, v in value.items()}

    return value


def text(value):
    if isinstance(value, (list, tuple)):
        return [text(v) for v in value]

    if isinstance(value, bytes):
        return {'$binary': base64.b64encode(value).decode()}

    if isinstance(value, dict):
        return {k: text(v) for k, v in value.items()}

    return value


def say(value):
    output.write(json.dumps(text(value)) + '\n')
    output.flush()


answers = {}
answered = threading.Condition()


def callback(name):
    def called(*args):
        with answered:
            answers[name] = args
            answered.notify_all()

    return called


def wait(name, seconds):
    with answered:
        answered.wait_for(lambda: name in answers, seconds)
        return answers.get(name)


if port is None:
    from flask_socketio import SocketIO

    socketio = SocketIO(message_queue=url, channel=channel)

else:
    from flask import Flask
    import flask_socketio
    from flask_socketio import SocketIO

    app = Flask(__name__)
    socketio = SocketIO(app, message_queue=url, channel=channel,
                        async_mode='threading', cors_allowed_origins='*')

    @socketio.on('join')
    @socketio.on('join', namespace='/test')
    def join(room):
        flask_socketio.join_room(room)
        return 'joined'

    @socketio.on('all')
    def everybody(*args):
        socketio.emit('news', args)
        return 'told'

    @socketio.on('echo')
    def echo(*args):
        return list(args)

    def serve():
        socketio.run(app, host='127.0.0.1', port=port,
                     allow_unsafe_werkzeug=True)

    threading.Thread(target=serve, daemon=True).start()


def enter(sid, room):
    socketio.server.enter_room(sid, room, namespace='/')


def leave(sid, room):
    socketio.server.leave_room(sid, room, namespace='/')


def close(room):
    socketio.server.close_room(room, namespace='/')


def disconnect(sid):
    socketio.server.disconnect(sid, namespace='/')


for line in sys.stdin:
    method, *args = thing(json.loads(line))
    kw = {}

    if args and isinstance(args[-1], dict) and set(args[-1]) == {'kw'}:
        kw = args.pop()['kw']

    if 'callback' in kw:
        kw['callback'] = callback(kw['callback'])

    try:
        if method == 'wait':
            say(wait(*args))
        elif method in ('enter', 'leave', 'close', 'disconnect'):
            globals()[method](*args)
            say('ok')
        else:
            getattr(socketio, method)(*args, **kw)
            say('ok')
    except Exception as e:
        say({'error': repr(e)})
