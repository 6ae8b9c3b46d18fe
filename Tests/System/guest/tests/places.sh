# shellcheck shell=sh disable=SC2154,SC2034,SC2317 # init and this file use each other's names
# LVM's volumes and thin volumes as places of disks that arrive: nbd-scripts/targets. Part of init.

configure_lvm() {
    mkdir -p /run/lock/lvm /etc/lvm
    cat > /etc/lvm/lvm.conf <<'END'
activation { udev_sync = 0 udev_rules = 0 }
global { thin_check_executable = "" }
END
}

# thin_bytes: what the thin pool holds.
thin_bytes() {
    lvs --noheadings --units b --nosuffix -o lv_size,data_percent vg/pool | awk '{ printf "%d", $1 * $2 / 100 }'
}

gone() { ! lvs "vg/$1" > /dev/null 2>&1; }

copying() { nearblock status --control /tmp/control | grep -q "^$1 .*copying"; }

# disk NAME: 16 MiB, of which 4 MiB are data, in runs of 1 MiB.
disk() {
    truncate -s 16777216 "/disks/$1.raw"
    for place in 1 5 6 14; do
        must dd if=/dev/urandom of="/disks/$1.raw" bs=1048576 count=1 seek=$place conv=notrunc
    done
}

places() {
    ip link set lo up
    mkdir -p /disks
    configure_lvm
    must mount -t tmpfs -o size=200m disks /disks
    # Everything that a volume can get holds old bytes.
    dd if=/dev/urandom of=/dev/vda bs=1048576 2> /dev/null
    must pvcreate /dev/vda
    must vgcreate vg /dev/vda
    must lvcreate --yes --zero n --wipesignatures n --size 24M --chunksize 64k --thinpool pool vg
    for name in thick thin large; do disk $name; done
    must dd if=/dev/urandom of=/disks/large.raw bs=1048576 count=30
    : > /tmp/nodes.conf
    for name in thick thin large; do printf '[export %s]\nimage = /disks/%s.raw\n' $name $name >> /tmp/nodes.conf; done
    scripts=/nbd-scripts/targets
    cat > /tmp/there.conf <<END
[node]
prepare = $scripts/lvm --group vg --prefix nb- prepare
release = $scripts/lvm --group vg --prefix nb- release
[domain thin]
prepare = $scripts/lvm-thin --pool vg/pool prepare
release = $scripts/lvm-thin --pool vg/pool release
END
    there() {
        serve --config /tmp/there.conf --peer-listen 127.0.0.1:7000 --images /disks/there --socket /tmp/there.sock \
            --state /tmp/there --control /tmp/there.control
        there=$node
    }
    there
    serve --config /tmp/nodes.conf --socket /tmp/here.sock --state /tmp/state --control /tmp/control
    here=$node

    # Refused by the script, before anything is sent.
    refused 5 'pool vg/pool has .* bytes free, and large needs' \
        nearblock migrate large --to 127.0.0.1:7000 --domain thin --control /tmp/control
    gone large || fail "a refused volume is there"
    must lvcreate --yes --wipesignatures n --zero n --size 16M --name nb-thick vg
    refused 5 'vg/nb-thick exists already' nearblock migrate thick --to 127.0.0.1:7000 --control /tmp/control
    gone nb-thick && fail "a volume was removed that was there before"
    must lvremove --yes vg/nb-thick

    # Cancelled, and made anew.
    must nearblock migrate thin --to 127.0.0.1:7000 --domain thin --rate 1M --detach --control /tmp/control
    wait_for copying thin
    gone thin && fail "no thin volume is there"
    must nearblock cancel thin --control /tmp/control
    wait_for gone thin
    same "the empty pool" 0 "$(thin_bytes)"

    # Old bytes are gone, and zeros take no room.
    must nearblock migrate thin --to 127.0.0.1:7000 --domain thin --control /tmp/control
    must cmp -n 16777216 /disks/thin.raw /dev/vg/thin
    [ "$(thin_bytes)" -le 4278190 ] || fail "4 MiB of data take $(thin_bytes) bytes of the pool"
    must nearblock migrate thick --to 127.0.0.1:7000 --switch now --control /tmp/control
    must cmp -n 16777216 /disks/thick.raw /dev/vg/nb-thick

    # Found again by a node that was killed, on a host that has started again.
    kill -9 "$there"
    must vgchange -an vg
    must vgchange -ay vg
    there
    for name in thick thin; do
        must nbdinfo --size "nbd+unix:///$name?socket=/tmp/there.sock"
        same "the size of $name" 16777216 "$(cat /tmp/output)"
    done
    stop "$here"
    stop "$there"
}
