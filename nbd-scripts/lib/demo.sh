# shellcheck shell=bash
# Two Debian disks and nodes that serve them, for the quick start and the benchmarks. Source it after common.sh.

demo_cache=$(cache_folder)
# A plain Debian install, and one with further packages, data of its own and a scratch partition.
demo_neighbour=$demo_cache/debian.raw
demo_disk=$demo_cache/debian-shop.raw
# The nodes that were started.
nodes=()

lib_folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# Builds nearblock for use and prints where it is.
build_nearblock() {
    need_command swift "install Swift 6.1 or later from https://www.swift.org/install and put it into PATH"
    cd "$lib_folder/../.." || return
    swift build -c release --product nearblock >&2 || die "the build failed: see its message above"
    echo "$(swift build -c release --show-bin-path)/nearblock"
}

# Makes the plain one, unless it is there.
make_demo_neighbour() {
    mkdir -p "$demo_cache"
    [[ -e $demo_neighbour ]] || "$lib_folder/../make-disk" "$demo_neighbour" --size 3G --seed 1
}

# Makes the two disks, unless they are there.
make_demo_disks() {
    make_demo_neighbour
    [[ -e $demo_disk ]] && return
    local data
    data=$(mktemp -d "$demo_cache/.data.XXXXXX")
    # In a subshell, so that the data goes on a failure too.
    (
        trap 'rm -rf "$data"' EXIT
        python3 "$lib_folder/make-data.py" "$data" 42
        "$lib_folder/../make-disk" "$demo_disk" --size 3G --seed 2 --scratch 256M \
            --include nginx-light,php-cli,postgresql --data "$data"
    )
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# start_node NEARBLOCK FOLDER [nearblock serve arguments]: returns when the node is ready; status 1 where it does not
# get ready. Its sockets, state and log are in FOLDER.
start_node() {
    local nearblock=$1 folder=$2 tenths pid
    shift 2
    mkdir -p "$folder"
    : >"$folder/log"
    setsid "$nearblock" serve --socket "$folder/nbd.sock" --control "$folder/control.sock" --state "$folder/state" "$@" \
        >"$folder/log" 2>&1 </dev/null &
    pid=$!
    nodes+=("$pid")
    for ((tenths = 0; tenths < 300; tenths++)); do
        ! grep -qi ready "$folder/log" || return 0
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    note "the node in $folder did not get ready: $(tail -n 1 "$folder/log")"
    return 1
}

stop_nodes() {
    local pid tenths
    for pid in "${nodes[@]}"; do
        kill "$pid" 2>/dev/null || continue
        for ((tenths = 0; tenths < 100; tenths++)); do
            kill -0 "$pid" 2>/dev/null || continue 2
            sleep 0.1
        done
        kill -KILL "$pid" 2>/dev/null || true
    done
    nodes=()
}
