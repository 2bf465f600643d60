/* Loaded into a process before its C library (LD_PRELOAD): its wall clock is off by what a file says, and each
 * fsync of an append-only file is written down, so that a test can cut the file back to what was on the disk.
 *
 *   FAULT_CLOCK   a file with the seconds by which the wall clock is off; read again at every look at the clock
 *   FAULT_FSYNC   a file to which "INODE SIZE\n" is appended after each fsync or fdatasync
 *
 * Monotonic clocks stay right, as they do when an operator sets the time.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long offset(void) {
    static const char *path;
    char text[32] = "";
    if (!path && !(path = getenv("FAULT_CLOCK"))) path = "";
    if (!*path) return 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    if (read(fd, text, sizeof text - 1) < 0) text[0] = 0;
    close(fd);
    return atol(text);
}

static long now(int clock, struct timespec *at) {
    long answer = syscall(SYS_clock_gettime, clock, at);
    if (!answer && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) at->tv_sec += offset();
    return answer;
}

int clock_gettime(clockid_t clock, struct timespec *at) { return (int)now((int)clock, at); }

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    struct timespec precise;
    (void)zone;
    now(CLOCK_REALTIME, &precise);
    at->tv_sec = precise.tv_sec;
    at->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at) {
    struct timespec precise;
    now(CLOCK_REALTIME, &precise);
    if (at) *at = precise.tv_sec;
    return precise.tv_sec;
}

static int synced(const char *name, int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    const char *path = getenv("FAULT_FSYNC");
    struct stat before;
    int known = path && !fstat(fd, &before); /* before: what is written meanwhile may not be on the disk */
    int answer = real(fd);
    if (known && !answer) {
        char line[64];
        int length = snprintf(line, sizeof line, "%lu %ld\n", (unsigned long)before.st_ino, (long)before.st_size);
        int log = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
        if (log >= 0) {
            if (write(log, line, (size_t)length) < 0) { /* then this fsync counts for nothing */ }
            close(log);
        }
    }
    return answer;
}

int fsync(int fd) { return synced("fsync", fd); }
int fdatasync(int fd) { return synced("fdatasync", fd); }
