"""Tasks that emit, as the deployment guide has them."""

import os

from celery import Celery
from flask_socketio import SocketIO

url = os.environ['SIO_REDIS']

app = Celery('tasks', broker=url + '/1', backend=url + '/1')


@app.task
def news(word):
    SocketIO(message_queue=url).emit('news', {'word': word},
                                     namespace='/test')
