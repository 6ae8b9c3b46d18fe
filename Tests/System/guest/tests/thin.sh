# shellcheck shell=sh disable=SC2154,SC2034,SC2317 # init and this file use each other's names
# Disks that move from thin volumes to thin volumes while nodes are killed. Part of init.

volume_bytes=25165824

# chance LIMIT: the next number below LIMIT of the run's seed, as $drawn.
chance() {
    seed=$(((seed * 1103515245 + 12345) % 2147483648))
    drawn=$((seed / 65536 % $1))
}

here() {
    serve --config /tmp/nodes.conf --socket /tmp/here.sock --listen 127.0.0.1:10809 --state "/tmp/state$1" --control /tmp/control
    here=$node
}

there() {
    serve --config /tmp/there.conf --peer-listen 127.0.0.1:7000 --images /tmp/images --socket /tmp/there.sock \
        --state "/tmp/there$1" --control /tmp/there.control
    there=$node
}

# The guest of the disk: it repeats nothing, so its node lives on.
write_and_verify() {
    fio --name=verify --ioengine=nbd --uri="nbd+unix:///disk?socket=/tmp/here.sock" --rw=randrw --bs=4k --iodepth=4 --size=4M \
        --offset=8M --rate=,1M --fsync=50 --verify=crc32c --verify_backlog=64 --verify_fatal=1 --verify_state_save=0 \
        --time_based --runtime=20 > /tmp/fio 2>&1
}

# harm ROUND NODES: kills a node a few times; of both, where NODES is 2.
harm() {
    chance 3
    for _ in $(seq $((drawn + 2))); do
        chance 150
        sleep "$((drawn / 100)).$((drawn / 10 % 10))"
        chance "$2"
        if [ "$drawn" -eq 0 ]; then
            kill -9 "$there"
            there "$1"
        else
            kill -9 "$here"
            here "$1"
        fi
    done
}

# A migration that fails before the destination takes the disk is not tried again.
is_taken() { nearblock status --control /tmp/control | grep -q '^disk .*\(copying\|ready\|switch\|moved\|released\)'; }

wait_until_moved() {
    for _ in $(seq 120); do
        has_arrived && return
        sleep 1
    done
    for control in control there.control; do
        nearblock status --control /tmp/$control 2>&1 | sed 's/^/GUEST: | /'
    done
    sed 's/^/GUEST: | /' /tmp/nearblock
    fail "the disk does not arrive"
}

has_arrived() {
    nearblock status --control /tmp/control | grep -q '^disk .*\(moved\|released\)' &&
        nearblock status --control /tmp/there.control | grep -q '^disk .*serving'
}

round() {
    must lvcreate --yes --wipesignatures n --virtualsize ${volume_bytes}b --name disk --thinpool pool vg
    for place in 0 1 2 5 6 8 9 10 14 15 23; do
        must dd if=/dev/urandom of=/dev/vg/disk bs=1048576 count=1 seek=$place conv=notrunc
    done
    must sync
    source_bytes=$(thin_bytes)
    there "$1"
    here "$1"
    must nearblock migrate disk --to 127.0.0.1:7000 --rate 4M --switch converged --detach --control /tmp/control
    wait_for is_taken
    if [ $(($1 % 2)) -eq 1 ]; then
        write_and_verify &
        guest=$!
        harm "$1" 1
        wait_until_moved
        wait $guest || fail "the guest has found a fault: $(cat /tmp/fio)"
        # What the guest reads is what the destination's volume holds.
        connect disk
        must cmp -n $volume_bytes /dev/nbd0 /dev/vg/there-disk
        disconnect
    else
        harm "$1" 2
        wait_until_moved
        must cmp -n $volume_bytes /dev/vg/disk /dev/vg/there-disk
    fi
    stop "$here"
    stop "$there"
    # The guest may have filled what was zero: 4 MiB at most.
    limit=$((source_bytes * 204 / 100 + 4194304))
    [ "$(thin_bytes)" -le $limit ] || fail "both volumes take $(thin_bytes) bytes of the pool, and one took $source_bytes"
    must lvremove --yes vg/disk
    must lvremove --yes vg/there-disk
    rm -rf "/tmp/state$1" "/tmp/there$1"
}

thin() {
    ip link set lo up
    address=127.0.0.1 port=10809 options=
    seed=$(sed -n 's/.*seed=\([0-9]*\).*/\1/p' /proc/cmdline)
    rounds=$(sed -n 's/.*rounds=\([0-9]*\).*/\1/p' /proc/cmdline)
    configure_lvm
    # Everything that a volume can get holds old bytes.
    dd if=/dev/urandom of=/dev/vda bs=1048576 2> /dev/null
    must pvcreate /dev/vda
    must vgcreate vg /dev/vda
    must lvcreate --yes --zero n --wipesignatures n --size 64M --chunksize 64k --thinpool pool vg
    printf '[export disk]\nimage = /dev/vg/disk\n' > /tmp/nodes.conf
    cat > /tmp/there.conf <<'END'
[node]
prepare = /nbd-scripts/targets/lvm-thin --pool vg/pool --prefix there- prepare
release = /nbd-scripts/targets/lvm-thin --pool vg/pool --prefix there- release
END
    for round in $(seq "$rounds"); do
        round "$round"
        say "round $round moved"
    done
}
