"""A chat with rooms: plain Flask, under any number of workers of any kind.

The Socket.IO server is nginx, which asks what shall happen: nginx_socketio.py
calls one of these functions.  nginx keeps g.user and g.state for each client,
store.py the rest.
"""

import os
from hashlib import sha256

from flask import Flask, abort, g, request

import store
from nginx_socketio import emit, join_room, leave_room, socketio

app = Flask(__name__)
app.config["SOCKETIO_SECRET"] = os.environ["SOCKETIO_SECRET"]
app.register_blueprint(socketio)

IMAGES = [(b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"),
          (b"GIF8", "image/gif"), (b"RIFF", "image/webp")]


def clean(value, limit):
    text = value.strip()[:limit] if isinstance(value, str) else ""
    return text.encode(errors="replace").decode()


def word(value):
    return " ".join(clean(value, 24).split())


def digest(text):
    return sha256(text.encode()).hexdigest()[:20]


def enter(room):
    g.state["room"] = word(room) or "lobby"
    join_room("#" + g.state["room"])


def tell_people(room):      # browsers believe the highest number
    number, people = store.move(request.sid, g.user, g.state.get("name"), room)
    emit("people", number, people, broadcast=True)


@socketio.on("connect")
def connect(auth):
    g.state["name"] = word(auth.get("name"))
    if not g.state["name"]:
        raise ConnectionRefusedError("Please tell us your name")
    # Who knows the key is the same person, by whichever connection.
    g.user = digest(clean(auth.get("key"), 64) or request.sid)
    enter(auth.get("room"))


@socketio.on("move")
def move(room=None, *_):
    leave_room("#" + g.state["room"])
    enter(room)


@socketio.on("here")
def here(*_):       # asked from within the room: nothing is missed in between
    tell_people(g.state["room"])
    return {"you": g.user, "messages": store.said(g.state["room"])}


@socketio.on("message")
def message(room=None, key=None, text=None, *images):
    room, text = word(room), clean(text, 2000)
    images = [one for one in images[:1] if isinstance(one, bytes)]
    image = b"".join(images)
    type = next((t for magic, t in IMAGES if image.startswith(magic)), None)
    if images and (not type or len(image) > 500000):
        return {"error": "That is not an image, or too large"}
    if not room or not (text or image):
        return {"error": "There is nothing in it"}
    # What was not acknowledged is sent again, with the same key.
    id = digest(f"{g.user} {clean(key, 64) or g.hook['id']}")
    said = store.say(id, room, g.user, g.state["name"], text, type, image)
    emit("message", said, *images, to="#" + room, include_self=False)
    return said


@socketio.on("typing")
def typing(*_):
    emit("typing", g.user, g.state["name"], to="#" + g.state["room"],
         include_self=False, volatile=True)


@socketio.on("disconnect")
def disconnect():
    tell_people(None)


@app.get("/image/<id>")
def image(id):      # for those who come later
    found = store.image(id) or abort(404)
    return found["image"], {"Content-Type": found["type"]}
