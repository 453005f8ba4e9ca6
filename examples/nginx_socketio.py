"""The names of Flask-SocketIO for plain Flask behind nginx.

    from nginx_socketio import emit, join_room, socketio

    app.config["SOCKETIO_SECRET"] = ...     # that of socketio_webhook_secret
    app.register_blueprint(socketio)        # for webhooks to /socketio

What a handler says is put into the reply to its webhook, and carried out when
it is done.  Beside what is in Flask-SocketIO it has g.state and g.user, which
nginx keeps for each client.
"""

import base64
import hmac
import inspect
import json
import time
import urllib.request

from flask import Blueprint, abort, current_app, g, jsonify, request


class SocketIO(Blueprint):
    api, key = "http://127.0.0.1:8080/_api/", None

    def __init__(self):
        super().__init__("socketio", __name__)
        self.handlers = {}
        self.add_url_rule("/socketio", view_func=webhook, methods=["POST"])

    def on(self, event, namespace="/"):
        type = event if event in ("connect", "disconnect") else "event"
        return lambda f: self.handlers.setdefault((type, namespace, event), f)

    def event(self, function):
        return self.on(function.__name__)(function)

    def callback(self, function):
        """For emit(callback=...): any process may have to call it."""
        return self.handlers.setdefault(("ack", function.__name__), function)

    def emit(self, event, *args, **how):
        """From anywhere, at once; returns how many clients it is for."""
        body = json.dumps(message(event, args, **how)).encode()
        key = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        call = urllib.request.Request(self.api + "emit", body, key)
        with urllib.request.urlopen(call) as answer:
            return json.load(answer)["matched"]


def emit(event, *args, callback=None, **how):
    g.reply["emit"].append(message(event, args, **how))
    if callback:
        assert ("ack", callback.__name__) in socketio.handlers, \
            "what is a callback needs @socketio.callback"
        g.reply["emit"][-1]["ack"] = callback.__name__


def send(data, **how):
    emit("message", data, **how)


def join_room(room):
    g.reply["join"].append(room)


def leave_room(room):
    g.reply["leave"].append(room)


def disconnect():
    g.reply["disconnect"] = True


def message(event, args, to=None, broadcast=False, include_self=True,
            skip_sid=None, namespace=None, volatile=False):
    octets = []
    return {
        "event": event, "args": packed(args, octets), "attachments": octets,
        "to": listed(to), "broadcast": broadcast, "namespace": namespace,
        "except": listed(skip_sid) + ([] if include_self else [request.sid]),
        "volatile": volatile,
    }


def listed(value, kind=(list, tuple)):
    if value is None:
        return []
    return list(value) if isinstance(value, kind) else [value]


def packed(value, octets):
    """JSON, with what is bytes in a list beside it."""
    if isinstance(value, (bytes, bytearray)):
        octets.append(base64.b64encode(value).decode())
        return {"_placeholder": True, "num": len(octets) - 1}
    if isinstance(value, dict):
        return {name: packed(one, octets) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [packed(one, octets) for one in value]
    return value


def unpacked(value, octets):
    if isinstance(value, dict):
        if value.get("_placeholder") is True:
            return base64.b64decode(octets[value["num"]])
        return {name: unpacked(one, octets) for name, one in value.items()}
    if isinstance(value, list):
        return [unpacked(one, octets) for one in value]
    return value


def signed():
    """Only nginx can do it: see the Standard Webhooks specification."""
    key = base64.b64decode(current_app.config["SOCKETIO_SECRET"][6:])
    stamp = request.headers.get("webhook-timestamp", "")
    what = f"{request.headers.get('webhook-id')}.{stamp}.".encode()
    digest = hmac.digest(key, what + request.data, "sha256")
    mine = b"v1," + base64.b64encode(digest)
    given = request.headers.get("webhook-signature", "").encode().split()
    fresh = stamp.isdecimal() and abs(time.time() - int(stamp)) < 300
    return fresh and any(hmac.compare_digest(mine, one) for one in given)


def called(hook):
    """What the handler says, if there is one."""
    type, octets = hook["type"], hook.get("attachments")
    handler = socketio.handlers.get(
        (type, hook["token"]) if type == "ack"
        else (type, hook["namespace"], hook.get("event", type)))

    if not handler:
        return None

    if "args" in hook:
        args = hook["args"]
        return handler(*(unpacked(args, octets) if octets else args))

    # A handler of these need not want to know it.
    args = [hook["auth" if type == "connect" else "reason"]]
    return handler(*args[:len(inspect.signature(handler).parameters)])


def webhook():
    if not signed():
        abort(401)

    g.hook = hook = request.get_json()
    g.user, g.state = hook.get("user"), hook.get("state", {})
    g.reply = {"leave": [], "join": [], "emit": []}
    request.sid, request.namespace = hook["sid"], hook["namespace"]

    try:
        answer = called(hook)
    except ConnectionRefusedError as error:
        return jsonify(error={"message": str(error)})

    if hook["type"] == "connect" and answer is False:
        abort(403)

    g.reply.update(user=g.user, state=g.state)

    if "ack" in hook:
        octets = []
        g.reply.update(ack=packed(listed(answer, tuple), octets),
                       attachments=octets)

    return jsonify(g.reply)


socketio = SocketIO()
