#include "runner/terminal.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"

int terminal_open(struct terminal *terminal, const char *path, struct err *err)
{
    *terminal = (struct terminal){.listener = -1, .master = -1, .keyboard = -1};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return err_set(err, ERR_LIMIT, "path too long");
    strcpy(address.sun_path, path);
    strcpy(terminal->path, path);
    terminal->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (terminal->listener < 0 ||
        bind(terminal->listener, (struct sockaddr *)&address, sizeof address) < 0 ||
        listen(terminal->listener, 1) < 0)
        return err_errno(err, "cannot listen for the terminal");
    return 0;
}

static int receive_master(struct terminal *terminal, struct err *err)
{
    AUTO_FD int connection = accept4(terminal->listener, NULL, NULL, SOCK_CLOEXEC);
    if (connection < 0)
        return err_errno(err, "cannot accept the terminal");
    char name[256];
    int fds[IO_MAX_FDS];
    size_t count;
    ssize_t n = io_recv_fds(connection, name, sizeof name, fds, &count, err);
    if (n < 0)
        return (int)n;
    if (count != 1) {
        while (count)
            close(fds[--count]);
        return err_set(err, ERR_PROTOCOL, "crun sent no terminal");
    }
    terminal->master = fds[0];
    terminal->keyboard = fcntl(terminal->master, F_DUPFD_CLOEXEC, 3);
    if (terminal->keyboard < 0)
        return err_errno(err, "cannot copy the terminal's descriptor");
    return io_set_nonblocking(terminal->master, true);
}

void terminal_resize(struct terminal *terminal)
{
    struct winsize size;
    if (terminal->master >= 0 && ioctl(STDIN_FILENO, TIOCGWINSZ, &size) == 0)
        ioctl(terminal->master, TIOCSWINSZ, &size);
}

int terminal_connect(struct terminal *terminal, struct err *err)
{
    int status = receive_master(terminal, err);
    if (status < 0)
        return err_context(err, "cannot get the terminal");
    terminal_resize(terminal);
    if (tcgetattr(STDIN_FILENO, &terminal->saved) < 0)
        return err_errno(err, "cannot read the terminal's settings");
    struct termios raw = terminal->saved;
    cfmakeraw(&raw);
    if (tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) < 0)
        return err_errno(err, "cannot set the terminal to raw mode");
    terminal->raw = true;
    return 0;
}

void terminal_release(struct terminal *terminal)
{
    if (terminal->raw)
        tcsetattr(STDIN_FILENO, TCSADRAIN, &terminal->saved);
    if (terminal->listener >= 0)
        close(terminal->listener);
    if (terminal->master >= 0)
        close(terminal->master);
    if (terminal->keyboard >= 0)
        close(terminal->keyboard);
    unlink(terminal->path);
    *terminal = (struct terminal){.listener = -1, .master = -1, .keyboard = -1};
}
