/*
 * Takes all that it can get.
 *
 *     attack-hog hold     of everything that is counted; holds it until the end of standard input
 *     attack-hog forks    a fork bomb whose processes all compute
 *     attack-hog inodes   files without end on /tmp
 *     attack-hog sockets  what waits in connections that nobody reads; prints its size in MiB
 *     attack-hog serve    the neighbour: for each byte of standard input, uses one of everything and
 *                         prints "ok", or what it did not get
 *
 * Of each thing "hold" prints a line: its name, the error that ended it, and how many it got.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <mqueue.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SIGNAL = 40, PAIRS = 64, BLOCK = 1 << 20, SMALL_BLOCK = 1 << 16 };

static char block[BLOCK];

/* ---- one of a thing; negative when there is none */

static long take_descriptor(void)
{
    return eventfd(0, EFD_CLOEXEC);
}
static long take_inotify(void)
{
    return inotify_init1(IN_CLOEXEC);
}
static long take_terminal(void)
{
    return posix_openpt(O_RDWR | O_NOCTTY);
}
static long take_queue(void)
{
    static int count;
    char name[32];
    snprintf(name, sizeof name, "/queue%d-%d", (int)getpid(), count++);
    mqd_t queue = mq_open(name, O_CREAT | O_RDWR | O_CLOEXEC, 0600, NULL);
    if (queue >= 0)
        mq_unlink(name); /* goes when we do */
    return queue;
}
static long take_signal(void)
{
    return sigqueue(getpid(), SIGNAL, (union sigval){0});
}
static long take_timer(void)
{
    timer_t timer;
    struct sigevent none = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGNAL};
    return timer_create(CLOCK_MONOTONIC, &none, &timer);
}
static long take_aio(void)
{
    aio_context_t context = 0;
    return syscall(SYS_io_setup, 60000, &context);
}
static long take_locked_memory(void)
{
    void *memory = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? -1 : mlock(memory, BLOCK);
}
static long append(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    long n = fd < 0 ? -1 : write(fd, block, sizeof block);
    int problem = errno;
    if (fd >= 0)
        close(fd);
    errno = problem;
    return n;
}
static long take_temporary_space(void)
{
    return append("/tmp/full");
}
static long take_shared_memory(void)
{
    return append("/dev/shm/full");
}

static long long sent_bytes;

/* A connection over loopback whose buffers are full. */
static long take_socket_memory(void)
{
    static int pairs;
    errno = ERANGE;
    if (pairs++ == PAIRS)
        return -1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&address, len) < 0 || listen(listener, 1) < 0 ||
        getsockname(listener, (struct sockaddr *)&address, &len) < 0 ||
        connect(client, (struct sockaddr *)&address, len) < 0)
        return -1;
    int server = accept(listener, NULL, NULL);
    for (int fd = server; fd >= 0; fd = fd == server ? client : -1) {
        ssize_t n;
        while ((n = send(fd, block, SMALL_BLOCK, MSG_DONTWAIT)) > 0)
            sent_bytes += n;
    }
    return server;
}

static const struct {
    const char *name;
    long (*take)(void);
    const char *file; /* to be removed when it is full: others need the memory */
    bool is_shared;   /* the machine counts them for all, in one way or another */
} things[] = {
    {"temporary_space", take_temporary_space, "/tmp/full", false},
    {"shared_memory", take_shared_memory, "/dev/shm/full", false},
    {"descriptors", take_descriptor, NULL, true},
    {"inotify", take_inotify, NULL, true},
    {"terminals", take_terminal, NULL, true},
    {"queues", take_queue, NULL, true},
    {"signals", take_signal, NULL, true},
    {"timers", take_timer, NULL, true},
    {"aio", take_aio, NULL, false},
    {"locked_memory", take_locked_memory, NULL, false},
    {"socket_memory", take_socket_memory, NULL, true},
};
enum { THINGS = sizeof things / sizeof things[0] };

/* A child takes all that there is of a thing, says so, and keeps it. */
static void take_all(int thing, int told)
{
    long count = 0;
    while (things[thing].take() >= 0)
        count++;
    printf("%s %s %ld\n", things[thing].name, strerrorname_np(errno), count);
    fflush(stdout);
    if (things[thing].file)
        unlink(things[thing].file);
    close(told);
    for (;;)
        pause();
}

/* One after the other. */
static int hold(void)
{
    char byte;
    for (int i = 0; i < THINGS; i++) {
        int told[2];
        pid_t pid = pipe(told) < 0 ? -1 : fork();
        if (pid < 0)
            return 1;
        if (pid == 0) {
            close(told[0]);
            take_all(i, told[1]);
        }
        close(told[1]);
        while (read(told[0], &byte, 1) > 0)
            ;
        close(told[0]);
    }
    printf("full\n");
    fflush(stdout);
    while (read(0, &byte, 1) > 0)
        ;
    return 0;
}

static int forks(void)
{
    while (fork() >= 0)
        ;
    printf("forks %s\n", strerrorname_np(errno));
    fflush(stdout);
    for (;;)
        fork();
    return 0;
}

static int sockets(void)
{
    while (take_socket_memory() >= 0)
        ;
    printf("sockets %lld\n", sent_bytes >> 20);
    return 0;
}

static int inodes(void)
{
    for (long i = 0;; i++) {
        char name[64];
        snprintf(name, sizeof name, "/tmp/inode%ld", i);
        int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0) {
            printf("inodes %s %ld\n", strerrorname_np(errno), i);
            return 0;
        }
        close(fd);
    }
}

/* A child uses one of everything that a hog may have taken, and gives it back by its end. */
static const char *use_all(void)
{
    for (int i = 0; i < THINGS; i++)
        if (things[i].is_shared && things[i].take() < 0)
            return things[i].name;
    bool written = append("/tmp/neighbour") == BLOCK && unlink("/tmp/neighbour") == 0;
    return written ? NULL : "temporary_space";
}

static int serve(void)
{
    char byte;
    while (read(0, &byte, 1) > 0) {
        pid_t pid = fork();
        if (pid == 0) {
            const char *missing = use_all();
            printf("%s\n", missing ? missing : "ok");
            exit(0);
        }
        int status;
        if (pid < 0 || waitpid(pid, &status, 0) < 0 || status != 0)
            printf("processes\n");
        fflush(stdout);
    }
    return 0;
}

/* The most that this program may have of each; what is queued stays queued. */
static void prepare(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGNAL);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(void);
    } modes[] = {{"hold", hold},
                 {"forks", forks},
                 {"inodes", inodes},
                 {"sockets", sockets},
                 {"serve", serve}};
    prepare();
    for (size_t i = 0; argc == 2 && i < sizeof modes / sizeof modes[0]; i++)
        if (!strcmp(argv[1], modes[i].name))
            return modes[i].run();
    fprintf(stderr, "usage: attack-hog hold | forks | inodes | sockets | serve\n");
    return 2;
}
