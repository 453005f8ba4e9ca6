#!/usr/bin/env python3
"""What the module costs, side by side with what it is compared with.

usage: t/bench/run [--quick] [idle] [tls] [connect] [event]
                   [application] [broadcast] [echo] [polling] [api] [hub]

CPU time is that of the server's processes alone, from schedstat, so that
clients and applications on the same machine do not count; memory is PSS.  What
is compared takes turns, again and again, each turn beginning with another one,
since a machine is never idle; a ratio is the median of those of the rounds.

--quick asks for very little of everything, without the peers: it shows that
the benchmark works, not what anything costs.

BENCH_ROUNDS, BENCH_SECONDS and BENCH_CLIENTS change how many rounds there are,
how much CPU time of a server a turn takes, and how many idle clients.
"""

import base64
import json
import os
import re
import ssl
import statistics
import subprocess
import sys
import time

import servers
from clients import (Crowd, PingPong, Receivers, close, connect, frame, post,
                     raise_limits, recv_until, tcp)
from servers import (BUILD, NGINX, Bare, Flask, Gunicorn, Module, Nchan, Nginx,
                     Node, Together, backend, peers, pusher)

arguments = sys.argv[1:]
QUICK = '--quick' in arguments

ROUNDS = int(os.environ.get('BENCH_ROUNDS', '1' if QUICK else '9'))
SECONDS = float(os.environ.get('BENCH_SECONDS', '0.02' if QUICK else '0.3'))
CLIENTS = int(os.environ.get('BENCH_CLIENTS', '300' if QUICK else '10000'))

IDLE_WAVE = 10
TEXT = 128                          # octets of a broadcast packet
ARGS = '{"n":1,"text":"' + 'x' * 60 + '"}'
EVENT = f'1["message",{ARGS}]'      # with an acknowledgement, id 1
ANSWER = b'31[{"ok":true}]'

COLUMNS = ['what', 'module', 'compared with', '', 'ratio', 'budget',
           'Node', 'Flask', 'nchan']


# turns, and what they say

def turns(takers):
    """
    takers: functions by name that take a turn of so many seconds and say what
    an operation cost.  Returns lists of costs by name, one for each round.
    """
    costs = {name: [] for name in takers}
    names = list(takers)
    for i in range(ROUNDS):
        for k in range(len(names)):
            name = names[(i + k) % len(names)]
            costs[name].append(takers[name](SECONDS))
    return costs


def repeat(server, work, least):
    """A taker: work(n) does n operations, until the seconds are spent."""
    def take(seconds):
        n, spent, start = 0, 0, server.cpu()
        while spent < seconds:
            work(least)
            n += least
            spent = server.cpu() - start
        return spent / n
    return take


def shown(value, unit):
    if value is None:
        return ''
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f'{value:.{digits}f} {unit}'


