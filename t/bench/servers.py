"""The servers that t/bench starts: nginx with the module, and its peers.

Each has a port, and says how much CPU time and memory its processes have
taken.  All of them listen on 127.0.0.1 only, live in a private directory, and
are stopped by their process id.
"""

import atexit
import glob
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.environ.get('SIO_BUILD', ROOT + '/.build')
NGINX = os.environ.get('SIO_NGINX', '/usr/sbin/nginx')
NCHAN = '/usr/lib/nginx/modules/ngx_nchan_module.so'

# Debian's packages are seen by Debian's interpreter only
PYTHON = '/usr/bin/python3'

# a client is not to be asked whether it is there while it is measured
PING = 1000

running = []


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def stop_all():
    for server in list(running):
        server.stop()


atexit.register(stop_all)


class Server:
    """A process, its children, and a port."""

    # what a client says first, and whether it enters a namespace then
    path = '/socket.io/?EIO=4&transport=websocket'
    namespaced = True

    def __init__(self, name):
        self.name = name
        self.dir = tempfile.mkdtemp(prefix='sio-bench-')
        os.chmod(self.dir, 0o755)
        running.append(self)
        # somebody else may take a free port before the server does
        for attempt in (1, 2, 3):
            self.port = free_port()
            self.start()
            if self.wait():
                return
            print(open(f'{self.dir}/out').read(), flush=True)
            self.kill()
        raise SystemExit(f'{name} does not start')

    def command(self):
        raise NotImplementedError

    def start(self):
        with open(f'{self.dir}/out', 'w') as out:
            self.proc = subprocess.Popen(self.command(), stdout=out,
                                         stderr=out, cwd=self.dir)

    def wait(self):
        for _ in range(400):
            if self.proc.poll() is not None:
                return False
            try:
                socket.create_connection(('127.0.0.1', self.port)).close()
                time.sleep(0.3)
                return self.proc.poll() is None
            except OSError:
                time.sleep(0.05)
        return False

    def pids(self):
        return [self.proc.pid]

    def cpu(self):
        """Seconds that all threads have run."""
        total = 0
        for pid in self.pids():
            for path in glob.glob(f'/proc/{pid}/task/*/schedstat'):
                try:
                    with open(path) as f:
                        total += int(f.read().split()[0])
                except OSError:
                    pass        # a thread that has just ended
        return total / 1e9

    def settled(self):
        """The same, once it does not grow any more."""
        before = self.cpu()
        for _ in range(200):
            time.sleep(0.1)
            now = self.cpu()
            if now - before < 0.001:
                return now
            before = now
        return before

    def pss(self):
        """Octets, shared pages divided by their sharers."""
        total = 0
        for pid in self.pids():
            with open(f'/proc/{pid}/smaps_rollup') as f:
                total += int(re.search(r'^Pss:\s+(\d+)', f.read(),
                                       re.M).group(1)) * 1024
        return total

    def collect(self):
        """Gives back what it can, before its memory is looked at."""

    def kill(self):
        if self.proc.poll() is None:
            self.proc.send_signal(signal.SIGTERM)
            try:
                self.proc.wait(10)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()

    def stop(self):
        if self in running:
            running.remove(self)
            self.kill()
            shutil.rmtree(self.dir, ignore_errors=True)


class Nginx(Server):
    """
    PORT in the configuration, and whatever else is given, is replaced.  The
    master does nothing and is not counted.
    """

    module = None

    def __init__(self, name, http, workers=1, modules=None, **names):
        self.http = http
        self.workers = workers
        self.names = names
        self.modules = [Nginx.module] if modules is None else modules
        super().__init__(name)
        out = subprocess.check_output(
            ['ps', '-o', 'pid=', '--ppid', str(self.proc.pid)], text=True)
        self.children = [int(p) for p in out.split()]

    def command(self):
        http = self.http.replace('PORT', str(self.port))
        for name, value in self.names.items():
            http = http.replace(name, str(value))
        conf = ''.join(f'load_module {m};\n' for m in self.modules)
        conf += f'''
            worker_processes {self.workers}; daemon off;
            pid {self.dir}/pid; error_log {self.dir}/error.log notice;
            worker_rlimit_nofile 19000;
            events {{ worker_connections 18000; }}
            http {{
                access_log off; keepalive_requests 100000000;
                keepalive_timeout 600s;
                client_body_temp_path {self.dir}/a;
                proxy_temp_path {self.dir}/b; fastcgi_temp_path {self.dir}/c;
                uwsgi_temp_path {self.dir}/d; scgi_temp_path {self.dir}/e;
                {http}
            }}'''
        if os.geteuid() == 0:
            conf = 'user root;\n' + conf
        with open(f'{self.dir}/nginx.conf', 'w') as f:
            f.write(conf)
        return [NGINX, '-p', self.dir, '-c', f'{self.dir}/nginx.conf',
                '-e', f'{self.dir}/error.log']

    def pids(self):
        return self.children


