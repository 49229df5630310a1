#include "sandbox/netns.h"

#include <arpa/inet.h>
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

typedef int inside_fn(uint16_t port, struct err *err);

/* Call FN in the network namespace of PID. */
static int inside(pid_t pid, inside_fn *fn, uint16_t port, struct err *err)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/ns/net", (int)pid);
    AUTO_FD int ours = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    AUTO_FD int theirs = open(path, O_RDONLY | O_CLOEXEC);
    if (ours < 0 || theirs < 0)
        return err_errno(err, "cannot open the sandbox's network namespace");
    if (setns(theirs, CLONE_NEWNET) < 0)
        return err_errno(err, "cannot enter the sandbox's network namespace");
    int status = fn(port, err);
    if (setns(ours, CLONE_NEWNET) < 0)
        abort(); /* sockets of ours would be made in the sandbox from now on */
    return status;
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
