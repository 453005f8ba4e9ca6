"""The official Python client, driven by lines of JSON.

    client.py <url> [<options>]

Options: transports, namespace, auth, headers, query is part of the url.

in:   {"emit":[name, ...args]}      {"call":[name, ...args]} wants an ack
      {"disconnect":true}  {"quit":true}
out:  {"connect":sid, "transport":name}  {"connect_error":...}
      {"event":[name, ...args]}  {"answer":[...]}  {"disconnect":reason}

An event that wants an acknowledgement gets its own arguments back.
{"$binary":base64} stands for octets, both ways.
"""

import base64
import json
import os
import sys

import socketio

url = sys.argv[1]
options = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
namespace = options.pop("namespace", "/")
client = socketio.Client(reconnection=False, handle_sigint=False)

# by itself it handles each message in a thread of its own, in any order
trigger = client.eio._trigger_event
client.eio._trigger_event = lambda event, *args, **kw: trigger(
    event, *args, **{**kw, "run_async": event != "message"
                                        and kw.get("run_async", False)})


def show(line):
    # at once: every event has a thread of its own
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def encode(value):
    if isinstance(value, (bytes, bytearray)):
        return {"$binary": base64.b64encode(value).decode()}

    if isinstance(value, (list, tuple)):
        return [encode(v) for v in value]

    if isinstance(value, dict):
        return {name: encode(v) for name, v in value.items()}

    return value


def decode(value):
    if isinstance(value, list):
        return [decode(v) for v in value]

    if isinstance(value, dict):
        if "$binary" in value:
            return base64.b64decode(value["$binary"])

        return {name: decode(v) for name, v in value.items()}

    return value


@client.on("connect", namespace=namespace)
def connected():
    show({"connect": client.get_sid(namespace),
          "transport": client.transport()})


@client.on("connect_error", namespace=namespace)
def refused(data=None):
    show({"connect_error": data})


@client.on("disconnect", namespace=namespace)
def disconnected(reason=None):
    show({"disconnect": reason})


@client.on("*", namespace=namespace)
def event(name, *args):
    show({"event": [name, *encode(args)]})

    return args


def emit(args, callback=None):
    name, *rest = decode(args)

    # a tuple is several arguments, a list is one
    client.emit(name, tuple(rest), namespace=namespace, callback=callback)


try:
    client.connect(url, namespaces=[namespace], wait_timeout=10, **options)
except socketio.exceptions.ConnectionError as error:
    show({"failed": str(error)})
    sys.exit(1)

for text in sys.stdin:
    line = json.loads(text)

    if "emit" in line:
        emit(line["emit"])
    elif "call" in line:
        emit(line["call"], lambda *answer: show({"answer": encode(answer)}))
    elif "disconnect" in line:
        client.disconnect()
    elif "quit" in line:
        break

# threads of the client may still wait for the server
sys.stdout.flush()
os._exit(0)
