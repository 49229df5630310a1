/*
 * What one sandbox, or the host, has that another must not find.
 *
 *     attack-neighbours plant TAG            put it there, print "planted PORT", wait for the end of
 *                                            standard input, and take it away again
 *     attack-neighbours try TAG PORT PID     look for it
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "attempt.h"

enum { NAME_MAX_BYTES = 100, SHM_BYTES = 4096 };

static const char *tag;
static int port, pid;

static const char *path(const char *before)
{
    static char out[NAME_MAX_BYTES];
    snprintf(out, sizeof out, "%s%s", before, tag);
    return out;
}

/* The same for one tag everywhere. */
static key_t key(void)
{
    unsigned sum = 1;
    for (const char *c = tag; *c; c++)
        sum = sum * 31 + (unsigned char)*c;
    return (key_t)(sum & 0x3fffffff) + 1;
}

static socklen_t abstract(struct sockaddr_un *out)
{
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(out->sun_path + 1, sizeof out->sun_path - 1, "%s", tag);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(tag));
}

static struct sockaddr_in loopback(int number)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)number),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int fail(const char *what)
{
    perror(what);
    return 1;
}

static int plant_files(void)
{
    int file = open(path("/tmp/"), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    int shm = shm_open(path("/"), O_RDWR | O_CREAT, 0666);
    mqd_t queue = mq_open(path("/"), O_RDWR | O_CREAT, 0666, NULL);
    if (file < 0 || shm < 0 || queue < 0)
        return fail("cannot plant a file");
    if (shmget(key(), SHM_BYTES, IPC_CREAT | 0666) < 0 || msgget(key(), IPC_CREAT | 0666) < 0)
        return fail("cannot plant System V objects");
    return 0;
}

static void take_away(void)
{
    unlink(path("/tmp/"));
    shm_unlink(path("/"));
    mq_unlink(path("/"));
    shmctl(shmget(key(), 0, 0), IPC_RMID, NULL);
    msgctl(msgget(key(), 0), IPC_RMID, NULL);
}

static int plant_sockets(void)
{
    struct sockaddr_un name;
    socklen_t len = abstract(&name);
    int unix_socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(unix_socket, (struct sockaddr *)&name, len) < 0 || listen(unix_socket, 8) < 0)
        return fail("cannot plant an abstract socket");
    struct sockaddr_in address = loopback(0);
    len = sizeof address;
    int tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(tcp, (struct sockaddr *)&address, len) < 0 || listen(tcp, 8) < 0 ||
        getsockname(tcp, (struct sockaddr *)&address, &len) < 0)
        return fail("cannot plant a service");
    printf("planted %d\n", ntohs(address.sin_port));
    return fflush(stdout);
}

static int plant(void)
{
    int status = plant_files();
    if (status == 0)
        status = plant_sockets();
    char byte;
    while (status == 0 && read(0, &byte, 1) > 0)
        ;
    take_away();
    return status;
}

static long try_file(void)
{
    return open(path("/tmp/"), O_RDONLY | O_CLOEXEC);
}
static long try_posix_shm(void)
{
    return shm_open(path("/"), O_RDWR, 0);
}
static long try_posix_queue(void)
{
    return mq_open(path("/"), O_RDWR);
}
static long try_system_v_shm(void)
{
    return shmget(key(), 0, 0);
}
static long try_system_v_queue(void)
{
    return msgget(key(), 0);
}
static long try_abstract_socket(void)
{
    struct sockaddr_un name;
    socklen_t len = abstract(&name);
    return connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&name, len);
}
static long try_loopback_service(void)
{
    struct sockaddr_in address = loopback(port);
    return connect(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&address, sizeof address);
}
static long try_kill(void)
{
    return kill(pid, 0);
}

static bool is_planter(const char *number)
{
    char name[300], line[4096];
    snprintf(name, sizeof name, "/proc/%s/cmdline", number);
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, line, sizeof line);
    if (fd >= 0)
        close(fd);
    return n > 0 && memmem(line, (size_t)n, "plant", 6) &&
           memmem(line, (size_t)n, tag, strlen(tag));
}
static long try_see_process(void)
{
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    while (proc && (entry = readdir(proc)))
        if (is_planter(entry->d_name))
            return 0;
    errno = ESRCH;
    return -1;
}

static const struct attempt attempts[] = {
    ATTEMPT(24, kill),         ATTEMPT(26, abstract_socket), ATTEMPT(27, file),
    ATTEMPT(27, see_process),  ATTEMPT(27, posix_shm),       ATTEMPT(27, posix_queue),
    ATTEMPT(27, system_v_shm), ATTEMPT(27, system_v_queue),  ATTEMPT(28, loopback_service),
};

int main(int argc, char **argv)
{
    tag = argc > 2 ? argv[2] : "";
    if (argc == 3 && !strcmp(argv[1], "plant"))
        return plant();
    if (argc != 5 || strcmp(argv[1], "try") != 0) {
        fprintf(stderr, "usage: attack-neighbours plant TAG | try TAG PORT PID\n");
        return 2;
    }
    port = atoi(argv[3]);
    pid = atoi(argv[4]);
    return attempt_all(attempts, sizeof attempts / sizeof attempts[0]);
}
