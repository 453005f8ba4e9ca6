"""A chat with rooms: plain Flask, under any number of workers of any kind.

The Socket.IO server is nginx, which asks what shall happen: webhooks.py calls
one of these functions.  nginx keeps `user` and `state`, store.py the rest.
"""

from base64 import b64decode
from hashlib import sha256

from flask import Flask, abort, g

import store
from webhooks import blueprint, emit, on

app = Flask(__name__)
app.register_blueprint(blueprint)

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
    g.reply.update(state=g.state, join="#" + g.state["room"])


def tell_people(room):      # browsers believe the highest number
    number, people = store.move(g.sid, g.user, g.state.get("name"), room)
    emit("people", number, people, broadcast=True)


@on("connect")
def connect(auth):
    g.state["name"] = word(auth.get("name"))
    if not g.state["name"]:
        raise ConnectionRefusedError("Please tell us your name")
    # Who knows the key is the same person, by whichever connection.
    g.reply["user"] = digest(clean(auth.get("key"), 64) or g.sid)
    enter(auth.get("room"))


@on("move")
def move(room=None, *_):
    g.reply["leave"] = "#" + g.state["room"]
    enter(room)


@on("here")
def here(*_):       # asked from within the room: nothing is missed in between
    tell_people(g.state["room"])
    return {"you": g.user, "messages": store.said(g.state["room"])}


@on("message")
def message(room=None, key=None, text=None, *_):
    room, text = word(room), clean(text, 2000)
    coded = g.hook.get("attachments", [])[:1]
    image = b64decode("".join(coded))
    type = next((t for magic, t in IMAGES if image.startswith(magic)), None)
    if coded and (not type or len(image) > 500000):
        return {"error": "That is not an image, or too large"}
    if not room or not (text or image):
        return {"error": "There is nothing in it"}
    # What was not acknowledged is sent again, with the same key.
    id = digest(f"{g.user} {clean(key, 64) or g.hook['id']}")
    said = store.say(id, room, g.user, g.state["name"], text, type, image)
    emit("message", said, *({"_placeholder": True, "num": 0} for _ in coded),
         attachments=coded, to="#" + room, except_=g.sid)
    return said


@on("typing")
def typing(*_):
    emit("typing", g.user, g.state["name"], to="#" + g.state["room"],
         except_=g.sid, volatile=True)


@on("disconnect")
def disconnect():
    tell_people(None)


@app.get("/image/<id>")
def image(id):      # for those who come later
    found = store.image(id) or abort(404)
    return found["image"], {"Content-Type": found["type"]}
