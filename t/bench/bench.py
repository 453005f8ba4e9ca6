#!/usr/bin/env python3
"""What the module costs, side by side with what it is compared with.

usage: t/bench/run [idle] [tls] [broadcast] [webhook] [polling] [api]

Prints ratios; CPU time is that of the nginx workers alone, from
/proc/PID/schedstat, so that clients and backends on the same machine do not
count.  Every comparison is taken in turns (a, b, a, b, ...) and the medians
are compared, since a machine is never idle.
"""

import base64
import json
import os
import re
import select
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time

ROUNDS = int(os.environ.get('BENCH_ROUNDS', '5'))
CLIENTS = int(os.environ.get('BENCH_CLIENTS', '10000'))

root = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
module, nginx_bin = sys.argv[1], os.environ.get('SIO_NGINX', '/usr/sbin/nginx')

UPGRADE = ('GET {path}?EIO=4&transport=websocket HTTP/1.1\r\n'
           'Host: localhost\r\n'
           'User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) '
           'Gecko/20100101 Firefox/128.0\r\n'
           'Cookie: session=eyJfcGVybWFuZW50Ijp0cnVlfQ.Zk0c2A.Xy8\r\n'
           'Upgrade: websocket\r\nConnection: Upgrade\r\n'
           'Sec-WebSocket-Version: 13\r\n'
           'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n')


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


class Nginx:
    """An nginx of its own in a private directory."""

    def __init__(self, http, workers=1, with_module=True):
        self.dir = tempfile.mkdtemp(prefix='sio-bench-')
        self.port = free_port()
        conf = ''
        if with_module:
            conf += f'load_module {module};\n'
        conf += f'''
            worker_processes {workers}; daemon off;
            pid {self.dir}/pid; error_log {self.dir}/error.log notice;
            worker_rlimit_nofile 60000;
            events {{ worker_connections 24000; }}
            http {{
                access_log off;
                client_body_temp_path {self.dir}/a; proxy_temp_path {self.dir}/b;
                fastcgi_temp_path {self.dir}/c; uwsgi_temp_path {self.dir}/d;
                scgi_temp_path {self.dir}/e;
                {http.replace('PORT', str(self.port))}
            }}'''
        if os.geteuid() == 0:
            conf = 'user root;\n' + conf
        with open(f'{self.dir}/nginx.conf', 'w') as f:
            f.write(conf)
        self.proc = subprocess.Popen(
            [nginx_bin, '-p', self.dir, '-c', f'{self.dir}/nginx.conf',
             '-e', f'{self.dir}/error.log'])
        for _ in range(200):
            try:
                socket.create_connection(('127.0.0.1', self.port)).close()
                break
            except OSError:
                time.sleep(0.05)
        else:
            self.stop()
            raise SystemExit(open(f'{self.dir}/error.log').read())
        time.sleep(0.3)
        out = subprocess.check_output(
            ['ps', '-o', 'pid=', '--ppid', str(self.proc.pid)], text=True)
        self.workers = [int(p) for p in out.split()]

    def cpu(self):
        """Seconds of all workers."""
        total = 0
        for pid in self.workers:
            with open(f'/proc/{pid}/schedstat') as f:
                total += int(f.read().split()[0])
        return total / 1e9

    def pss(self):
        """Octets of all workers, shared pages divided by their sharers."""
        total = 0
        for pid in self.workers:
            with open(f'/proc/{pid}/smaps_rollup') as f:
                total += int(re.search(r'^Pss:\s+(\d+)', f.read(),
                                       re.M).group(1)) * 1024
        return total

    def stop(self):
        self.proc.send_signal(signal.SIGTERM)
        try:
            self.proc.wait(10)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait()
        subprocess.call(['rm', '-rf', self.dir])


def recv_until(s, end, limit=65536):
    data = b''
    while end not in data and len(data) < limit:
        piece = s.recv(4096)
        if not piece:
            raise SystemExit(f'connection closed after {data!r}')
        data += piece
    return data


def frame(text):
    """A masked text frame; the mask is zero, which costs us nothing."""
    n = len(text)
    if n < 126:
        return bytes([0x81, 0x80 | n]) + bytes(4) + text
    return bytes([0x81, 0xfe, n >> 8, n & 255]) + bytes(4) + text


