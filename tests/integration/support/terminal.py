"""A terminal: a program on a pseudo-terminal, and what its screen shows. Only what `codex` may use is known
here; any other escape sequence is an error."""
import codecs
import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
import unicodedata

from .codex import wait_for

SECONDS = 30


class Screen:
    """Rows of cells with a cursor; what scrolls out goes to `history`. A wide character takes two cells, of which
    the second is empty. Narrowing breaks long rows, as terminals do."""

    def __init__(self, columns, rows):
        self.columns, self.height = columns, rows
        self.lines = [[]]
        self.history = []
        self.row = self.column = 0
        self.escapes = set()

    def _scroll(self):
        while len(self.lines) > self.height:
            self.history.append("".join(self.lines.pop(0)))
            self.row -= 1

    def _put(self, character):
        line = self.lines[self.row]
        if unicodedata.combining(character):
            line[self.column - 1] += character
            return
        cells = [character, ""] if unicodedata.east_asian_width(character) in "WF" else [character]
        if self.column + len(cells) > self.columns:
            self._newline()
            self.column, line = 0, self.lines[self.row]
        line += [" "] * (self.column - len(line))
        line[self.column:self.column + len(cells)] = cells
        self.column += len(cells)

    def _newline(self):
        self.row += 1
        if self.row == len(self.lines):
            self.lines.append([])
        self._scroll()

    def _escape(self, number, letter):
        self.escapes.add(letter)
        if letter == "A":
            self.row = max(0, self.row - int(number))
        elif letter == "J":
            assert number == ""
            del self.lines[self.row][self.column:]
            del self.lines[self.row + 1:]

    def feed(self, text):
        at = 0
        while at < len(text):
            escape = re.compile(r"\x1b\[(\d*)([AJm])").match(text, at)
            if escape:
                self._escape(*escape.groups())
                at = escape.end()
                continue
            character = text[at]
            at += 1
            if character == "\r":
                self.column = 0
            elif character == "\n":
                self._newline()
            else:
                assert character.isprintable() or unicodedata.combining(character), \
                    f"{character!r} in {text[max(0, at - 20):at + 20]!r}"
                self._put(character)

    def resize(self, columns):
        lines = []
        for number, line in enumerate(self.lines):
            if number == self.row:
                self.row = len(lines)
            lines += [line[i:i + columns] for i in range(0, len(line), columns)] or [[]]
        self.lines, self.columns = lines, columns
        self._scroll()

    def shown(self):
        return "\n".join("".join(line) for line in self.lines).rstrip()


class Terminal:
    """ARGV on a terminal of COLUMNS × ROWS. `text` is all that came, `screen` what is to be seen."""

    def __init__(self, argv, environment, columns=80, rows=24, cwd=None):
        self.screen = Screen(columns, rows)
        self.text = ""
        self.refused = None  # the first sequence that the screen does not know
        self.changed = threading.Lock()
        ours, theirs = pty.openpty()
        self.fd = ours
        self._set_size(columns, rows)
        self.process = subprocess.Popen(argv, env=environment, stdin=theirs, stdout=theirs, stderr=theirs,
                                        cwd=cwd, start_new_session=True, preexec_fn=self._control(theirs))
        os.close(theirs)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    @staticmethod
    def _control(fd):
        return lambda: fcntl.ioctl(fd, termios.TIOCSCTTY, 0)

    def _set_size(self, columns, rows):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def _read(self):
        rest, decoder = "", codecs.getincrementaldecoder("utf-8")()
        with contextlib.suppress(OSError):
            while data := os.read(self.fd, 65536):
                rest += decoder.decode(data)
                # Keep what may be the beginning of a sequence.
                whole = re.fullmatch(r"(.*?)(\x1b\[?\d*)?", rest, re.DOTALL)
                text, rest = whole.group(1), whole.group(2) or ""
                with self.changed:
                    self.text += text
                    self._feed(text)

    def _feed(self, text):
        try:
            self.screen.feed(text)
        except AssertionError as error:
            self.refused = self.refused or str(error)

    def shown(self):
        with self.changed:
            return self.screen.shown()

    def everything(self):
        """What one can see, also by scrolling back."""
        with self.changed:
            return "\n".join([*self.screen.history, self.screen.shown()])

    def wait_for(self, part):
        wait_for(lambda: part in self.shown(), SECONDS, f"{part!r} on the screen:\n{self.shown()}")

    def press(self, keys):
        os.write(self.fd, keys)

    def resize(self, columns, rows=24):
        with self.changed:
            self.screen.resize(columns)
        self._set_size(columns, rows)

    def wait(self):
        """Its exit status, once all of its output is on the screen."""
        status = self.process.wait(timeout=SECONDS)
        self.reader.join(SECONDS)
        assert not self.refused, self.refused
        return status

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self.fd)
