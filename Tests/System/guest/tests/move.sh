# shellcheck shell=sh disable=SC2154,SC2034,SC2317 # init and this file use each other's names
# A file system that is busy on a device while its storage moves to another node. Sourced by init.

move() {
    network
    listen
    must nearblock-attach --keep --timeout 3 "$address:$port:disk"
    must mount -t ext4 /dev/nbd0 /mnt
    must dd if=/dev/urandom of=/tmp/random bs=1M count=8
    say "random $(sha256sum < /tmp/random)"
    say "running"
    verify /mnt/file 24m
    must cp /tmp/random /mnt/random
    must umount /mnt
    must mount -t ext4 /dev/nbd0 /mnt
    # What was there before, and what came during it.
    must cmp /tmp/random /mnt/random
    for name in old file; do say "$name $(sha256sum < /mnt/$name)"; done
    must umount /mnt
    must e2fsck -f -n /dev/nbd0
    [ "$(connections_again)" -ge 2 ] || fail "nbd-keep: $(cat /tmp/messages)"
    must nearblock-detach /dev/nbd0
}
