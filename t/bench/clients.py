"""The load generator of t/bench: plain sockets, the same for every server.

It does as little as possible, since it shares the machine with what it
measures: frames are made once, masks are zero, and answers are recognized by
their last octets.
"""

import multiprocessing
import resource
import select
import socket

# a browser's headers, since parsing and keeping them is part of the cost
UPGRADE = ('GET {path} HTTP/1.1\r\n'
           'Host: localhost\r\n'
           'User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) '
           'Gecko/20100101 Firefox/128.0\r\n'
           'Cookie: session=eyJfcGVybWFuZW50Ijp0cnVlfQ.Zk0c2A.Xy8\r\n'
           'Upgrade: websocket\r\nConnection: Upgrade\r\n'
           'Sec-WebSocket-Version: 13\r\n'
           'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n')

PATIENCE = 60       # seconds that any answer may take


def raise_limits():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def recv_until(s, *ends):
    """Octets until each of ends has been seen, in that order."""
    data, pos = b'', 0
    for end in ends:
        while True:
            found = data.find(end, pos)
            if found >= 0:
                pos = found + len(end)
                break
            piece = s.recv(65536)
            if not piece:
                raise SystemExit(f'connection closed after {data!r}')
            data += piece
    return data


def frame(text):
    """A masked text frame; the mask is zero, which costs nothing."""
    n = len(text)
    if n < 126:
        return bytes([0x81, 0x80 | n]) + bytes(4) + text
    return bytes([0x81, 0xfe, n >> 8, n & 255]) + bytes(4) + text


def tcp(port):
    s = socket.create_connection(('127.0.0.1', port), PATIENCE)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def connect(server, count, tls=None, wave=100):
    """WebSockets to a server, in its namespace; so many connect at a time."""
    sockets = []
    hello = UPGRADE.format(path=server.path).encode()
    while len(sockets) < count:
        some = [tcp(server.port)
                for _ in range(min(wave, count - len(sockets)))]
        if tls:
            some = [tls.wrap_socket(s) for s in some]
        for s in some:
            s.sendall(hello)
        for s in some:
            # the open packet ends with the first brace
            recv_until(s, b'\r\n\r\n', *([b'}'] if server.namespaced else []))
            if server.namespaced:
                s.sendall(frame(b'40'))
        if server.namespaced:
            for s in some:
                recv_until(s, b'40{"sid"', b'}')
        sockets += some
    return sockets


def close(sockets):
    for s in sockets:
        s.close()


class Receivers:
    """Connections of which nothing is wanted but what arrives."""

    def __init__(self, sockets):
        self.poll = select.epoll()
        self.sockets = {}
        for s in sockets:
            s.setblocking(False)
            self.sockets[s.fileno()] = s
            self.poll.register(s.fileno(), select.EPOLLIN)

    def drain(self, octets):
        got = 0
        while got < octets:
            events = self.poll.poll(PATIENCE)
            if not events:
                raise SystemExit(f'only {got} of {octets} octets came')
            for fd, _ in events:
                try:
                    got += len(self.sockets[fd].recv(1 << 20))
                except BlockingIOError:
                    pass

    def close(self):
        self.poll.close()
        close(self.sockets.values())


def post(port, target, body, keep=None, times=1):
    """
    POST requests on one connection, sent together; the answers are read.
    Returns the connection.
    """
    s = keep or tcp(port)
    s.sendall((f'POST {target} HTTP/1.1\r\nHost: localhost\r\n'
               f'Content-Type: application/json\r\n'
               f'Content-Length: {len(body)}\r\n\r\n'.encode() + body) * times)
    data = b''
    for _ in range(times):
        while b'\r\n\r\n' not in data:
            data += received(s)
        head, data = data.split(b'\r\n\r\n', 1)
        head = head.lower()
        if b' 20' not in head[:13]:
            raise SystemExit(f'{target}: {head}')
        n = 0
        if b'content-length: ' in head:
            n = int(head.split(b'content-length: ')[1].split(b'\r\n')[0])
        while len(data) < n:
            data += received(s)
        data = data[n:]
    return s


def received(s):
    data = s.recv(65536)
    if not data:
        raise SystemExit('connection closed in the middle of an answer')
    return data


class PingPong:
    """
    Each connection repeats its steps, a step being octets to send and how the
    answer ends, and takes the next one when the answer has come.
    """

    def __init__(self, sockets, steps):
        """steps are the same for all, or by descriptor."""
        if isinstance(steps, list):
            steps = {s.fileno(): steps for s in sockets}
        self.steps = steps
        self.sockets = {s.fileno(): s for s in sockets}
        self.poll = select.epoll()
        for s in sockets:
            self.poll.register(s.fileno(), select.EPOLLIN)

    def run(self, total):
        """Until so many rounds of steps are done."""
        at = dict.fromkeys(self.sockets, 0)
        data = dict.fromkeys(self.sockets, b'')
        started = done = 0
        for fd, s in self.sockets.items():
            if started < total:
                s.sendall(self.steps[fd][0][0])
                started += 1
        while done < total:
            events = self.poll.poll(PATIENCE)
            if not events:
                raise SystemExit(f'only {done} of {total} answers came')
            for fd, _ in events:
                s, steps = self.sockets[fd], self.steps[fd]
                data[fd] += received(s)
                if not data[fd].endswith(steps[at[fd]][1]):
                    continue
                data[fd] = b''
                at[fd] += 1
                if at[fd] == len(steps):
                    at[fd] = 0
                    done += 1
                    if started == total:
                        continue
                    started += 1
                s.sendall(steps[at[fd]][0])

    def close(self):
        self.poll.close()
        close(self.sockets.values())


class Crowd:
    """
    Receivers of a server in a process of their own, because one process may
    not have descriptors enough for those of all servers.
    """

    def __init__(self, server, count, trigger, octets, batch):
        self.pipe, pipe = multiprocessing.Pipe()
        self.proc = multiprocessing.get_context('fork').Process(
            target=self.work, args=(pipe, server, count, trigger, octets,
                                    batch), daemon=True)
        self.proc.start()
        pipe.close()
        self.wait()

    def wait(self):
        try:
            return self.pipe.recv()
        except EOFError:
            raise SystemExit('a process of clients has ended') from None

    def turn(self, seconds):
        """Seconds of the server for each message that one client got."""
        self.pipe.send(seconds)
        return self.wait()

    def close(self):
        self.pipe.send(None)
        self.proc.join(PATIENCE)

    @staticmethod
    def work(pipe, server, count, trigger, octets, batch):
        sockets = connect(server, count)
        receivers = Receivers(sockets)
        trigger = trigger(server, sockets[0], batch)
        pipe.send(None)
        while (seconds := pipe.recv()) is not None:
            rounds, spent, start = 0, 0, server.cpu()
            while spent < seconds or rounds < 3:
                trigger()
                receivers.drain(count * octets * batch)
                rounds += 1
                spent = server.cpu() - start
            pipe.send(spent / (rounds * count * batch))
        receivers.close()
