# shellcheck shell=bash
# What the benchmarks share. Source it; it runs nothing.

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=../../nbd-scripts/lib/common.sh
source "$repository/nbd-scripts/lib/common.sh"
# shellcheck source=../../nbd-scripts/lib/demo.sh
source "$repository/nbd-scripts/lib/demo.sh"

# The packages nearblock_benchmarks, nearblock_tests and machine. Of no other place are modules imported.
export PYTHONPATH=$repository/benchmarks/lib:$repository/Tests/System:$repository/nbd-scripts/lib

# run_module NAME ARGUMENT...: of nearblock_benchmarks, with Debian's Python, which has libnbd's bindings and matplotlib.
run_module() { PATH="/usr/bin:$PATH" python3 -m "nearblock_benchmarks.$1" "${@:2}"; }

# make_relay FOLDER: compiles the emulator of a WAN to FOLDER/relay.
make_relay() { gcc -O2 -Wall -o "$1/relay" "$repository/Tests/System/nearblock_tests/wan/relay.c" -lpthread; }
