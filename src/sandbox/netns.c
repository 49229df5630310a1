#include "sandbox/netns.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/process.h"

typedef int inside_fn(uint16_t port, struct err *err);

struct answer {
    int status; /* of FN */
    struct err err;
};

static int enter(pid_t pid, struct err *err)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/ns/net", (int)pid);
    AUTO_FD int theirs = open(path, O_RDONLY | O_CLOEXEC);
    if (theirs < 0)
        return err_errno(err, "cannot open the sandbox's network namespace");
    if (setns(theirs, CLONE_NEWNET) < 0)
        return err_errno(err, "cannot enter the sandbox's network namespace");
    return 0;
}

static _Noreturn void answer(int sock, pid_t pid, inside_fn *fn, uint16_t port)
{
    struct answer answer = {0};
    answer.status = enter(pid, &answer.err);
    if (answer.status == 0)
        answer.status = fn(port, &answer.err);
    io_send_fds(sock, &answer, sizeof answer, &answer.status, answer.status > 0 ? 1 : 0, NULL);
    _exit(0);
}

/* Call FN in the network namespace of PID, and return what it returns: 0, or a descriptor. A child
 * does that, because an ordinary user has no way back into the machine's. */
static int inside(pid_t pid, inside_fn *fn, uint16_t port, struct err *err)
{
    int ends[2], fds[IO_MAX_FDS];
    size_t count = 0;
    struct answer said;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return err_errno(err, "cannot create a socket");
    pid_t child = fork();
    if (child == 0)
        answer(ends[1], pid, fn, port);
    int problem = errno;
    close(ends[1]);
    ssize_t n = child < 0 ? 0 : io_recv_fds(ends[0], &said, sizeof said, fds, &count, err);
    close(ends[0]);
    if (child > 0)
        process_wait(child);
    if (n == (ssize_t)sizeof said && said.status >= 0 && count == (said.status > 0))
        return count ? fds[0] : 0;
    while (count)
        close(fds[--count]);
    if (n == (ssize_t)sizeof said)
        return err_set(err, said.status, "%s", said.err.message);
    errno = problem;
    return child < 0 ? err_errno(err, "cannot fork")
                     : err_set(err, ERR_KILLED, "who was to enter the sandbox's network has died");
}

static int loopback_up(uint16_t port, struct err *err)
{
    AUTO_FD int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq request = {.ifr_name = "lo"};
    if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &request) < 0)
        return err_errno(err, "cannot read the state of lo in the sandbox");
    if (request.ifr_flags & IFF_UP)
        return 0;
    request.ifr_flags |= IFF_UP;
    if (ioctl(fd, SIOCSIFFLAGS, &request) < 0)
        return err_errno(err, "cannot bring lo up in the sandbox");
    return 0;
}

static int listen_on(uint16_t port, struct err *err)
{
    int status = loopback_up(port, err);
    if (status < 0)
        return status;
    AUTO_FD int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 128) < 0)
        return err_errno(err, "cannot listen on port %u in the sandbox", port);
    return steal_fd(&fd);
}

int netns_listen(pid_t pid, uint16_t port, struct err *err)
{
    return inside(pid, listen_on, port, err);
}

int netns_loopback_up(pid_t pid, struct err *err)
{
    return inside(pid, loopback_up, 0, err);
}
