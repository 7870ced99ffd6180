# shellcheck shell=bash disable=SC2154
# Sourced by bench/run.sh: what is written down of a run, and the table that is made of it.
#
# A line of results.tsv is one run of one side: row, side, round, seconds, CPU seconds, peak memory in KiB.

readonly results=$work/results.tsv

step() { printf 'bench: %5d s  %s\n' "$SECONDS" "$*" >&2; }

die() {
    printf 'bench: error: %s\n' "$*" >&2
    exit 1
}

# measure SIDE COMMAND… runs the command and writes down what it took, for the row and the round at work.
measure() {
    local side=$1 usage=$work/usage status=0
    shift
    command time --output "$usage" --format '%e %U %S %M' "$@" >"$work/output" 2>&1 </dev/null || status=$?
    if ((status)); then
        cat "$work/output" >&2
        die "$row, $side, round $round: exit status $status from: $*"
    fi
    record "$side" $(awk '{ print $1, $2 + $3, $4 }' "$usage")
}

# record SIDE SECONDS CPU MEMORY
record() {
    printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$row" "$1" "$round" "$2" "$3" "$4" >>"$results"
    step "$row, round $round, $1: $2 s, CPU $3 s, $(($4 / 1024)) MiB"
}

# used PID prints the CPU seconds and the peak memory of a process that runs.
used() {
    local fields peak
    read -ra fields <<<"$(sed 's/.*) //' "/proc/$1/stat")"
    peak=$(awk '/^VmHWM/ { print $2 }' "/proc/$1/status")
    awk -v ticks=$((fields[11] + fields[12])) -v hertz="$(getconf CLK_TCK)" -v peak="$peak" \
        'BEGIN { printf "%.2f %d", ticks / hertz, peak }'
}

# in_turn SIDE… runs each side once in every round, and lets another one begin each time. A side is the function SIDE.
in_turn() {
    local sides=("$@") number
    sed --in-place "/^$row\t/d" "$results"
    for ((round = 1; round <= rounds; round++)); do
        for ((number = 0; number < $#; number++)); do
            "${sides[(round + number) % $#]}"
        done
    done
}

# --- the table ---------------------------------------------------------------------------------------------------------

# column ROW SIDE FIELD prints all values, smallest first.
column() { awk -F'\t' -v row="$1" -v side="$2" -v field="$3" '$1 == row && $2 == side { print $field }' "$results" | sort -g; }

# spread prints the median of its input, with the smallest and the largest value.
spread() { awk -v digits="$1" '{ v[NR] = $1 } END {
    if (!NR) exit
    m = NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2
    f = "%." digits "f"
    printf f " (" f "–" f ")", m, v[1], v[NR] }'; }

# ratios ROW SIDE prints a side against the peer, round by round.
ratios() {
    awk -F'\t' -v row="$1" -v side="$2" '
        $1 == row && $2 == side { ours[$3] = $4 }
        $1 == row && $2 == "peer" { peer[$3] = $4 }
        END { for (round in ours) if (peer[round] > 0) print ours[round] / peer[round] }' "$results" | sort -g
}

# of_medians ROW SIDE prints the ratio of the medians.
of_medians() {
    paste <(column "$1" "$2" 4 | spread 3) <(column "$1" peer 4 | spread 3) |
        awk -F'\t' '{ split($1, o, " "); split($2, p, " "); if (p[1] > 0) printf "%.2f", o[1] / p[1] }'
}

# line ROW TITLE TARGET prints a line of the table, if the row has been run.
line() { side_line ours "$@"; }

# side_line SIDE ROW TITLE TARGET does so for another side than ours: what it takes in CPU and memory is not all its own.
side_line() {
    local side=$1 row=$2 title=$3 target=$4 seconds cpu='' peak=''
    seconds=$(column "$row" "$side" 4 | spread 2)
    [[ -n $seconds ]] || return 0
    if [[ $side == ours ]]; then
        cpu=$(column "$row" ours 5 | spread 2)
        peak=$(column "$row" ours 6 | awk 'END { print int($1 / 1024) }')
    fi
    printf '| %s | %s | %s | %s | %s | %s | %s | %s |\n' "$title" "$seconds" "$(column "$row" peer 4 | spread 2)" \
        "$(of_medians "$row" "$side")" "$(ratios "$row" "$side" | spread 2)" "$target" "${cpu%% *}" "$peak"
}

machine() {
    printf 'Measured on %s: %s × %s, %s MiB of memory, Linux %s, Docker %s, MinIO %s, Docker registry %s, `oci-store` %s.\n' \
        "$(date --utc +%F)" "$(nproc)" "$(awk -F': ' '/^model name/ { print $2; exit }' /proc/cpuinfo)" \
        "$(awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo)" "$(uname -r)" \
        "$(docker version --format '{{.Server.Version}}')" "$minio_version" \
        "$("$registry" --version | awk '{ print $NF }')" "$("$program" --version | awk '{ print $NF }')"
    printf 'Sizes are %s of the full ones; every row was run %s times, the first run counts.\n' "$scale" "$rounds"
    printf 'Load of the machine when the last row ended: %s.\n' "$(cut -d' ' -f1-3 /proc/loadavg)"
}

# write_table puts all results between the marks in the page.
write_table() {
    local new=$work/performance.md
    {
        sed '/<!-- bench: begin -->/q' "$page"
        printf '\n'
        machine
        printf '\n| work | ours, s | peer, s | ratio of medians | ratio, round by round | target | our CPU, s | our peak, MiB |\n'
        printf '|---|---|---|---|---|---|---|---|\n'
        table
        printf '\nTimes and ratios: median (smallest–largest).\n\n'
        sed -n '/<!-- bench: end -->/,$p' "$page"
    } >"$new"
    cat "$new" >"$page"
    sed -n '/<!-- bench: begin -->/,/<!-- bench: end -->/p' "$page"
}
