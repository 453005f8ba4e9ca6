"""Thousands of raw WebSockets that do what no official client does.

    flood.py <port> <path>

in:   {"open":n, "rcvbuf":octets}  n more clients, each in the namespace "/"
      {"open":n, "drip":true}      ... whose requests come octet by octet
      {"send":text, "from":a, "to":b}  each client sends text so many times, "#"
                                   replaced by the number
      {"binary":octets}            each client sends a binary message
      {"drip":text}                each client sends text, octet by octet
      {"fragments":text}           ... in a frame for each octet
      {"announce":octets}          each client begins a message of this size,
                                   with an octet
      {"count":pattern}            who has been sent this since it was last asked
      {"ended":true}               whom the server has ended, or told that it will
      {"again":true}               all are reset, and come back at once
      {"close":true}
out:  a line for each, {"open":n, "refused":n}, {"ended":n}, {"count":n}, ...;
      {"limit":n} at first: so many clients may be had

What is not counted is never read.
"""

import json
import resource
import select
import socket
import struct
import sys
import time

PORT, PATH = int(sys.argv[1]), sys.argv[2]
PATIENCE = 120      # seconds

HELLO = (f'GET {PATH}?EIO=4&transport=websocket HTTP/1.1\r\n'
         'Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
         'Sec-WebSocket-Version: 13\r\n'
         'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n').encode()

clients = []


def frame(data, opcode=1):
    """A masked frame; the mask is zero, which costs nothing."""
    n = len(data)
    head = (bytes([0x80 | n]) if n < 126 else
            b'\xfe' + struct.pack('!H', n) if n < 65536 else
            b'\xff' + struct.pack('!Q', n))
    return bytes([0x80 | opcode]) + head + bytes(4) + data


def begin(rcvbuf):
    s = socket.socket()
    if rcvbuf:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
    s.setblocking(False)
    s.connect_ex(('127.0.0.1', PORT))
    return s


def connect(n, rcvbuf=None, drip=False):
    """n clients at once; those that are in the namespace, and how many are
    not."""
    poll = select.epoll()
    waiting = {}
    done = []
    refused = 0
    deadline = time.monotonic() + PATIENCE
    for _ in range(n):
        s = begin(rcvbuf)
        waiting[s.fileno()] = [s, b'']
        poll.register(s, select.EPOLLOUT)
    connected = set()
    while waiting and time.monotonic() < deadline:
        for fd, event in poll.poll(1):
            s, data = waiting[fd]
            try:
                if event & select.EPOLLOUT and fd not in connected:
                    if drip:
                        connected.add(fd)
                        poll.modify(s, 0)
                        if len(connected) == n:
                            for i in range(len(HELLO)):
                                for w in waiting.values():
                                    send_octet(w[0], HELLO[i:i + 1])
                            for w in waiting.values():
                                w[0].send(frame(b'40'))
                                poll.modify(w[0], select.EPOLLIN)
                        continue
                    s.send(HELLO + frame(b'40'))
                    poll.modify(s, select.EPOLLIN)
                    continue
                piece = s.recv(4096)
                if not piece:
                    raise OSError('ended')
                data += piece
                waiting[fd][1] = data
                if b'40{"sid"' not in data:
                    continue
                done.append(s)
            except OSError:
                refused += 1
                s.close()
            else:
                poll.unregister(fd)
            del waiting[fd]
    for s, _ in waiting.values():
        s.close()
    poll.close()
    return done, refused + len(waiting)


def send_octet(s, octet):
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    s.send(octet)


def write(s, data):
    """All of it, or what the server takes before it ends the connection."""
    s.settimeout(PATIENCE)
    try:
        s.sendall(data)
    except OSError:
        pass
    s.setblocking(False)


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    s.close()


def open_more(c):
    some, refused = connect(c['open'], c.get('rcvbuf'), c.get('drip', False))
    clients.extend(some)
    return {'open': len(some), 'refused': refused}


def send(c):
    data = b''.join(frame(c['send'].replace('#', str(i)).encode())
                    for i in range(c.get('from', 1), c.get('to', 1) + 1))
    for s in clients:
        write(s, data)
    return {'sent': len(clients)}


def binary(c):
    data = frame(bytes(c['binary']), 2)
    for s in clients:
        write(s, data)
    return {'sent': len(clients)}


def drip(c):
    data = frame(c['drip'].encode())
    for i in range(len(data)):
        for s in clients:
            send_octet(s, data[i:i + 1])
    return {'sent': len(clients)}


def fragments(c):
    data = c['fragments'].encode()
    last = len(data) - 1
    head = b'\x81' + bytes(4)
    message = b''.join((b'\x00', b'\x01')[i == 0] + head + data[i:i + 1]
                       for i in range(last)) + b'\x80' + head + data[last:]
    for s in clients:
        write(s, message)
    return {'sent': len(clients)}


def announce(c):
    head = b'\x81\xff' + struct.pack('!Q', c['announce']) + bytes(4)
    for s in clients:
        write(s, head + b'4')
    return {'sent': len(clients)}


def count(c):
    pattern = c['count'].encode()
    n = 0
    deadline = time.monotonic() + PATIENCE / 4
    for s in clients:
        data = b''
        while pattern not in data:
            p = select.poll()
            p.register(s, select.POLLIN)
            left = max(0, deadline - time.monotonic())
            try:
                piece = s.recv(65536) if p.poll(1000 * left) else b''
            except OSError:
                break
            if not piece:
                break
            data += piece
        n += pattern in data
    return {'count': n}


def is_ended(s):
    try:
        data = s.recv(65536, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True

    # or a close frame, which is not answered; texts have no such octet
    return data == b'' or b'\x88' in data[-8:]


def ended(c):
    p = select.poll()
    for s in clients:
        p.register(s, select.POLLRDHUP)
    gone = {fd for fd, _ in p.poll(0)}
    return {'ended': sum(s.fileno() in gone or is_ended(s) for s in clients)}


def again(c):
    n = len(clients)
    close(c)
    return open_more({'open': n, 'rcvbuf': c.get('rcvbuf')})


def close(c):
    for s in clients:
        reset(s)
    clients.clear()
    return {'closed': True}


hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
print(json.dumps({'limit': hard - 64}))

for line in sys.stdin:
    command = json.loads(line)
    do = next(f for name, f in (('open', open_more), ('send', send),
                                ('binary', binary), ('drip', drip),
                                ('fragments', fragments),
                                ('announce', announce),
                                ('count', count), ('ended', ended),
                                ('again', again), ('close', close))
              if name in command)
    print(json.dumps(do(command)))