def row(what, costs, unit='us', scale=1e6, limit='', name='limit', budget='',
        better=None):
    """
    One line of the table.  costs: by name, one for each round; those of the
    module, of what limits it (under name), and of peers.  better: by how much
    the peer of that name has to cost more, instead of a ratio to the limit.
    """
    median = {k: statistics.median(v) * scale for k, v in costs.items()}
    spread, other = '', costs.get(better or name)
    if other:
        pairs = zip(costs['module'], other)
        ratios = sorted((b / a if better else a / b) for a, b in pairs)
        middle = statistics.median(ratios)
        low = ratios[len(ratios) // 4]
        high = ratios[-1 - len(ratios) // 4]
        spread = f'{middle:.2f} ({low:.2f}-{high:.2f})'
    cells = [what, shown(median['module'], unit), limit,
             shown(median.get(name), unit), spread, budget]
    for peer in ('node', 'flask', 'nchan'):
        cell = shown(median.get(peer), unit)
        if cell:
            cell += f' ({median[peer] / median["module"]:.1f})'
        cells.append(cell)
    print('| ' + ' | '.join(cells) + ' |', flush=True)


# idle clients

def idle():
    """Each server on its own: what is measured is memory."""
    costs = {'module': idle_costs()}
    for cls in peers(Node, Flask, Nchan):
        server = cls()
        costs[server.name] = [idle_cost((server, [server]))]
    row(f'an idle client, of {CLIENTS}', costs, 'kB', 1e-3, budget='<= 2.5')


def tls():
    directory = servers.tempfile.mkdtemp(prefix='sio-bench-')
    try:
        subprocess.check_call(
            ['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes',
             '-subj', '/CN=localhost', '-days', '2', '-keyout',
             f'{directory}/key', '-out', f'{directory}/cert'],
            stderr=subprocess.DEVNULL)
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        extra = (f'ssl_certificate {directory}/cert; '
                 f'ssl_certificate_key {directory}/key;')
        costs = idle_costs('ssl', extra, CLIENTS // 2, context)
    finally:
        servers.shutil.rmtree(directory)
    row(f'the same over TLS, of {CLIENTS // 2}', {'module': costs}, 'kB',
        1e-3, budget='<= 17')


def idle_costs(listen='', extra='', count=CLIENTS, context=None):
    return [idle_cost(idle_module(listen, extra), count, context)
            for _ in range(min(ROUNDS, 3))]


def idle_module(listen='', extra=''):
    """With all that a client can have: journal record, namespace, room."""
    app = backend('{"join":"lobby"}')
    server = Module('''
        upstream app { server 127.0.0.1:APP; keepalive 32; }
        socketio_zone socketio 64m;
        server {
            listen 127.0.0.1:PORT LISTEN; EXTRA
            location /socket.io/ { socketio; socketio_webhook /hook; }
            location = /hook { internal; proxy_pass http://app/;
                proxy_http_version 1.1; proxy_set_header Connection ""; }
        }''', APP=app.port, LISTEN=listen, EXTRA=extra)
    return server, [server, app]


def idle_cost(started, count=CLIENTS, context=None):
    server, all_of_them = started
    clients = []
    try:
        # What is allocated once, or for a handshake, should not count for the
        # clients: few of them connect at a time.
        close(connect(server, CLIENTS // 100, context, IDLE_WAVE))
        server.settled()
        server.collect()
        before = server.pss()
        clients = connect(server, count, context, IDLE_WAVE)
        server.settled()
        server.collect()
        return (server.pss() - before) / count
    finally:
        close(clients)
        for one in all_of_them:
            one.stop()


# connecting

def connects():
    """A client comes, enters a namespace, leaves."""
    app = backend('{}')
    ours = Module('''
        upstream app { server 127.0.0.1:APP; keepalive 128; }
        server {
            listen 127.0.0.1:PORT;
            location /socket.io/ { socketio; socketio_webhook /hook; }
            location = /hook { internal; proxy_pass http://app/;
                proxy_http_version 1.1; proxy_set_header Connection ""; }
        }''', APP=app.port)
    found = [ours] + [cls() for cls in peers(Node, Flask)]

    def taker(server):
        def take(seconds):
            n, start = 0, server.settled()
            while server.cpu() - start < seconds:
                close(connect(server, 100))
                n += 100
            # leaving is part of it
            return (server.settled() - start) / n
        return take

    costs = turns({s.name: taker(s) for s in found})
    row('a connection, accepted by a webhook, and its end', costs,
        better='node', limit='Node', budget='>= 3')
    servers.stop_all()


# an event and its acknowledgement

def event():
    n, least = (4, 40) if QUICK else (32, 1000)
    app = backend('{"ack":[{"ok":true}]}')
    ours = Module('''
        upstream app { server 127.0.0.1:APP; keepalive 64; }
        server {
            listen 127.0.0.1:PORT;
            location /socket.io/ { socketio; socketio_webhook /hook; }
            location = /hook { internal; proxy_pass http://app/;
                proxy_http_version 1.1; proxy_set_header Connection ""; }
            location = /http { proxy_pass http://app/;
                proxy_http_version 1.1; proxy_set_header Connection ""; }
        }''', APP=app.port)
    body = json.dumps({
        'type': 'event', 'id': 'msg_xxxxxxxxxxxxxxxxxxxxxx', 'sid': 'x' * 20,
        'namespace': '/', 'seq': 7, 'event': 'message',
        'args': [json.loads(ARGS)], 'ack': 'x' * 22})
    http = (f'POST /http HTTP/1.1\r\nHost: localhost\r\n'
            f'Content-Type: application/json\r\n'
            f'Content-Length: {len(body)}\r\n\r\n{body}').encode()
    socketio = frame(b'42' + EVENT.encode())
    plain = PingPong([tcp(ours.port) for _ in range(n)], [(http, b'}]}')])
    takers = {'limit': repeat(ours, plain.run, least)}
    for server in [ours] + [cls() for cls in peers(Node, Flask)]:
        talk = PingPong(connect(server, n), [(socketio, b'4' + ANSWER)])
        takers[server.name] = repeat(server, talk.run, least)
    costs = turns(takers)
    row('an event and its acknowledgement, through a webhook', costs,
        limit='`proxy_pass` of one request', budget='<= 1.0')
    servers.stop_all()


def application():
    """The same with all that takes part: the peers have their handlers."""
    n, least = 32, 200
    if not peers(Gunicorn):
        return
    app = Gunicorn()
    ours = Module('''
        upstream app { server 127.0.0.1:APP; keepalive 64; }
        server {
            listen 127.0.0.1:PORT;
            location /socket.io/ { socketio; socketio_webhook /hook;
                                   socketio_webhook_concurrency 8; }
            location = /hook { internal; proxy_pass http://app/socketio;
                proxy_http_version 1.1; proxy_set_header Connection ""; }
        }''', APP=app.port)
    socketio = frame(b'42' + EVENT.encode())
    takers = {}
    for server in [ours] + [cls() for cls in peers(Node, Flask)]:
        talk = PingPong(connect(server, n), [(socketio, b'4' + ANSWER)])
        one = Together(ours, app) if server is ours else server
        takers[server.name] = repeat(one, talk.run, least)
    row('the same with the application, Flask in gunicorn', turns(takers))
    servers.stop_all()


# broadcast

def broadcast():
    sizes = (10,) if QUICK else (1000, 5000)
    for batch in (1, 10):
        for n in sizes:
            broadcast_to(n, batch)


def broadcast_to(n, batch):
    """
    An event, or an HTTP request, asks for the messages; all of them are
    queued in one turn of the event loop.
    """
    text = 'x' * (TEXT - len('42["m",""]'))
    ours = pusher(event=json.dumps(
        {'emit': [{'event': 'm', 'args': [text], 'to': 'r'}] * batch}))
    found = [ours, Bare(TEXT, batch)]
    found += [cls() for cls in peers(Node, Flask, Nchan)]

    def trigger(server, client, batch):
        if server.name == 'nchan':
            keep = post(server.port, '/emit', b'', None, 0)
            return lambda: post(server.port, '/emit', b'x' * TEXT, keep, batch)
        ask = frame(f'42["go",{batch}]'.encode())
        return lambda: client.sendall(ask)

    # a frame of more than 125 octets has a header of 4
    crowds = {s.name: Crowd(s, n, trigger, 4 + TEXT, batch) for s in found}
    costs = turns({name: crowd.turn for name, crowd in crowds.items()})
    for crowd in crowds.values():
        crowd.close()
    servers.stop_all()
    costs['limit'] = costs.pop('bare')
    row(f'a message of {TEXT} bytes to each of {n}'
        + (f', {batch} at a time' if batch > 1 else ''), costs,
        limit=f'one `writev()` of {batch}' if batch > 1 else 'one `send()`',
        budget='<= 1.2' if batch > 1 else '<= 1.1')


# polling

def http(method, target, body=''):
    return (f'{method} {target} HTTP/1.1\r\nHost: localhost\r\n'
            f'Content-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n'
            f'{body}').encode()


def polling_session(s):
    """A session on a connection, not yet in a namespace: its id."""
    s.sendall(http('GET', '/socket.io/?EIO=4&transport=polling'))
    data = recv_until(s, b'\r\n\r\n', b'"sid":"', b'}')
    return re.search(rb'"sid":"([^"]+)"', data).group(1).decode()


def echo():
    """An event by POST, its acknowledgement by GET."""
    n, least = (4, 20) if QUICK else (32, 500)
    app = backend('{"ack":[{"ok":true}]}')
    ours = Module('''
        upstream app { server 127.0.0.1:APP; keepalive 64; }
        server {
            listen 127.0.0.1:PORT;
            location /socket.io/ { socketio; socketio_webhook /hook; }
            location = /hook { internal; proxy_pass http://app/;
                proxy_http_version 1.1; proxy_set_header Connection ""; }
        }''', APP=app.port)
    takers = {}
    ok = (b'ok', b'OK')
    for server in [ours] + [cls() for cls in peers(Node, Flask)]:
        sockets, steps = [tcp(server.port) for _ in range(n)], {}
        for s in sockets:
            url = ('/socket.io/?EIO=4&transport=polling&sid='
                   + polling_session(s))
            enter = PingPong([s], [(http('POST', url, '40'), ok),
                                   (http('GET', url), b'}')])
            enter.run(1)
            enter.poll.close()
            steps[s.fileno()] = [
                (http('POST', url, '42' + EVENT), ok),
                (http('GET', url), b'4' + ANSWER)]
        talk = PingPong(sockets, steps)
        takers[server.name] = repeat(server, talk.run, least)
    row('the same by polling, POST and GET', turns(takers))
    servers.stop_all()


def polling():
    """At a worker that does not own the session."""
    n, least = (2, 20) if QUICK else (32, 1000)
    server = Module('''server {
        listen 127.0.0.1:PORT reuseport;
        location /socket.io/ { socketio; }
        }''', workers=2)

    def slot(sid):
        return base64.urlsafe_b64decode(sid)[0]

    # a connection stays at its worker, and its session is there too
    found = {}
    for _ in range(1000):
        s = tcp(server.port)
        sid = polling_session(s)
        found.setdefault(slot(sid), []).append((s, sid))
        if len(found) == 2 and min(map(len, found.values())) >= n:
            break
    here, there = (pairs[:n] for pairs in found.values())
    steps = {}
    for (s, sid), (other, _) in zip(here, there):
        # a noop: nothing but the way there and back
        step = [(http('POST', '/socket.io/?EIO=4&transport=polling&sid='
                      + sid, '6'), b'ok')]
        steps[s.fileno()] = steps[other.fileno()] = step
    right = PingPong([s for s, _ in here], steps)
    wrong = PingPong([s for s, _ in there], steps)
    costs = turns({'module': repeat(server, wrong.run, least),
                   'limit': repeat(server, right.run, least)})
    row('a polling request at a worker that does not own its session', costs,
        limit='one at the owner', budget='<= 1.5')
    servers.stop_all()


# emit through the API

def api():
    members, least = (2, 20) if QUICK else (10, 200)
    text = 'x' * (TEXT - len('42["m",""]'))
    body = json.dumps({'event': 'm', 'args': [text], 'to': 'r'}).encode()
    ours = pusher()
    bare = Bare(TEXT, 1)
    takers = {}

    def emitter(server, target, body, octets):
        receivers = Receivers(connect(server, members))
        keep = [None]

        def work(n):
            for _ in range(n):
                keep[0] = post(server.port, target, body, keep[0])
                receivers.drain(octets)
        return repeat(server, work, least)

    for server in [ours] + [cls() for cls in peers(Node, Flask, Nchan)]:
        what = b'x' * TEXT if server.name == 'nchan' else body
        takers[server.name] = emitter(server, '/emit', what,
                                      members * (4 + TEXT))
    plain = emitter(ours, '/plain', body, 0)
    receivers = Receivers(connect(bare, members))
    asker = list(receivers.sockets.values())[0]

    def send(n):
        for _ in range(n):
            asker.sendall(frame(b'42["go"]'))
            receivers.drain(members * (4 + TEXT))

    ten = repeat(bare, send, least)
    takers['limit'] = lambda seconds: plain(seconds / 2) + ten(seconds / 2)
    row(f'an emit by HTTP to a room of {members}', turns(takers),
        limit=f'`return 200` and {members} `send()`', budget='<= 1.5')
    servers.stop_all()


# the log

def hub():
    """Two processes that do nothing else, one append in each turn."""
    seconds = '0.1' if QUICK else '1'
    rates = []
    for _ in range(ROUNDS):
        out = subprocess.check_output([f'{BUILD}/bench-hub', seconds],
                                      text=True)
        rates.append(float(out))
    row('entries of the log, from worker to worker, each in a turn',
        {'module': rates}, 'M/s', 1e-6, budget='>= 1')


ALL = {
    'idle': idle,
    'tls': tls,
    'connect': connects,
    'event': event,
    'application': application,
    'broadcast': broadcast,
    'echo': echo,
    'polling': polling,
    'api': api,
    'hub': hub,
}


def environment():
    """What the figures depend on."""
    def output(*command):
        try:
            return subprocess.run(command, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True,
                                  check=False).stdout.strip()
        except OSError:
            return ''

    def debian(package):
        found = output('dpkg-query', '-W', '-f=${Version}', package)
        return re.sub(r'^\d+:|-.*|\+.*', '', found)

    cpu = re.search(r'model name\s*: (.*)', open('/proc/cpuinfo').read())
    said = [time.strftime('%Y-%m-%d'),
            f'{os.cpu_count()} x {cpu.group(1) if cpu else "?"}',
            f'Linux {os.uname().release}',
            output(NGINX, '-v').replace('nginx version: ', '')]
    if peers(Node):
        said.append(f'Node {output("node", "--version")}')
        with open(f'{BUILD}/bench/package.json') as f:
            said.append('socket.io '
                        + json.load(f)['dependencies']['socket.io'])
    if peers(Flask):
        said.append('Flask-SocketIO ' + debian('python3-flask-socketio'))
        said.append('gevent ' + debian('python3-gevent'))
    if peers(Nchan):
        said.append('nchan ' + debian('libnginx-mod-nchan'))
    said.append(f'{ROUNDS} rounds')
    return ', '.join(said)


def main():
    wanted = []
    for argument in arguments:
        if argument in ALL:
            wanted.append(argument)
        elif argument.startswith('module='):
            Nginx.module = argument[len('module='):]
        elif argument != '--quick':
            raise SystemExit(__doc__)
    raise_limits()
    if QUICK:
        servers.available.clear()
    print(environment() + '\n', flush=True)
    print('| ' + ' | '.join(COLUMNS) + ' |')
    print('|' + '---|' * len(COLUMNS), flush=True)
    for name in wanted or ALL:
        ALL[name]()


if __name__ == '__main__':
    main()
