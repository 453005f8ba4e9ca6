"""HTTP/3 requests, driven by lines of JSON.

    http3.py <port>

in:   {"connection":1, "id":1, "method":"GET", "path":"/",
       "headers":[["name","value"]], "body":""}
      {"reset":1} gives a request up    {"close":1} ends a connection
out:  {"id":1, "sent":true}
      {"id":1, "status":200, "headers":[["name","value"]], "body":""}
      {"id":1, "status":0, "reason":"why there is no answer"}

A connection is made when its number is used first.  Headers that begin with a
colon take the place of the usual ones.  Octets of bodies are characters here.
"""

import asyncio
import json
import ssl
import sys

from aioquic.asyncio import QuicConnectionProtocol, connect
from aioquic.h3.connection import H3_ALPN, ErrorCode, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, StreamReset

port = int(sys.argv[1])
connections = {}
requests = {}       # by number: connection and stream


class Http(H3Connection):

    def _check_content_length(self, stream):
        # the library does not know that answers to HEAD have no body
        if stream.content_length:
            super()._check_content_length(stream)


def show(line):
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


class Client(QuicConnectionProtocol):

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = Http(self._quic)
        self.answers = {}       # by stream

    def request(self, line):
        stream = self._quic.get_next_available_stream_id()
        body = line.get("body")
        headers = {":method": line["method"], ":scheme": "https",
                   ":authority": f"127.0.0.1:{port}", ":path": line["path"]}

        headers.update({name: value for name, value in line["headers"]
                        if name.startswith(":")})

        fields = [(name, value) for name, value in headers.items()]
        fields += [(name.lower(), value) for name, value in line["headers"]
                   if not name.startswith(":")]

        requests[line["id"]] = (self, stream)
        self.answers[stream] = {"id": line["id"], "headers": [], "body": ""}

        self.http.send_headers(
            stream, [(name.encode(), value.encode())
                     for name, value in fields], end_stream=body is None)

        if body is not None:
            self.http.send_data(stream, body.encode("latin-1"),
                                end_stream=True)

        self.transmit()
        show({"id": line["id"], "sent": True})

    def reset(self, stream):
        self._quic.reset_stream(stream, ErrorCode.H3_REQUEST_CANCELLED)
        self._quic.stop_stream(stream, ErrorCode.H3_REQUEST_CANCELLED)
        self.fail(stream, "given up")
        self.transmit()

    def fail(self, stream, reason):
        answer = self.answers.pop(stream, None)

        if answer:
            show({"id": answer["id"], "status": 0, "reason": reason})

    def quic_event_received(self, event):
        if isinstance(event, StreamReset):
            self.fail(event.stream_id, f"reset, {event.error_code}")

        if isinstance(event, ConnectionTerminated):
            for stream in list(self.answers):
                self.fail(stream, f"closed: {event.reason_phrase}")

        for http in self.http.handle_event(event):
            if isinstance(http, (HeadersReceived, DataReceived)):
                self.answered(http)

    def answered(self, event):
        answer = self.answers.get(event.stream_id)

        if answer is None:
            return

        if isinstance(event, HeadersReceived):
            for name, value in event.headers:
                if name == b":status":
                    answer["status"] = int(value)
                else:
                    answer["headers"].append([name.decode(), value.decode()])

        else:
            answer["body"] += event.data.decode("latin-1")

        if event.stream_ended:
            show(self.answers.pop(event.stream_id))


async def serve(number, lines):
    configuration = QuicConfiguration(
        is_client=True, alpn_protocols=H3_ALPN, verify_mode=ssl.CERT_NONE)

    async with connect("127.0.0.1", port, configuration=configuration,
                       create_protocol=Client) as client:

        while (line := await lines.get()) is not None:
            client.request(line)

    del connections[number]


async def main():
    reader = asyncio.StreamReader(limit=2 ** 24)
    tasks = set()

    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

    async for text in reader:
        line = json.loads(text)

        if "reset" in line:
            client, stream = requests[line["reset"]]
            client.reset(stream)
            continue

        number = line.get("close", line.get("connection"))
        lines = connections.get(number)

        if "close" in line:
            if lines:
                lines.put_nowait(None)

            continue

        if lines is None:
            lines = connections[number] = asyncio.Queue()
            tasks.add(asyncio.create_task(serve(number, lines)))

        lines.put_nowait(line)

asyncio.run(main())
