#!/usr/bin/env bash
# Measures oci-store against what people use instead, in turn, on this machine; see bench/README.md.
#
#   bench/run.sh [ROW…]     runs the rows, or all of them, and writes the table into docs/performance.md
#   bench/run.sh table      writes the table anew
#   bench/run.sh down       ends the services and deletes images and results
#
#   BENCH_DIR       where images, results and services are kept (default: oci-store-bench in TMPDIR)
#   BENCH_SCALE     how large the images are, 1 being the full size (default: 1)
#   BENCH_ROUNDS    how often each side of a row is run (default: 3)
#   BENCH_PROGRAM   the oci-store to measure (default: a release build of this checkout)
#   BENCH_PAGE      the page that gets the table (default: docs/performance.md)
#
# Services that run already may be named as for tests/services.sh (OCI_STORE_TEST_…), but for MinIO, which is always our own.
# shellcheck source-path=SCRIPTDIR
set -euo pipefail
export LC_ALL=C.UTF-8

top=$(dirname "$(dirname "$(realpath -- "${BASH_SOURCE[0]}")")")
work=$(realpath -m -- "${BENCH_DIR:-${TMPDIR:-/tmp}/oci-store-bench}")
readonly top work scale=${BENCH_SCALE:-1} rounds=${BENCH_ROUNDS:-3} page=${BENCH_PAGE:-$top/docs/performance.md}
mkdir -p "$work"

source "$top/tests/services/ports.sh"
source "$top/bench/measure.sh"
source "$top/bench/peers.sh"
source "$top/bench/images.sh"
source "$top/bench/rows.sh"

take_down() {
    "$top/tests/services.sh" down "$work/services"
    rm -rf --one-file-system "$work"
}

build() {
    program=${BENCH_PROGRAM-}
    if [[ -z $program ]]; then
        cargo build --release --locked --manifest-path "$top/Cargo.toml"
        program=$(realpath "${CARGO_TARGET_DIR:-$top/target}")/release/oci-store
    fi
    [[ -x $program ]] || die "there is no program $program"
    readonly program
}

leave() {
    end_all
    if [[ -n ${DOCKER_HOST-} ]]; then forget_images 2>/dev/null || true; fi
}

if [[ ${1-} == down ]]; then
    take_down
    exit
fi
rows=("$@")
if ((${#rows[@]} == 0)); then rows=("${all_rows[@]}"); fi
for row in "${rows[@]}"; do
    [[ $row == table || " ${all_rows[*]} " == *" $row "* ]] || die "there is no row $row, but: ${all_rows[*]}"
done
build
touch "$results"
start_services
trap leave EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
for row in "${rows[@]}"; do
    [[ $row == table ]] || "row_${row//-/_}"
done
write_table