def connect(port, tls=None, path='/socket.io/'):
    """A WebSocket client in "/"."""
    s = socket.create_connection(('127.0.0.1', port), 20)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls:
        s = tls.wrap_socket(s)
    s.sendall(UPGRADE.format(path=path).encode())
    data = recv_until(s, b'"maxPayload"')
    s.sendall(frame(b'40'))
    if b'40{"sid"' not in data:
        recv_until(s, b'40{"sid"')
    return s


def request(port, target, body, keep=None):
    s = keep or socket.create_connection(('127.0.0.1', port), 20)
    s.sendall(f'POST {target} HTTP/1.1\r\nHost: localhost\r\n'
              f'Content-Length: {len(body)}\r\n\r\n'.encode() + body)
    head = recv_until(s, b'\r\n\r\n')
    head, rest = head.split(b'\r\n\r\n', 1)
    n = int(re.search(rb'(?i)content-length: (\d+)', head).group(1))
    while len(rest) < n:
        rest += s.recv(4096)
    return int(head.split()[1]), rest, s


def median(values):
    return statistics.median(values)


def report(name, value, unit, budget, ratio=None):
    shown = f'{value:10.2f} {unit}'
    if ratio is not None:
        shown += f'   ratio {ratio:5.2f}'
    print(f'{name:<52} {shown:<34} {budget}', flush=True)


PUSH = '''server {{
    listen 127.0.0.1:PORT; keepalive_requests 100000000;
    location /socket.io/ {{ socketio; {settings} }}
    location /_api/ {{ socketio_api; allow 127.0.0.1; deny all; }}
    location = /plain {{ return 200 '{{"matched":10}}'; }}
}}'''


# idle memory

def idle(tls=False):
    count = CLIENTS // 2 if tls else CLIENTS
    backend = Nginx('server { listen 127.0.0.1:PORT; keepalive_requests 9999999;'
                    ' location / { default_type application/json;'
                    ' return 200 \'{"join":"lobby"}\'; } }',
                    with_module=False)
    extra, listen, context = '', 'listen 127.0.0.1:PORT;', None
    keys = None
    if tls:
        keys = tempfile.mkdtemp(prefix='sio-bench-')
        subprocess.check_call(
            ['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes',
             '-subj', '/CN=localhost', '-days', '2', '-keyout', f'{keys}/key',
             '-out', f'{keys}/cert'], stderr=subprocess.DEVNULL)
        listen = 'listen 127.0.0.1:PORT ssl;'
        extra = f'ssl_certificate {keys}/cert; ssl_certificate_key {keys}/key;'
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    server = Nginx(f'''
        upstream app {{ server 127.0.0.1:{backend.port}; keepalive 32; }}
        socketio_zone socketio 64m;
        server {{
            {listen} {extra}
            location /socket.io/ {{ socketio; socketio_webhook /hook; }}
            location = /hook {{ internal; proxy_pass http://app/;
                proxy_http_version 1.1; proxy_set_header Connection ""; }}
        }}''')
    clients = []
    try:
        # what is allocated once should not count for the clients
        for s in [connect(server.port, context) for _ in range(50)]:
            s.close()
        time.sleep(1)
        before = server.pss()
        for _ in range(count):
            clients.append(connect(server.port, context))
        time.sleep(2)
        each = (server.pss() - before) / count
    finally:
        for s in clients:
            s.close()
        server.stop()
        backend.stop()
        if keys:
            subprocess.call(['rm', '-rf', keys])
    name = f'idle client{" over TLS" if tls else ""}, {count}, namespace, room'
    report(name, each / 1000, 'kB each', '<= 17 kB' if tls else '<= 2.5 kB')


# broadcast

class Receivers:
    """Connections that count what arrives."""

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
            events = self.poll.poll(20)
            if not events:
                raise SystemExit(f'only {got} of {octets} octets came')
            for fd, _ in events:
                try:
                    got += len(self.sockets[fd].recv(1 << 20))
                except BlockingIOError:
                    pass

    def close(self):
        for s in self.sockets.values():
            s.close()


