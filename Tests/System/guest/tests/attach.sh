# shellcheck shell=sh disable=SC2154,SC2034,SC2317 # init and this file use each other's names
# attach and detach in the guest, against a node in it. Sourced by init.

serve_many() {
    serve --config /tmp/exports.conf --socket /tmp/nbd.sock --listen 127.0.0.1:10809 --state /tmp/state \
        --control /tmp/control
}

restart() {
    kill -9 "$node"
    wait "$node"
    serve_many
}

# attached DEVICE ARGUMENT...: attach says this device.
attached() {
    wanted=$1
    shift
    must nearblock-attach "$@"
    same "attach $*" "$wanted" "$(cat /tmp/output)"
}

attach() {
    make_disks
    listen
    truncate -s 1048499 /disks/odd.raw
    truncate -s 64M /disks/parts.raw
    # One partition, from sector 2048.
    printf 'o\nn\np\n1\n2048\n\nw\n' | fdisk -b 512 -u /disks/parts.raw > /tmp/fdisk 2>&1
    for name in disk odd parts; do printf '[export %s]\nimage = /disks/%s.raw\n' $name $name; done > /tmp/exports.conf
    serve_many
    attach_refuses
    attach_kinds
    attach_in_use
    attach_keeps
    attach_encrypted
    same "devices left" "" "$(ls /run/nearblock/devices; pidof nbd-keep nbd-client)"
    stop "$node"
}

attach_refuses() {
    refused 2 'neither unix' nearblock-attach disk
    refused 2 'whole path' nearblock-attach unix:nbd.sock:disk
    refused 2 'names no export' nearblock-attach unix:/tmp/nbd.sock
    refused 2 'is 512' nearblock-attach --block-size 513 unix:/tmp/nbd.sock:disk
    refused 2 'go with --keep' nearblock-attach --wait 5 unix:/tmp/nbd.sock:disk
    refused 1 'cannot be had' nearblock-attach unix:/tmp/nbd.sock:nothing
    refused 1 'refused' nearblock-attach 127.0.0.1:10810:disk
    refused 1 'no /dev/nbd99' nearblock-attach --device /dev/nbd99 unix:/tmp/nbd.sock:disk
    refused 2 'none like' nearblock-detach /dev/vda
    must nearblock-detach /dev/nbd0
}

attach_kinds() {
    attached /dev/nbd0 unix:/tmp/nbd.sock:disk
    attached /dev/nbd0 unix:/tmp/nbd.sock:disk
    refused 1 'has /dev/nbd0' nearblock-attach --device /dev/nbd2 unix:/tmp/nbd.sock:disk
    refused 1 'something else' nearblock-attach --device /dev/nbd0 127.0.0.1:10809:odd
    same "block size" 512 "$(cat /sys/block/nbd0/queue/logical_block_size)"
    attached /dev/nbd1 --again --read-only 127.0.0.1:10809:disk
    same "connections" 2 "$(netstat -tn | grep -c '127.0.0.1:10809 *ESTABLISHED')"
    same "read-only" 1 "$(cat /sys/block/nbd1/ro)"
    attached /dev/nbd3 --device /dev/nbd3 --block-size 4096 --connections 1 127.0.0.1:10809:parts
    same "chosen block size" 4096 "$(cat /sys/block/nbd3/queue/logical_block_size)"
    must nearblock-detach /dev/nbd3
    # What was partitioned with sectors of 512 bytes is to be read with these.
    attached /dev/nbd3 --device /dev/nbd3 127.0.0.1:10809:parts
    must nearblock-detach /dev/nbd1
    must nearblock-detach /dev/nbd1
    same "partition" 2048 "$(cat /sys/block/nbd3/nbd3p1/start)"
    must nearblock-attach 127.0.0.1:10809:odd
    if ! grep -q '^/dev/nbd1$' /tmp/output || ! grep -q 'last 435 of 1048499 bytes' /tmp/output; then
        fail "odd: $(cat /tmp/output)"
    fi
    must nearblock-detach /dev/nbd1
}

# nbd0 and a partition of nbd3 are attached.
attach_in_use() {
    must mkfs.ext4 -q -F /dev/nbd0
    must mount -t ext4 /dev/nbd0 /mnt
    refused 1 '/dev/nbd0 is mounted' nearblock-detach /dev/nbd0
    # Where only another process sees it.
    unshare -m sh -c 'echo > /tmp/apart; while [ -e /tmp/apart ]; do sleep 0.1; done' &
    other=$!
    while [ ! -e /tmp/apart ]; do sleep 0.1; done
    must umount /mnt
    refused 1 '/dev/nbd0 is mounted' nearblock-detach /dev/nbd0
    rm /tmp/apart
    wait $other
    exec 7< /dev/nbd0
    refused 1 '/dev/nbd0 is open in process 1 ' nearblock-detach /dev/nbd0
    exec 7<&-
    must mkswap /dev/nbd3p1
    must swapon /dev/nbd3p1
    refused 1 '/dev/nbd3p1 is swapped to' nearblock-detach /dev/nbd3
    must swapoff /dev/nbd3p1
    must nearblock-detach /dev/nbd3
    must nearblock-detach /dev/nbd0
    must e2fsck -f -n /disks/disk.raw
}

attach_keeps() {
    must dd if=/dev/urandom of=/tmp/random bs=1M count=8
    attached /dev/nbd0 --keep --timeout 3 --wait 60 unix:/tmp/nbd.sock:disk
    restart
    must dd if=/tmp/random of=/dev/nbd0 bs=1M conv=fsync
    [ "$(connections_again)" -ge 1 ] || fail "nbd-keep: $(cat /tmp/messages)"
    # A keeper that is gone is started by attaching again, and makes up for what it has missed.
    kill -9 "$(pidof nbd-keep)"
    restart
    attached /dev/nbd0 --keep --timeout 3 --wait 60 unix:/tmp/nbd.sock:disk
    must blockdev --flushbufs /dev/nbd0
    must cmp -n 8388608 /tmp/random /dev/nbd0
    restart
    must blockdev --flushbufs /dev/nbd0
    must cmp -n 8388608 /tmp/random /dev/nbd0
    # It ends with the device, whoever ends that.
    must nbd-client -d /dev/nbd0
    no_keeper() { [ -z "$(pidof nbd-keep)" ]; }
    wait_for no_keeper
    # Of a server that does not come back.
    attached /dev/nbd0 --keep unix:/tmp/nbd.sock:disk
    kill -9 "$node"
    wait "$node"
    must nearblock-detach --force /dev/nbd0
    serve_many
}

attach_encrypted() {
    stop "$node"
    echo '127.0.0.1 nearblock.test' > /etc/hosts
    serve --config /tmp/exports.conf --listen 127.0.0.1:10811 --tls /tls --state /tmp/state --control /tmp/control
    refused 1 'cannot be had' nearblock-attach nearblock.test:10811:disk
    refused 2 'no TLS' nearblock-attach --keep --tls /tls nearblock.test:10811:disk
    attached /dev/nbd0 --tls /tls nearblock.test:10811:disk
    must cmp -n 8388608 /tmp/random /dev/nbd0
    must nearblock-detach /dev/nbd0
}
