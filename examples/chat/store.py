"""What the application remembers: one SQLite file for all its workers."""

import contextlib
import os
import sqlite3
import time

KEPT = 300      # messages of all rooms; each may have an image
GONE = 1000     # changes for which somebody who has gone is remembered


@contextlib.contextmanager
def transaction():
    """One at a time, in whichever process."""
    with contextlib.closing(sqlite3.connect(
            os.environ["CHAT_DB"], timeout=10, isolation_level=None)) as db:
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA synchronous = OFF")
        db.execute("BEGIN IMMEDIATE")
        yield db
        db.execute("COMMIT")


with transaction() as db:
    db.execute("""CREATE TABLE IF NOT EXISTS people
                  (sid PRIMARY KEY, user, name, room, tick)""")
    db.execute("""CREATE TABLE IF NOT EXISTS messages
                  (at INTEGER PRIMARY KEY, id UNIQUE, room, user, name, text,
                   type, image)""")


def move(sid, user, name, room):
    """Puts a socket into a room, or into None when it has gone.

    Gives a number that grows, and everybody as (room, user, name).  Who has
    gone stays gone: when a worker of nginx is killed another one tells that its
    clients are gone, perhaps before all that it had sent has come through.
    """
    with transaction() as db:
        tick, = db.execute("SELECT ifnull(max(tick), 0) + 1 FROM people"
                           ).fetchone()
        db.execute("""INSERT INTO people VALUES (?, ?, ?, ?, ?)
                      ON CONFLICT DO UPDATE SET tick = excluded.tick,
                      room = iif(room ISNULL, NULL, excluded.room)""",
                   (sid, user, name, room, tick))
        db.execute("DELETE FROM people WHERE room ISNULL AND tick < ?",
                   (tick - GONE,))
        people = db.execute("""SELECT room, user, name FROM people
                               WHERE room NOTNULL GROUP BY room, user
                               ORDER BY name LIMIT 500""")
        return tick, [tuple(row) for row in people]


def say(id, room, user, name, text, type, image):
    """Adds a message unless it is there already, and gives it."""
    with transaction() as db:
        # No two have the same time, and no later one has an earlier.
        db.execute("""INSERT OR IGNORE INTO messages
                      SELECT max(?, ifnull(max(at), 0) + 1),
                             ?, ?, ?, ?, ?, ?, ? FROM messages""",
                   (int(time.time() * 1000),
                    id, room, user, name, text, type, image))
        db.execute("""DELETE FROM messages WHERE at <= (
                      SELECT at FROM messages
                      ORDER BY at DESC LIMIT 1 OFFSET ?)""", (KEPT,))
        return dict(db.execute("""SELECT at, id, room, user, name, text, type
                                  FROM messages WHERE id = ?""",
                               (id,)).fetchone())


def said(room):
    """The last messages of a room, the newest first."""
    with transaction() as db:
        rows = db.execute("""SELECT at, id, room, user, name, text, type
                             FROM messages WHERE room = ?
                             ORDER BY at DESC LIMIT 50""", (room,))
        return [dict(row) for row in rows]


def image(id):
    """The type and the octets of a message's image, or None."""
    with transaction() as db:
        return db.execute("""SELECT type, image FROM messages
                             WHERE id = ? AND type NOTNULL""",
                          (id,)).fetchone()
