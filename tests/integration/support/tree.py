"""What a directory holds, byte for byte. The text of this file also runs in sandboxes."""
import base64
import hashlib
import json
import os
import stat
import zlib


def look(top):
    """{base64 of the path: what is there}: links with their targets, files with mode, size and digest."""
    top, found = os.fsencode(top), {}
    for here, directories, files in os.walk(top):
        if here == top:
            directories[:] = [name for name in directories if name != b".git"]
        links = [name for name in directories if os.path.islink(os.path.join(here, name))]
        for name in files + links:
            path = os.path.join(here, name)
            found[base64.b64encode(os.path.relpath(path, top)).decode()] = _what(path)
    return found


def _what(path):
    mode = os.lstat(path).st_mode
    if stat.S_ISLNK(mode):
        return ["link", os.fsdecode(os.readlink(path))]
    with open(path, "rb") as file:
        data = file.read()
    return ["executable" if mode & 0o100 else "file", len(data), hashlib.sha256(data).hexdigest()]


def packed(found):
    """A listing as one word of text, and back."""
    return base64.b64encode(zlib.compress(json.dumps(found).encode())).decode()


def unpacked(word):
    return json.loads(zlib.decompress(base64.b64decode(word)))


def differences(one, other):
    """{path: (in ONE, in OTHER)} of what is not the same."""
    return {base64.b64decode(name): (one.get(name), other.get(name))
            for name in one.keys() | other.keys() if one.get(name) != other.get(name)}


if __name__ == "__main__":
    print(packed(look(".")))
