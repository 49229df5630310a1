#!/usr/bin/python3
"""Turn the schema's files into a C array: embed.py OUT 001.sql 002.sql …"""
import json
import pathlib
import sys

out, *names = sys.argv[1:]
lines = ["/* Made by embed.py from src/store/schema/. */", "static const char *const migrations[] = {"]
for name in names:
    # JSON's escapes of ASCII text are C's; SQL files are ASCII except in comments.
    text = pathlib.Path(name).read_text(encoding="utf-8").encode("ascii", "replace").decode()
    lines += ["    " + json.dumps(line + "\n") for line in text.splitlines()]
    lines[-1] += ","
lines.append("};")
pathlib.Path(out).write_text("\n".join(lines) + "\n", encoding="ascii")
