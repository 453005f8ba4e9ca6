"""Webhooks of nginx, with names that you know from Flask-SocketIO."""

import base64
import hmac
import os
import time

from flask import Blueprint, abort, g, jsonify, request

blueprint = Blueprint("webhooks", __name__)
key = base64.b64decode(os.environ["SOCKETIO_WEBHOOK_SECRET"][len("whsec_"):])
handlers = {}


def on(name):
    return lambda function: handlers.setdefault(name, function)


def emit(event, *args, **target):
    """To the caller unless there is to=, except_=, broadcast= or volatile=."""
    target["except"] = target.pop("except_", [])
    g.reply["emit"].append(dict(target, event=event, args=args))


def signed():
    """Only nginx can do it: see the Standard Webhooks specification."""
    stamp = request.headers.get("webhook-timestamp", "")
    what = f"{request.headers.get('webhook-id')}.{stamp}.".encode()
    digest = hmac.digest(key, what + request.data, "sha256")
    mine = b"v1," + base64.b64encode(digest)
    given = request.headers.get("webhook-signature", "").encode().split()
    fresh = stamp.isdecimal() and abs(time.time() - int(stamp)) < 300
    return fresh and any(hmac.compare_digest(mine, one) for one in given)


@blueprint.post("/socketio")
def webhook():
    if not signed():
        abort(401)
    g.hook = hook = request.get_json()
    g.sid, g.user = hook["sid"], hook.get("user")
    g.state, g.reply = hook.get("state", {}), {"emit": []}
    args = hook.get("args", [hook["auth"]] if "auth" in hook else [])
    handler = handlers.get(hook.get("event", hook["type"]))
    try:
        answer = handler(*args) if handler else None
    except ConnectionRefusedError as error:
        return jsonify(error={"message": str(error)})
    if "ack" in hook:
        g.reply["ack"] = [answer]
    return jsonify(g.reply)
