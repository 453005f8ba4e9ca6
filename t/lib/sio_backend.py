"""A webhook backend that records what it is asked and answers as it is told.

    sio_backend.py <port or socket path> <directory>

requests.jsonl in the directory gets a line when a request has arrived, and
another when it has been answered, unless SIO_RECORD is "off"; rules.json, which
may be replaced at any time, says how.  SIO::Backend writes and reads these.
"""

import base64
import json
import os
import socket
import struct
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

lock = threading.Lock()
count = 0
uses = {}
rules = (None, [])
recording = os.environ.get("SIO_RECORD") != "off"


def record(line):
    if not recording:
        return

    log.write(json.dumps(line) + "\n")
    log.flush()


def current_rules():
    """The file is replaced, never written into, so a new inode is a change."""

    global rules

    try:
        stat = os.stat(directory + "/rules.json")
    except FileNotFoundError:
        return []

    version = (stat.st_ino, stat.st_mtime_ns)

    if version != rules[0]:
        with open(directory + "/rules.json") as file:
            rules = (version, json.load(file))

    return rules[1]


def choose(request, webhook):
    for rule in current_rules():
        for name, value in rule["match"].items():
            given = request if name in ("path", "method") else webhook

            if given.get(name) != value:
                break

        else:
            used = uses.get(rule["id"], 0)

            if rule.get("times") is None or used < rule["times"]:
                uses[rule["id"]] = used + 1
                return rule["reply"]

    return {}


def raw_member(body, name):
    """The octets of a member, as they came: json would change numbers."""

    decoder = json.JSONDecoder()
    text = body.decode("utf-8", "surrogateescape")
    at = text.find('"%s":' % name)

    if at < 0:
        return "null"

    start = at + len(name) + 3
    start += len(text[start:]) - len(text[start:].lstrip())

    return text[start:decoder.raw_decode(text, start)[1]]


def expand(text, webhook, body):
    """"%name%" becomes the member of the webhook with this name."""

    for name in ("args", "attachments", "auth", "state"):
        if '"%' + name + '%"' in text:
            text = text.replace('"%' + name + '%"', raw_member(body, name))

    for name in ("sid", "id", "ack", "seq", "namespace", "event", "user"):
        if "%" + name + "%" in text:
            text = text.replace("%" + name + "%", str(webhook.get(name)))

    return text.encode("utf-8", "surrogateescape")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def handle_request(self):
        global count

        body = self.read_body()

        try:
            webhook = json.loads(body)
        except ValueError:
            webhook = {}

        if not isinstance(webhook, dict):
            webhook = {}

        path, _, query = self.path.partition("?")

        with lock:
            count += 1
            number = "%d.%d" % (os.getpid(), count)
            request = {
                "n": number,
                "time": time.time(),
                "method": self.command,
                "path": path,
                "query": query,
                "headers": self.lower_headers(),
                "peer": self.client_address[1] if self.client_address else 0,
                "body": base64.b64encode(body).decode(),
                "late": self.is_late(),
            }
            reply = choose(request, webhook)
            record(request)

        time.sleep(reply.get("delay", 0))

        # Before the other side has it: what it asks then comes later.
        answered = time.time()
        status = self.reply(reply, webhook, body)

        if reply.get("hang"):
            answered = time.time()

        with lock:
            record({"done": number, "time": answered, "status": status})

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = handle_request

    def is_late(self):
        """Whoever waited for an answer has given up, and may have gone on."""

        try:
            return not self.connection.recv(1, socket.MSG_PEEK
                                            | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def lower_headers(self):
        headers = {}

        for name, value in self.headers.items():
            name = name.lower()
            headers[name] = (headers[name] + ", " + value
                             if name in headers else value)

        return headers

    def read_body(self):
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        body = b""

        while True:
            size = int(self.rfile.readline().split(b";")[0], 16)
            body += self.rfile.read(size)
            self.rfile.readline()

            if size == 0:
                return body

    def reply(self, reply, webhook, body):
        if reply.get("hang"):
            # until the other side loses patience
            self.connection.settimeout(600)
            self.connection.recv(1)
            self.close_connection = True
            return 0

        if reply.get("close") == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                       struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
            return 0

        if "raw" in reply:
            self.wfile.write(base64.b64decode(reply["raw"]))
            self.wfile.flush()
            self.close_connection = True
            return 0

        content = b""
        status = reply.get("status")

        if "json" in reply:
            content = expand(json.dumps(reply["json"]), webhook, body)
        elif "body" in reply:
            content = expand(reply["body"], webhook, body)

        if status is None:
            status = 200 if content else 204

        self.send_response(status)

        for name, value in reply.get("headers", {}).items():
            self.send_header(name, value)

        if status != 204:
            self.send_header("Content-Type", reply.get("type",
                                                       "application/json"))

        if reply.get("chunked"):
            self.send_header("Transfer-Encoding", "chunked")
        elif status != 204 and reply.get("close") != "eof":
            self.send_header("Content-Length", str(len(content)))

        self.end_headers()

        if self.command == "HEAD":
            content = b""

        if reply.get("chunked"):
            content = b"".join(b"1\r\n%c\r\n" % octet for octet in content)
            content += b"0\r\n\r\n"

        self.wfile.write(content)
        self.wfile.flush()

        if reply.get("close"):
            self.close_connection = True

        return status

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = True

    def server_bind(self):
        if self.address_family == socket.AF_UNIX:
            if os.path.exists(self.server_address):
                os.unlink(self.server_address)

            self.socket.bind(self.server_address)
            os.chmod(self.server_address, 0o777)
            self.server_name, self.server_port = "localhost", 0
            return

        super().server_bind()

    def get_request(self):
        connection, address = super().get_request()

        if self.address_family == socket.AF_UNIX:
            address = None

        return connection, address

    def handle_error(self, request, client_address):
        """The other side may leave at any time, which is no news."""

        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


address, directory = sys.argv[1:]
log = open(directory + "/requests.jsonl", "a")

if address.startswith("/"):
    Server.address_family = socket.AF_UNIX
    Handler.disable_nagle_algorithm = False
    server = Server(address, Handler)
else:
    server = Server(("127.0.0.1", int(address)), Handler)

print("ready", flush=True)

server.serve_forever()
