// nbd-keep ADDRESS PORT EXPORT DEVICE-NUMBER
//
// Keeps /dev/nbdN, which nbd-client has attached by netlink, attached while its server comes and goes: what "nbd-client
// -persist" is for, and what no released nbd-client does. It gives requests time to wait for a connection, listens for
// the kernel's word that one has died, makes another and hands it over. Ends when it is killed.
//
// Sources: linux/nbd-netlink.h, linux/genetlink.h; the kernel's drivers/block/nbd.c, nbd_genl_reconfigure.

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <linux/genetlink.h>
#include <linux/nbd-netlink.h>
#include <linux/netlink.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

// Seconds: a request that was lost with a connection is sent again after the one, and fails without any connection
// after the other.
enum { RESEND = 3, PATIENCE = 60 };

struct message {
    struct nlmsghdr head;
    struct genlmsghdr command;
    char attributes[4096];
};

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

// Adds an attribute and returns it.
static struct nlattr *add(struct message *message, int type, const void *data, int count)
{
    struct nlattr *attribute = (void *)((char *)message + NLMSG_ALIGN(message->head.nlmsg_len));
    attribute->nla_type = type;
    attribute->nla_len = NLA_HDRLEN + count;
    if (count > 0) memcpy((char *)attribute + NLA_HDRLEN, data, count);
    message->head.nlmsg_len = (char *)attribute - (char *)message + NLA_ALIGN(attribute->nla_len);
    return attribute;
}

// Closes one that holds those added since.
static void close_nest(struct message *message, struct nlattr *nest)
{
    nest->nla_type |= NLA_F_NESTED;
    nest->nla_len = (char *)message + message->head.nlmsg_len - (char *)nest;
}

static void begin(struct message *message, int family, int command)
{
    memset(message, 0, sizeof *message);
    message->head.nlmsg_len = NLMSG_LENGTH(GENL_HDRLEN);
    message->head.nlmsg_type = family;
    message->head.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    message->command.cmd = command;
    message->command.version = 1;
}

static const struct nlattr *find(const void *first, int count, int type)
{
    const char *at = first, *end = at + count;
    while (at + NLA_HDRLEN <= end) {
        const struct nlattr *attribute = (const void *)at;
        if (attribute->nla_len < NLA_HDRLEN) break;
        if ((attribute->nla_type & NLA_TYPE_MASK) == type) return attribute;
        at += NLA_ALIGN(attribute->nla_len);
    }
    return NULL;
}

static const void *payload(const struct nlattr *attribute) { return (const char *)attribute + NLA_HDRLEN; }

static const struct nlattr *find_in(const struct message *message, int type)
{
    int count = message->head.nlmsg_len - NLMSG_LENGTH(GENL_HDRLEN);
    return find(message->attributes, count, type);
}

// Sends, and returns what the kernel says of it: 0 or a negated errno. A reply with data is left in ANSWER.
static int ask(int netlink, struct message *message, struct message *answer)
{
    struct message heard;
    if (send(netlink, message, message->head.nlmsg_len, 0) < 0) fail("send to the kernel");
    for (;;) {
        if (recv(netlink, &heard, sizeof heard, 0) < 0) fail("receive from the kernel");
        if (heard.head.nlmsg_type == NLMSG_ERROR) return ((struct nlmsgerr *)&heard.command)->error;
        if (answer) *answer = heard;
    }
}

static int open_netlink(void)
{
    struct sockaddr_nl name = {.nl_family = AF_NETLINK};
    int netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
    if (netlink < 0 || bind(netlink, (void *)&name, sizeof name) < 0) fail("netlink");
    return netlink;
}

