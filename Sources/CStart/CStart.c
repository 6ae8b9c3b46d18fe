#define _GNU_SOURCE
#include "CStart.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static int closed;

// The kernel gives out the lowest free number. Without this, a disk image or a client's socket could get the number of
// standard error, and messages would be written into it.
static void open_standard_descriptors(void) {
    for (int descriptor = 0; descriptor <= 2; descriptor++) {
        if (fcntl(descriptor, F_GETFD) >= 0 || errno != EBADF) continue;
        int opened = open("/dev/null", O_RDWR);
        // Some chroots have no /dev; the number must still not go to another file.
        if (opened < 0) opened = open("/", O_PATH);
        if (opened != descriptor) _exit(1);
        closed |= 1 << descriptor;
    }
}

int start_was_closed(int descriptor) { return closed >> descriptor & 1; }

// .preinit_array runs before the constructors of all libraries; GnuTLS's opens descriptors of its own.
__attribute__((section(".preinit_array"), used)) static void (*const begin)(void) = open_standard_descriptors;
