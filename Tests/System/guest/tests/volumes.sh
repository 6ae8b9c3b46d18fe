# shellcheck shell=sh disable=SC2154,SC2034,SC2317 # init and this file use each other's names
# LVM's volumes, whose device numbers are others after each start. Part of init.

lvm_quietly() { must lvm "$@" --config 'activation { udev_sync = 0 udev_rules = 0 }'; }

# filled BYTE: as much of it as a volume holds; of "a" what takes a while to move.
filled() {
    case $1 in
        a) cat /disks/random ;;
        *) head -c 8388608 /dev/zero | tr '\000' "$1" ;;
    esac
}

# holds WHAT BYTE FILE
holds() { filled "$2" | cmp -s - "$3" || fail "$1 does not hold $2 all over"; }

# read_export NAME BYTE
read_export() {
    connect "$1"
    holds "export $1" "$2" /dev/nbd0
    disconnect
}

write_export() {
    connect "$1"
    filled "$2" | must dd of=/dev/nbd0 bs=64k iflag=fullblock conv=fsync
    disconnect
}

# Activates the volumes in another order, so that each has the other's number.
swap_numbers() {
    lvm_quietly vgchange -an vg
    lvm_quietly lvchange -ay vg/b
    lvm_quietly lvchange -ay vg/a
    same "dm-0" vg-b "$(cat /sys/block/dm-0/dm/name)"
}

volumes() {
    ip link set lo up
    address=127.0.0.1 port=10809 options=
    mkdir -p /disks /run/lock/lvm
    must mount -t tmpfs -o size=200m disks /disks
    head -c 8388608 /dev/urandom > /disks/random
    lvm_quietly pvcreate /dev/vda
    lvm_quietly vgcreate vg /dev/vda
    for name in a b; do
        lvm_quietly lvcreate -Wn -Zn -L 8M -n $name vg
        filled $name | must dd of=/dev/mapper/vg-$name bs=64k iflag=fullblock
    done
    same "dm-0" vg-a "$(cat /sys/block/dm-0/dm/name)"
    printf '[export one]\nimage = /dev/dm-0\n[export two]\nimage = /dev/dm-1\n' > /tmp/nodes.conf
    serve --peer-listen 127.0.0.1:7000 --images /disks/there --socket /tmp/there.sock --state /tmp/there \
        --control /tmp/there.control
    there=$node
    set -- --config /tmp/nodes.conf --listen 127.0.0.1:10809 --state /tmp/state --control /tmp/control
    serve "$@"

    # Killed in the middle of a's migration: the numbers are swapped, and a's goes on.
    must nearblock migrate one --to 127.0.0.1:7000 --rate 100K --detach --control /tmp/control
    sleep 2
    kill -9 "$node"
    swap_numbers
    serve "$@"
    wait_for resumed two
    wait_for holds_there two a
    read_export one b

    # Moved, and swapped back at the next start.
    kill -9 "$node"
    lvm_quietly vgchange -an vg
    lvm_quietly lvchange -ay vg/a
    lvm_quietly lvchange -ay vg/b
    serve "$@"
    read_export two b
    write_export one A
    write_export two B
    holds "the destination" A /disks/there/two.raw
    holds "a's volume" a /dev/mapper/vg-a
    holds "b's volume" B /dev/mapper/vg-b

    # Another volume in its place, and a itself nowhere: nobody guesses.
    kill -9 "$node"
    lvm_quietly vgchange -an vg
    lvm_quietly lvchange -ay vg/b
    printf '[export one]\nimage = /dev/dm-0\n[export three]\nimage = /disks/there/two.raw\nread-only = true\n' > /tmp/nodes.conf
    serve "$@"
    must nearblock status --control /tmp/control
    { grep -q '^one .*held back' /tmp/output && grep -q 'nearblock record adopt /dev/dm-0' /tmp/output; } || fail "status: $(cat /tmp/output)"
    must nearblock record disown /dev/dm-0 --state /tmp/state
    kill -HUP "$node"
    wait_for offered one
    read_export one B
    stop "$node"
    stop "$there"
}

# As soon as the migration is there again, nothing slows it any more.
resumed() { nearblock rate "$1" --control /tmp/control 2> /dev/null; }

offered() { nearblock status --control /tmp/control | grep -q "^$1 .*serving"; }

holds_there() { filled "$2" | cmp -s - "/disks/there/$1.raw"; }
