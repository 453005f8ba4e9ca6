"""A chat with rooms: plain Flask, under any number of workers of any kind.

The Socket.IO server is nginx.  What happens on a connection is a POST request
here, its answer says what shall happen next; the upper half gives that names
you know from Flask-SocketIO.  Nothing is remembered here: nginx keeps `state`.
"""

import base64
import hmac
import os
import time

from flask import Flask, abort, g, jsonify, request

app = Flask(__name__)
key = base64.b64decode(os.environ["SOCKETIO_WEBHOOK_SECRET"][len("whsec_"):])
handlers = {}


def on(name):
    return lambda function: handlers.setdefault(name, function)


def emit(event, *args, **target):
    """To the caller unless there is to=, except_=, broadcast= or volatile=."""
    target["except"] = target.pop("except_", [])
    g.reply.setdefault("emit", []).append(dict(target, event=event, args=args))


@app.post("/socketio")
def webhook():
    # Only nginx can sign like this: see the Standard Webhooks specification.
    stamp = request.headers.get("webhook-timestamp", "")
    signed = f"{request.headers.get('webhook-id')}.{stamp}.".encode()
    digest = hmac.digest(key, signed + request.data, "sha256")
    mine = b"v1," + base64.b64encode(digest)
    given = request.headers.get("webhook-signature", "").encode().split()
    fresh = stamp.isdigit() and abs(time.time() - int(stamp)) < 300
    if not fresh or not any(hmac.compare_digest(mine, one) for one in given):
        abort(401)
    hook = request.get_json()
    args = hook.get("args", [hook["auth"]] if "auth" in hook else [])
    g.sid, g.state, g.reply = hook["sid"], hook.get("state") or {}, {}
    handler = handlers.get(hook.get("event", hook["type"]))
    try:
        answer = handler(*args) if handler else None
    except ConnectionRefusedError as error:
        return jsonify(error={"message": str(error)})
    if "ack" in hook:
        g.reply["ack"] = [answer]
    return jsonify(g.reply)


def clean(value, limit):
    return " ".join(value.split())[:limit] if isinstance(value, str) else ""


def enter(room):
    g.state["room"] = "#" + room      # so that none is named like a sid
    g.reply.update(state=g.state, join=[g.state["room"]])
    emit("joined", g.sid, g.state["name"], to=g.state["room"], except_=g.sid)


@on("connect")
def connect(auth=None):
    auth = auth if isinstance(auth, dict) else {}
    g.state["name"] = g.reply["user"] = clean(auth.get("name"), 24)
    if not g.state["name"]:
        raise ConnectionRefusedError("Please tell us your name")
    enter(clean(auth.get("room"), 24) or "lobby")


@on("move")
def move(room):
    g.reply["leave"] = [g.state["room"]]
    emit("left", g.sid, to=g.state["room"])
    enter(clean(room, 24) or "lobby")


@on("message")
def message(text):
    if isinstance(text, str) and text.strip():
        emit("message", g.sid, g.state["name"], text.strip()[:2000],
             to=g.state["room"])


@on("here")
def here(newcomer):     # from all who hear "joined": so the newcomer sees them
    emit("here", g.sid, g.state["name"], g.state["room"], to=str(newcomer))


@on("typing")
def typing():
    emit("typing", g.sid, to=g.state["room"], except_=g.sid, volatile=True)


@on("disconnect")
def disconnect():
    emit("left", g.sid, to=g.state["room"])