// Finds the driver's family, and the group that is told of dead connections.
static void find_driver(int netlink, int *family, int *group)
{
    struct message message, answer;
    const struct nlattr *found, *groups;
    begin(&message, GENL_ID_CTRL, CTRL_CMD_GETFAMILY);
    add(&message, CTRL_ATTR_FAMILY_NAME, NBD_GENL_FAMILY_NAME, sizeof NBD_GENL_FAMILY_NAME);
    if (ask(netlink, &message, &answer) != 0) fail("no nbd driver");
    found = find_in(&answer, CTRL_ATTR_FAMILY_ID);
    groups = find_in(&answer, CTRL_ATTR_MCAST_GROUPS);
    if (!found || !groups) fail("a strange nbd driver");
    *family = *(const uint16_t *)payload(found);
    // There is one group.
    groups = payload(groups);
    found = find(payload(groups), groups->nla_len - NLA_HDRLEN, CTRL_ATTR_MCAST_GRP_ID);
    if (!found) fail("a strange group");
    *group = *(const uint32_t *)payload(found);
}

static int take(int server, void *bytes, int count) { return recv(server, bytes, count, MSG_WAITALL) == count; }

// A connection that has chosen the export; -1 where there is none to be had now.
static int connect_server(const char *address, int port, const char *export)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct { uint32_t flags; uint64_t magic; uint32_t option, length; } __attribute__((packed)) choice = {
        htonl(3), htobe64(0x49484156454f5054), htonl(1), htonl(strlen(export))};
    char greeting[18], answer[10];
    struct timeval limit = {.tv_sec = 5};
    int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(server, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (inet_pton(AF_INET, address, &name.sin_addr) != 1) fail(address);
    if (connect(server, (void *)&name, sizeof name) == 0 && take(server, greeting, sizeof greeting) &&
        send(server, &choice, sizeof choice, MSG_NOSIGNAL) > 0 &&
        send(server, export, strlen(export), MSG_NOSIGNAL) >= 0 && take(server, answer, sizeof answer))
        return server;
    close(server);
    return -1;
}

static void begin_reconfigure(struct message *message, int family, uint32_t device)
{
    begin(message, family, NBD_CMD_RECONFIGURE);
    add(message, NBD_ATTR_INDEX, &device, sizeof device);
}

static void be_patient(int netlink, int family, uint32_t device)
{
    struct message message;
    uint64_t resend = RESEND, patience = PATIENCE;
    begin_reconfigure(&message, family, device);
    add(&message, NBD_ATTR_TIMEOUT, &resend, sizeof resend);
    add(&message, NBD_ATTR_DEAD_CONN_TIMEOUT, &patience, sizeof patience);
    if (ask(netlink, &message, NULL) != 0) fail("the device is not attached by netlink");
}

static int hand_over(int netlink, int family, uint32_t device, int server)
{
    struct message message;
    struct nlattr *sockets, *item;
    uint32_t descriptor = server;
    begin_reconfigure(&message, family, device);
    sockets = add(&message, NBD_ATTR_SOCKETS, NULL, 0);
    item = add(&message, NBD_SOCK_ITEM, NULL, 0);
    add(&message, NBD_SOCK_FD, &descriptor, sizeof descriptor);
    close_nest(&message, item);
    close_nest(&message, sockets);
    return ask(netlink, &message, NULL);
}

int main(int count, char **arguments)
{
    int netlink = open_netlink(), events = open_netlink(), family, group;
    uint32_t device;
    if (count != 5) {
        fprintf(stderr, "nbd-keep ADDRESS PORT EXPORT DEVICE-NUMBER\n");
        return 2;
    }
    device = atoi(arguments[4]);
    find_driver(netlink, &family, &group);
    if (setsockopt(events, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) < 0) fail("membership");
    be_patient(netlink, family, device);
    printf("keeping\n");
    fflush(stdout);
    for (;;) {
        struct message event;
        const struct nlattr *which;
        int server, error;
        if (recv(events, &event, sizeof event, 0) < 0) fail("receive from the kernel");
        which = find_in(&event, NBD_ATTR_INDEX);
        if (event.command.cmd != NBD_CMD_LINK_DEAD || !which || *(const uint32_t *)payload(which) != device) continue;
        while ((server = connect_server(arguments[1], atoi(arguments[2]), arguments[3])) < 0) usleep(200000);
        // The word may come before the deed: then there is no place yet for another connection.
        for (int tries = 0; (error = hand_over(netlink, family, device, server)) == -ENOSPC && tries < 20; tries++)
            usleep(100000);
        close(server);
        printf("connected again: %s\n", strerror(-error));
        fflush(stdout);
    }
}
