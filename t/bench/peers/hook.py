"""The application behind the webhooks of the module: it acknowledges."""

from flask import Flask, jsonify, request

app = Flask(__name__)


@app.post('/socketio')
def socketio():
    if request.get_json()['type'] == 'event':
        return jsonify(ack=[{'ok': True}])
    return '', 204
