// relay NAMESPACE-A NAMESPACE-B RATE DELAY LOSS QUEUE
//
// A WAN between two network namespaces: a TUN device `wan0` in each, and between them, each way, a bounded queue, a line
// of RATE bits a second and DELAY microseconds, and LOSS, the share of packets that get lost. QUEUE is in bytes; what
// finds it full is dropped. Says "ready" once both devices are there and ends with its standard input, where a `c` cuts the
// line, so that everything on it is lost and nobody is told, and an `m` mends it.
//
// Without loss the devices take segmented TCP as one packet (IFF_VNET_HDR and TSO), which is what makes 1 Gbit/s cheap;
// on the line it counts as the segments that it stands for.
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { MAX_PACKET = 70000 };

static atomic_bool is_cut;

struct packet {
    struct packet *next;
    int64_t due;
    size_t length;
    unsigned char bytes[];
};

struct direction {
    int from, to;
    double rate;
    int64_t delay;
    double loss;
    double queue;
    unsigned seed;
    pthread_mutex_t lock;
    pthread_cond_t filled;
    struct packet *first, **last;
};

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static int open_device(const char *namespace, int offload) {
    char path[256];
    snprintf(path, sizeof path, "/run/netns/%s", namespace);
    int handle = open(path, O_RDONLY | O_CLOEXEC);
    if (handle < 0) err(1, "%s", path);
    if (setns(handle, CLONE_NEWNET)) err(1, "enter %s", namespace);
    close(handle);
    int device = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    if (device < 0) err(1, "/dev/net/tun");
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR};
    strcpy(request.ifr_name, "wan0");
    if (ioctl(device, TUNSETIFF, &request)) err(1, "make wan0 in %s", namespace);
    int size = sizeof(struct virtio_net_hdr);
    if (ioctl(device, TUNSETVNETHDRSZ, &size)) err(1, "TUNSETVNETHDRSZ");
    if (offload && ioctl(device, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4)) err(1, "TUNSETOFFLOAD");
    return device;
}

// What a packet takes on the line: one that stands for several segments has their headers too.
static double wire_bytes(const unsigned char *bytes, size_t length) {
    struct virtio_net_hdr header;
    memcpy(&header, bytes, sizeof header);
    double count = length - sizeof header;
    if (header.gso_type != VIRTIO_NET_HDR_GSO_NONE && header.gso_size > 0) {
        size_t segments = (length - sizeof header - header.hdr_len + header.gso_size - 1) / header.gso_size;
        if (segments > 1) count += (segments - 1) * (double)header.hdr_len;
    }
    return count;
}

static void *take(void *argument) {
    struct direction *line = argument;
    static __thread unsigned char bytes[MAX_PACKET];
    int64_t free_at = 0;
    for (;;) {
        ssize_t length = read(line->from, bytes, sizeof bytes);
        if (length < (ssize_t)sizeof(struct virtio_net_hdr)) err(1, "read from wan0");
        int64_t time = now();
        if (free_at < time) free_at = time;
        double size = wire_bytes(bytes, length);
        if ((free_at - time) * line->rate / 8e9 + size > line->queue) continue;
        free_at += (int64_t)(size * 8e9 / line->rate);
        if (is_cut) continue;
        if (line->loss > 0 && rand_r(&line->seed) < line->loss * RAND_MAX) continue;
        struct packet *packet = malloc(sizeof *packet + length);
        if (!packet) err(1, "malloc");
        packet->next = NULL;
        packet->due = free_at + line->delay;
        packet->length = length;
        memcpy(packet->bytes, bytes, length);
        pthread_mutex_lock(&line->lock);
        *line->last = packet;
        line->last = &packet->next;
        pthread_cond_signal(&line->filled);
        pthread_mutex_unlock(&line->lock);
    }
    return NULL;
}

static void *deliver(void *argument) {
    struct direction *line = argument;
    for (;;) {
        pthread_mutex_lock(&line->lock);
        while (!line->first) pthread_cond_wait(&line->filled, &line->lock);
        struct packet *packet = line->first;
        line->first = packet->next;
        if (!line->first) line->last = &line->first;
        pthread_mutex_unlock(&line->lock);
        struct timespec due = {packet->due / 1000000000, packet->due % 1000000000};
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL)) {
        }
        // A device that is down loses it, as a cable would.
        if (write(line->to, packet->bytes, packet->length) < 0) {
        }
        free(packet);
    }
    return NULL;
}

static void start(struct direction *line) {
    pthread_t thread;
    pthread_mutex_init(&line->lock, NULL);
    pthread_cond_init(&line->filled, NULL);
    line->last = &line->first;
    if (pthread_create(&thread, NULL, take, line) || pthread_create(&thread, NULL, deliver, line))
        errx(1, "no thread");
}

int main(int count, char **arguments) {
    if (count != 7) errx(2, "usage: relay NAMESPACE-A NAMESPACE-B RATE DELAY LOSS QUEUE");
    double loss = atof(arguments[5]);
    int a = open_device(arguments[1], loss == 0), b = open_device(arguments[2], loss == 0);
    struct direction line = {
        .rate = atof(arguments[3]), .delay = atoll(arguments[4]) * 1000, .loss = loss, .queue = atof(arguments[6])};
    struct direction there = line, back = line;
    there.from = back.to = a;
    there.to = back.from = b;
    there.seed = 1;
    back.seed = 2;
    start(&there);
    start(&back);
    puts("ready");
    fflush(stdout);
    char byte;
    while (read(0, &byte, 1) > 0) {
        if (byte == 'c') is_cut = true;
        if (byte == 'm') is_cut = false;
    }
    return 0;
}
