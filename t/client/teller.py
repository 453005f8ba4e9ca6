"""An emitter that tells numbers as fast as it can, from 1.

    teller.py <redis url> <channel>

It says when it has begun.  Whatever it reads is the end; then it says how many
they were.
"""

import select
import sys

import socketio

url, channel = sys.argv[1:3]

manager = socketio.RedisManager(url, channel=channel, write_only=True)
n = 0

while not select.select([sys.stdin], [], [], 0)[0]:
    for _ in range(100):
        n += 1
        manager.emit('n', n)

    if n == 100:
        print('begun', flush=True)

print(n, flush=True)