def broadcast(n, batch):
    """
    CPU for each delivered message, against the bare sender.  An event asks
    for the messages, and a reply has all of them, so that they are queued in
    one turn.
    """
    rounds = max(4, 40000 // (n * batch))
    text = 'x' * (128 - len('42["m",""]'))
    octets = 4 + 128            # frame header of a message over 125 octets
    reply = json.dumps({'emit': [{'event': 'm', 'args': [text], 'to': 'r'}]
                        * batch})
    server = Nginx(f'''server {{
        listen 127.0.0.1:PORT;
        location /socket.io/ {{
            socketio; socketio_webhook /$socketio_type;
        }}
        location = /connect {{ internal; return 200 '{{"join":"r"}}'; }}
        location = /event {{ internal; return 200 '{reply}'; }}
        location = /disconnect {{ internal; return 204; }}
    }}''')
    ours, bares = [], []
    try:
        clients = [connect(server.port) for _ in range(n)]
        receivers = Receivers(clients)
        for _ in range(ROUNDS):
            start = server.cpu()
            for _ in range(rounds):
                clients[0].sendall(frame(b'42["go"]'))
                receivers.drain(n * octets * batch)
            ours.append((server.cpu() - start) / (rounds * batch * n))
            bares.append(bare(n, rounds, octets, batch))
        receivers.close()
    finally:
        server.stop()
    ratio = median(ours) / median(bares)
    how = 'each alone' if batch == 1 else f'{batch} at a time'
    report(f'broadcast of 128 B to {n}, {how}', median(ours) * 1e6,
           'us each', '<= 1.1' if batch == 1 else '<= 1.2', ratio)


def bare(n, rounds, octets, batch):
    port = free_port()
    proc = subprocess.Popen([f'{root}/.build/bench-bare', str(port), str(n),
                             str(rounds), str(octets), str(batch)],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            text=True)
    proc.stdout.readline()
    receivers = Receivers([socket.create_connection(('127.0.0.1', port))
                           for _ in range(n)])
    proc.stdout.readline()
    for _ in range(rounds):
        proc.stdin.write('\n')
        proc.stdin.flush()
        receivers.drain(n * octets * batch)
    spent = int(proc.stdout.readline()) / 1e9
    proc.wait()
    receivers.close()
    return spent / (n * rounds * batch)


# webhook round trip

def pingpong(sockets, message, total):
    """
    Each connection sends when its answer has come, until there are total
    answers.  message is what all of them send, or by descriptor.
    """
    if isinstance(message, bytes):
        message = {s.fileno(): message for s in sockets}
    poll = select.epoll()
    by_fd = {s.fileno(): s for s in sockets}
    for s in sockets:
        poll.register(s.fileno(), select.EPOLLIN)
        s.sendall(message[s.fileno()])
    done = 0
    while done < total:
        for fd, _ in poll.poll(20):
            by_fd[fd].recv(65536)
            done += 1
            if done <= total - len(sockets):
                by_fd[fd].sendall(message[fd])
    poll.close()


def webhook():
    n, total = 32, 20000
    backend = Nginx('server { listen 127.0.0.1:PORT; keepalive_requests 9999999;'
                    ' location / { default_type application/json;'
                    ' return 200 \'{"ack":[{"ok":true}]}\'; } }',
                    with_module=False)
    server = Nginx(f'''
        upstream app {{ server 127.0.0.1:{backend.port}; keepalive 64; }}
        server {{
            listen 127.0.0.1:PORT; keepalive_requests 100000000;
            location /socket.io/ {{ socketio; socketio_webhook /hook; }}
            location = /hook {{ internal; proxy_pass http://app/;
                proxy_http_version 1.1; proxy_set_header Connection ""; }}
            location = /http {{ proxy_pass http://app/;
                proxy_http_version 1.1; proxy_set_header Connection ""; }}
        }}''')
    body = json.dumps({
        'type': 'event', 'id': 'msg_xxxxxxxxxxxxxxxxxxxxxx', 'sid': 'x' * 20,
        'namespace': '/', 'seq': 7, 'event': 'message',
        'args': [{'n': 1, 'text': 'x' * 60}], 'ack': 'x' * 22}).encode()
    http = (f'POST /http HTTP/1.1\r\nHost: localhost\r\n'
            f'Content-Type: application/json\r\n'
            f'Content-Length: {len(body)}\r\n\r\n').encode() + body
    event = frame(b'421["message",{"n":1,"text":"' + b'x' * 60 + b'"}]')
    ours, theirs = [], []
    try:
        sockets = [connect(server.port) for _ in range(n)]
        plain = [socket.create_connection(('127.0.0.1', server.port))
                 for _ in range(n)]
        for _ in range(ROUNDS):
            start = server.cpu()
            pingpong(sockets, event, total)
            ours.append((server.cpu() - start) / total)
            start = server.cpu()
            pingpong(plain, http, total)
            theirs.append((server.cpu() - start) / total)
    finally:
        server.stop()
        backend.stop()
    report('event with ack through a webhook, against proxy_pass',
           median(ours) * 1e6, 'us each', '<= 1.0',
           median(ours) / median(theirs))


# polling at the wrong worker

def polling():
    n, total = 32, 20000
    server = Nginx('''server {
        listen 127.0.0.1:PORT; keepalive_requests 100000000;
        location /socket.io/ { socketio; }
        }''', workers=2)

    def open_session(s):
        s.sendall(b'GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\n'
                  b'Host: localhost\r\n\r\n')
        head = recv_until(s, b'}')
        return re.search(rb'"sid":"([^"]+)"', head).group(1).decode()

    def slot(sid):
        return base64.urlsafe_b64decode(sid)[0]

    right, wrong = [], []
    try:
        # a connection stays at its worker, and its session is there too
        found = {}
        for _ in range(400):
            s = socket.create_connection(('127.0.0.1', server.port))
            sid = open_session(s)
            found.setdefault(slot(sid), []).append((s, sid))
            if len(found) == 2 and min(map(len, found.values())) >= n:
                break
        here, there = list(found.values())
        posts = {}
        for (s, sid), (other, _) in zip(here[:n], there[:n]):
            # a noop: nothing but the way there and back
            post = (f'POST /socket.io/?EIO=4&transport=polling&sid={sid} '
                    f'HTTP/1.1\r\nHost: localhost\r\n'
                    f'Content-Length: 1\r\n\r\n6').encode()
            posts[s.fileno()] = posts[other.fileno()] = post
        for _ in range(ROUNDS):
            for group, result in ((here, right), (there, wrong)):
                start = server.cpu()
                pingpong([s for s, _ in group[:n]], posts, total)
                result.append((server.cpu() - start) / total)
    finally:
        server.stop()
    report('polling POST at the wrong worker, against the right',
           median(wrong) * 1e6, 'us each', '<= 1.5',
           median(wrong) / median(right))


# emit through the API

def api():
    total, members = 5000, 10
    server = Nginx(PUSH.format(settings=''))
    ours, theirs = [], []
    emit = json.dumps({'event': 'm', 'args': ['x' * 100]}).encode()
    octets = 4 + len('42["m",""]') + 100 if len('42["m",""]') + 100 > 125 \
        else 2 + len('42["m",""]') + 100
    try:
        receivers = Receivers([connect(server.port) for _ in range(members)])
        keep = socket.create_connection(('127.0.0.1', server.port))
        for _ in range(ROUNDS):
            start = server.cpu()
            for _ in range(total):
                status, _, _ = request(server.port, '/_api/emit', emit, keep)
                assert status == 200
                receivers.drain(members * octets)
            ours.append((server.cpu() - start) / total)
            start = server.cpu()
            for _ in range(total):
                request(server.port, '/plain', emit, keep)
            plain = (server.cpu() - start) / total
            theirs.append(plain + members * bare(members, 2000, octets, 1))
        receivers.close()
    finally:
        server.stop()
    report('API emit to 10, against return 200 and ten sends',
           median(ours) * 1e6, 'us each', '<= 1.5',
           median(ours) / median(theirs))


ALL = {
    'idle': idle,
    'tls': lambda: idle(tls=True),
    'broadcast': lambda: [broadcast(n, b) for b in (1, 10)
                          for n in (1000, 5000)],
    'webhook': webhook,
    'polling': polling,
    'api': api,
}

wanted = sys.argv[2:] or list(ALL)

for name in wanted:
    if name not in ALL:
        raise SystemExit(f'no such benchmark: {name}; there are {list(ALL)}')

print(f'{"":<52} {"measured":<34} budget')

for name in wanted:
    ALL[name]()