class Module(Nginx):
    """nginx with the module; PING is set for all of it."""

    def __init__(self, http, **more):
        super().__init__('module', f'socketio_ping_interval {PING}s;' + http,
                         **more)


def backend(reply):
    """An application that says the same to everything, at little cost."""
    return Nginx('backend', '''server {
        listen 127.0.0.1:PORT;
        location / { default_type application/json; return 200 'REPLY'; }
        }''', modules=[], REPLY=reply)


def pusher(joined='{"join":"r"}', event='{}'):
    """The module with replies that nginx gives itself, and the API."""
    return Module('''server {
        listen 127.0.0.1:PORT;
        location /socket.io/ { socketio; socketio_webhook /$socketio_type; }
        location = /connect { internal; return 200 'JOINED'; }
        location = /event { internal; return 200 'EVENT'; }
        location = /disconnect { internal; return 204; }
        location = /emit { socketio_api; allow 127.0.0.1; deny all; }
        location /_api/ { socketio_api; allow 127.0.0.1; deny all; }
        location = /plain { return 200 '{"matched":10}'; }
        }''', JOINED=joined, EVENT=event)


class Bare(Server):
    """t/bench/bare.c: nothing but the sending."""

    def __init__(self, octets, batch):
        self.args = [str(octets), str(batch)]
        super().__init__('bare')

    def command(self):
        return [f'{BUILD}/bench-bare', str(self.port)] + self.args


class Node(Server):
    """socket.io of npm in one Node process, handlers within it."""

    def __init__(self):
        super().__init__('node')

    def command(self):
        # modules are looked for beside the script
        shutil.copy(f'{HERE}/peers/peer.js', f'{BUILD}/bench/peer.js')
        return ['node', '--expose-gc', f'{BUILD}/bench/peer.js',
                str(self.port), str(PING)]

    def collect(self):
        os.kill(self.proc.pid, signal.SIGUSR2)
        time.sleep(1)


class Gunicorn(Server):
    """The application behind the webhooks: Flask, one process of gunicorn."""

    def __init__(self):
        super().__init__('gunicorn')

    def command(self):
        return [PYTHON, '-m', 'gunicorn', '-w', '1', '-k', 'gthread',
                '--threads', '8', '--keep-alive', '600',
                '--chdir', f'{HERE}/peers', '-b', f'127.0.0.1:{self.port}',
                'hook:app']

    def pids(self):
        out = subprocess.run(
            ['ps', '-o', 'pid=', '--ppid', str(self.proc.pid)],
            stdout=subprocess.PIPE, text=True, check=False).stdout
        return [self.proc.pid] + [int(p) for p in out.split()]


class Together:
    """What several servers take in all, under the name of the first."""

    def __init__(self, *all_of_them):
        self.all = all_of_them
        self.name = all_of_them[0].name

    def cpu(self):
        return sum(server.cpu() for server in self.all)


class Flask(Server):
    """Flask-SocketIO with gevent, as Debian has them, in one process."""

    def __init__(self):
        super().__init__('flask')

    def command(self):
        return [PYTHON, f'{HERE}/peers/peer.py', str(self.port), str(PING)]

    def collect(self):
        os.kill(self.proc.pid, signal.SIGUSR2)
        time.sleep(1)


class Nchan(Nginx):
    """nchan's WebSocket subscribers: plain messages, no Socket.IO."""

    path = '/sub'
    namespaced = False

    def __init__(self):
        super().__init__('nchan', '''server {
            listen 127.0.0.1:PORT;
            location = /sub { nchan_subscriber websocket; nchan_channel_id r;
                              nchan_websocket_ping_interval 0; }
            location = /emit { nchan_publisher http; nchan_channel_id r;
                               nchan_store_messages off; }
            }''', modules=[NCHAN])


# where each of them is when t/bench/install has been here
available = {
    Gunicorn: '/usr/bin/gunicorn',
    Node: f'{BUILD}/bench/installed',
    Flask: '/usr/lib/python3/dist-packages/flask_socketio',
    Nchan: NCHAN,
}


def peers(*classes):
    """Those that are installed."""
    return [cls for cls in classes if os.path.exists(available.get(cls, ''))]
