"""A Git LFS server, as forges have one: its batch API beside a git server, contents on another host. github.com/git-lfs/git-lfs,
docs/api/."""
import hashlib
import json

from support.git_server import GitServer


def pointer(content):
    """The pointer to CONTENT (bytes)."""
    return (f"version https://git-lfs.github.com/spec/v1\noid sha256:{hashlib.sha256(content).hexdigest()}\n"
            f"size {len(content)}\n")


class LargeFiles:
    """Answers for FORGE, a GitServer that has not begun; contents are kept in OBJECTS."""

    def __init__(self, forge, directory):
        directory.mkdir()
        self.objects = {}
        self.fault = None  # answers in the place of the batch API: (status, message)
        self.storage = GitServer(directory, public=True, hook=self._store)
        forge.hook = self._answer

    def __enter__(self):
        self.storage.__enter__()
        return self

    def __exit__(self, *_):
        self.storage.__exit__()

    def add(self, content):
        self.objects[hashlib.sha256(content).hexdigest()] = content
        return pointer(content)

    def _answer(self, handler, path, _query, body):
        if not path.endswith(".git/info/lfs/objects/batch"):
            return False
        if self.fault:
            self._reply(handler, self.fault[0], {"message": self.fault[1]})
            return True
        request = json.loads(body)
        objects = [self._describe(request["operation"], item) for item in request["objects"]]
        self._reply(handler, 200, {"transfer": "basic", "objects": objects})
        return True

    def _describe(self, operation, item):
        oid = item["oid"]
        described = {"oid": oid, "size": item["size"], "authenticated": True}
        if operation == "download" and oid not in self.objects:
            return {**described, "error": {"code": 404, "message": "no such object"}}
        if operation == "download" or oid not in self.objects:
            described["actions"] = {operation: {"href": self.storage.url(oid), "header": {"X-Signed": "yes"}}}
        return described

    @staticmethod
    def _reply(handler, status, value):
        handler._plain(status, json.dumps(value).encode(),  # pylint: disable=protected-access
                       [("Content-Type", "application/vnd.git-lfs+json")])

    def _store(self, handler, path, _query, body):
        oid = path.strip("/")
        assert handler.headers["X-Signed"] == "yes"
        if handler.command == "PUT":
            assert hashlib.sha256(body).hexdigest() == oid
            self.objects[oid] = body
            handler._plain(200, b"")  # pylint: disable=protected-access
        else:
            handler._plain(200, self.objects[oid])  # pylint: disable=protected-access
        return True
