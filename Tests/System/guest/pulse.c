// pulse FILE DEVICE
//
// Tells from outside when a guest stands still: every 10 ms a `t` goes to DEVICE, a serial port, and from a second process
// a `w` after each write of 4 KiB to FILE that is durable.
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096 };

static void beat(int device, char word, int file) {
    static char page[PAGE] __attribute__((aligned(PAGE)));
    const struct timespec pause = {.tv_nsec = 10000000};
    for (;;) {
        if (file >= 0) {
            page[0]++;
            if (pwrite(file, page, sizeof page, 0) != sizeof page) err(1, "write");
        }
        if (write(device, &word, 1) != 1) err(1, "say %c", word);
        nanosleep(&pause, NULL);
    }
}

int main(int count, char **arguments) {
    if (count != 3) errx(2, "usage: pulse FILE DEVICE");
    int file = open(arguments[1], O_RDWR | O_CREAT | O_DIRECT | O_DSYNC, 0600);
    if (file < 0) err(1, "%s", arguments[1]);
    int device = open(arguments[2], O_WRONLY | O_NOCTTY);
    if (device < 0) err(1, "%s", arguments[2]);
    pid_t child = fork();
    if (child < 0) err(1, "fork");
    beat(device, child ? 't' : 'w', child ? -1 : file);
}
