import http.client
import json
import threading
import unittest

from api import make_server


class ApiTest(unittest.TestCase):
    """Each test talks to a server of its own."""

    def setUp(self):
        self.server = make_server()
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)

    def request(self, method, path, body=None):
        connection = http.client.HTTPConnection(*self.server.server_address)
        connection.request(method, path, None if body is None else json.dumps(body))
        response = connection.getresponse()
        value = json.loads(response.read())
        connection.close()
        return response.status, value

    def test_no_notes_at_first(self):
        self.assertEqual(self.request("GET", "/notes"), (200, []))

    def test_a_note_is_made_and_read(self):
        self.assertEqual(self.request("POST", "/notes", {"text": "milk"}), (201, {"id": 1, "text": "milk"}))
        self.assertEqual(self.request("GET", "/notes/1"), (200, {"id": 1, "text": "milk"}))

    def test_all_notes_oldest_first(self):
        for text in ("one", "two", "three"):
            self.request("POST", "/notes", {"text": text})
        self.assertEqual([note["text"] for note in self.request("GET", "/notes")[1]], ["one", "two", "three"])

    def test_what_is_not_there(self):
        self.assertEqual(self.request("GET", "/notes/7")[0], 404)
        self.assertEqual(self.request("GET", "/other")[0], 404)

    def test_a_bad_note_is_refused(self):
        self.assertEqual(self.request("POST", "/notes", ["milk"])[0], 400)


if __name__ == "__main__":
    unittest.main()
