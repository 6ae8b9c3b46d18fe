// What the kernel's copies cost by where the memory lies: nanoseconds of one pread of cached bytes to an address, of a preadv2
// that reads up to the next multiple of 64 first, of one send from the address through a Unix socket, and of the recv that
// takes the bytes to it, by the address's offset within its page.
//
//   copies IMAGE [BYTES]

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 10000, REPEATS = 5, STEPS = 4 };

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static ssize_t readInParts(int image, char *to, size_t count, off_t offset) {
    size_t first = -(uintptr_t)to % 64;
    struct iovec parts[2] = {{to, first}, {to + first, count - first}};
    return preadv2(image, first ? parts : parts + 1, first ? 2 : 1, offset, RWF_NOWAIT);
}

int main(int argc, char **argv) {
    static const int offsets[] = {0,   4,   8,   12,  16,  20,   28,   32,   40,   48,   56,   60,   64,   80,   96,
                                  112, 128, 192, 256, 384, 512, 1024, 1536, 2048, 2060, 2064, 2076, 3072, 4032, 4080};
    if (argc < 2) return 2;
    size_t count = argc > 2 ? (size_t)atoi(argv[2]) : 4096;
    int image = open(argv[1], O_RDONLY), pair[2];
    char *memory = aligned_alloc(4096, count + 8192), *target = aligned_alloc(4096, count + 8192);
    if (image < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair)) return perror(argv[1]), 1;
    printf("| offset | pread ns | in two parts ns | send ns | recv ns |\n| ---: | ---: | ---: | ---: | ---: |\n");
    for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
        double best[STEPS] = {1e18, 1e18, 1e18, 1e18};
        for (int repeat = 0; repeat < REPEATS; repeat++) {
            double spent[STEPS] = {0};
            char *from = memory + offsets[i], *to = target + offsets[i];
            for (int round = 0; round < ROUNDS; round++) {
                off_t where = (off_t)count * (round % 64);
                double a = now();
                if (pread(image, from, count, where) != (ssize_t)count) return 1;
                double b = now();
                if (readInParts(image, from, count, where) != (ssize_t)count) return 1;
                double c = now();
                if (send(pair[0], from, count, 0) != (ssize_t)count) return 1;
                double d = now();
                if (recv(pair[1], to, count, MSG_WAITALL) != (ssize_t)count) return 1;
                double e = now();
                spent[0] += b - a, spent[1] += c - b, spent[2] += d - c, spent[3] += e - d;
            }
            for (int k = 0; k < STEPS; k++) best[k] = spent[k] / ROUNDS < best[k] ? spent[k] / ROUNDS : best[k];
        }
        printf("| %d | %.0f | %.0f | %.0f | %.0f |\n", offsets[i], best[0], best[1], best[2], best[3]);
    }
}
