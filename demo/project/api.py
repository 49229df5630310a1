"""Notes: a small HTTP API over a list in memory.

    GET  /notes         all notes, oldest first
    GET  /notes/<id>    one note
    POST /notes         {"text": "..."} makes one
"""
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Notes:
    """What is stored: notes are numbered from 1 and never removed."""

    def __init__(self):
        self.notes = []

    def add(self, text):
        note = {"id": len(self.notes) + 1, "text": text}
        self.notes.append(note)
        return note

    def get(self, note_id):
        return self.notes[note_id - 1] if 1 <= note_id <= len(self.notes) else None

    def all(self):
        return list(self.notes)


class Handler(BaseHTTPRequestHandler):
    """One request; the notes belong to the server."""

    def do_GET(self):
        path = self.path.rstrip("/")
        if path == "/notes":
            self.answer(200, self.server.notes.all())
        elif path.startswith("/notes/") and path[7:].isdigit():
            note = self.server.notes.get(int(path[7:]))
            self.answer(200, note) if note else self.refuse(404, "no such note")
        else:
            self.refuse(404, "no such page")

    def do_POST(self):
        if self.path.rstrip("/") != "/notes":
            return self.refuse(404, "no such page")
        try:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
            text = body["text"]
        except (ValueError, KeyError, TypeError):
            return self.refuse(400, "a note is {\"text\": \"...\"}")
        self.answer(201, self.server.notes.add(text))

    def answer(self, status, value):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def refuse(self, status, why):
        self.answer(status, {"error": why})

    def log_message(self, *_):
        """Quiet: whoever runs the server has the log."""


def make_server(port=0):
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.notes = Notes()
    return server


if __name__ == "__main__":
    make_server(8000).serve_forever()
