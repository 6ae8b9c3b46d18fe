# shellcheck shell=sh disable=SC2154,SC2034,SC2317 # init and this file use each other's names
# Xen's hotplug script in the guest, against nodes in it and a stand-in for Xen's store. Sourced by init.

script=/etc/xen/scripts/block-nearblock

# domain NUMBER MACHINE MODE TARGET: what the toolstack writes before it runs the script.
domain() {
    must xenstore-write "/local/domain/$1/vm" "/vm/$2" "backend/vbd/$1/51712/mode" "$3" "backend/vbd/$1/51712/params" "$4"
}

# hotplug add|remove NUMBER: as the toolstack runs it.
hotplug() { XENBUS_PATH=backend/vbd/$2/51712 $script "$1" > /tmp/output 2>&1; }

hotplug_fails() {
    hotplug "$1" "$2" && fail "$1 of domain $2 does not fail"
    same "status of domain $2" error "$(of_domain "$2" hotplug-status)"
    of_domain "$2" hotplug-error | grep -q "$3" || fail "the error of domain $2: $(of_domain "$2" hotplug-error)"
}

hotplug_works() { hotplug "$1" "$2" || fail "$1 of domain $2: $(cat /tmp/output)"; }

of_domain() { xenstore-read "backend/vbd/$1/51712/$2"; }

# has_disk NUMBER DEVICE MAJOR:MINOR
has_disk() {
    same "status of domain $1" connected "$(of_domain "$1" hotplug-status)"
    same "device of domain $1" "$2 $3" "$(of_domain "$1" physical-device-path) $(of_domain "$1" physical-device)"
}

xen() {
    make_disks
    listen
    mkdir -p /etc/xen/scripts
    ln -s /usr/local/lib/nearblock/block-nearblock $script
    serve_here
    xen_shares
    xen_fails
    xen_migrates
    same "devices left" "" "$(ls /run/nearblock/devices; pidof nbd-keep nbd-client)"
}

serve_here() {
    serve /disks/disk.raw --export disk --socket /tmp/here.sock --state /tmp/here --control /tmp/here-control
    here=$node
}

xen_shares() {
    domain 5 web w unix:/tmp/here.sock:disk
    hotplug_works add 5
    has_disk 5 /dev/nbd0 2b:0
    hotplug_works add 5
    has_disk 5 /dev/nbd0 2b:0
    domain 6 other r unix:/tmp/here.sock:disk
    hotplug_fails add 6 'in use by domain 5'
    # The same machine, on its way from one domain to another on this host.
    domain 7 web w unix:/tmp/here.sock:disk
    hotplug_works add 7
    has_disk 7 /dev/nbd1 2b:20
    hotplug_works remove 5
    hotplug_works remove 5
    of_domain 5 physical-device && fail "domain 5 still has its device"
    must mkfs.ext4 -q -F /dev/nbd1
    must mount -t ext4 /dev/nbd1 /mnt
    # Two seconds, as the back end may only be slow.
    hotplug_fails remove 7 'is mounted'
    must umount /mnt
    hotplug_works remove 7
    # Two that only read.
    hotplug_works add 6
    domain 8 third r unix:/tmp/here.sock:disk
    hotplug_works add 8
    has_disk 8 /dev/nbd1 2b:20
    same "read-only" 1 "$(cat /sys/block/nbd1/ro)"
    hotplug_works remove 6
    hotplug_works remove 8
}

xen_fails() {
    domain 9 web w nonsense
    hotplug_fails add 9 'neither unix'
    domain 9 web w unix:/tmp/nowhere.sock:disk
    hotplug_fails add 9 'cannot be had'
    refused 2 'neither add nor remove' env XENBUS_PATH=backend/vbd/9/51712 $script online
    refused 2 'XENBUS_PATH' $script add
}

# A domain migrates to another host, of which the node is here too: the disk is attached there while the domain still
# writes here, and switched over with the first write there.
xen_migrates() {
    serve --peer-listen 127.0.0.1:7000 --images /disks/there --socket /tmp/there.sock --state /tmp/there \
        --control /tmp/there-control
    there=$node
    domain 10 moved w unix:/tmp/here.sock:disk
    hotplug_works add 10
    must nearblock migrate disk --to 127.0.0.1:7000 --switch first-write --detach --control /tmp/here-control
    answers() { [ "$(state there)" = incoming ]; }
    wait_for answers
    domain 11 moved w unix:/tmp/there.sock:disk
    hotplug_works add 11
    has_disk 11 /dev/nbd1 2b:20
    must dd if=/dev/urandom of=/tmp/random bs=1M count=4
    must dd if=/tmp/random of=/dev/nbd0 bs=1M conv=fsync
    same "state before the first write" incoming "$(state there)"
    # The domain would not notice.
    kill -9 "$here"
    wait "$here"
    serve_here
    must cmp -n 4194304 /tmp/random /dev/nbd1
    must dd if=/tmp/random of=/dev/nbd1 bs=1M seek=32 conv=fsync
    [ "$(state there)" != incoming ] || fail "the first write has not switched the disk over"
    hotplug_works remove 10
    # Until the destination needs nothing more from here.
    has_let_go() { state here | grep -qxE 'moved|released'; }
    wait_for has_let_go
    stop "$here"
    must blockdev --flushbufs /dev/nbd1
    must cmp -n 4194304 /tmp/random /dev/nbd1
    hotplug_works remove 11
    stop "$there"
}

# state here|there: of the disk at that node.
state() {
    nearblock status --json --control "/tmp/$1-control" | sed -n 's/.*"state" *: *"\([^"]*\).*/\1/p' | head -n 1
}
