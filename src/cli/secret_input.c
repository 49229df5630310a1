#include "cli/secret_input.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/io.h"

/* A terminal hands over no longer line than this, and drops the rest (termios(3)). */
enum { TERMINAL_LINE_MAX = 4095 };

static volatile sig_atomic_t caught;

static void on_signal(int signal)
{
    caught = signal;
}

static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
enum { SIGNALS = sizeof signals / sizeof signals[0] };

/* One line into OUT; stops at a signal. The signals are blocked but for the waiting, so that none is
 * lost between two calls; UNBLOCKED is the mask without that. */
static int read_line(struct buf *out, const sigset_t *unblocked, struct err *err)
{
    struct pollfd terminal = {.fd = STDIN_FILENO, .events = POLLIN};
    if (ppoll(&terminal, 1, NULL, unblocked) < 0)
        return errno == EINTR ? 0 : err_errno(err, "cannot wait for the terminal");
    char *room = buf_reserve(out, SECRET_INPUT_MAX);
    ssize_t n = read(STDIN_FILENO, room, SECRET_INPUT_MAX);
    if (n < 0 && errno != EINTR)
        return err_errno(err, "cannot read from the terminal");
    if (n > 0)
        buf_wrote(out, (size_t)n);
    return 0;
}

static int ask(const char *name, struct buf *out, struct err *err)
{
    struct termios before, quiet;
    struct sigaction handler = {.sa_handler = on_signal}, old[SIGNALS];
    sigset_t blocked, unblocked;
    if (tcgetattr(STDIN_FILENO, &before) < 0)
        return err_errno(err, "cannot ask the terminal");
    caught = 0;
    sigemptyset(&blocked);
    for (size_t i = 0; i < SIGNALS; i++)
        sigaddset(&blocked, signals[i]);
    sigprocmask(SIG_BLOCK, &blocked, &unblocked);
    for (size_t i = 0; i < SIGNALS; i++)
        sigaction(signals[i], &handler, &old[i]);
    quiet = before;
    quiet.c_lflag &= ~(tcflag_t)(ECHO | ECHONL);
    quiet.c_lflag |= ICANON | ISIG;
    int status = tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet) < 0
                     ? err_errno(err, "cannot turn the terminal's echo off")
                     : 0;
    if (status == 0) {
        fprintf(stderr, "value of %s (not shown): ", name);
        status = read_line(out, &unblocked, err);
        fputc('\n', stderr);
    }
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
    for (size_t i = 0; i < SIGNALS; i++)
        sigaction(signals[i], &old[i], NULL);
    sigprocmask(SIG_SETMASK, &unblocked, NULL);
    if (!caught)
        return status;
    secret_input_release(out);
    if (caught != SIGTSTP)
        raise(caught);
    return err_set(err, ERR_REFUSED, "interrupted: nothing was set");
}

int secret_input_read(const char *name, struct buf *out, struct err *err)
{
    prctl(PR_SET_DUMPABLE, 0); /* from here on a core would have it */
    buf_init(out, SECRET_INPUT_MAX);
    buf_reserve(out, SECRET_INPUT_MAX);
    if (!isatty(STDIN_FILENO)) {
        int status = io_read_all(STDIN_FILENO, out, err);
        if (status == -ERANGE)
            return err_set(err, ERR_USAGE, "the value is longer than %d bytes", SECRET_INPUT_MAX);
        return status < 0 ? err_context(err, "standard input") : 0;
    }
    int status = ask(name, out, err);
    if (status == 0 && out->len >= TERMINAL_LINE_MAX)
        return err_set(err, ERR_USAGE, "the value is too long for a terminal: pipe it in");
    return status;
}

void secret_input_release(struct buf *buf)
{
    if (buf->cap)
        explicit_bzero(buf->data, buf->cap);
    buf_release(buf);
}
