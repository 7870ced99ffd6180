# shellcheck shell=bash disable=SC2154
# Sourced by tests/services.sh: what it says while it works, and the processes it starts, waits for and ends.

began=${EPOCHREALTIME/[.,]/}
log= # of the step at work: its end is shown when the step fails

step() {
    local tenths=$(((${EPOCHREALTIME/[.,]/} - began) / 100000))
    printf 'services: %4d.%ds  %s\n' $((tenths / 10)) $((tenths % 10)) "$*" >&2
}

die() {
    printf 'services: error: %s\n' "$*" >&2
    exit 1
}

# A process is known by its pid and its start time, so that a recycled pid is never taken for ours.
start_time() {
    local stat fields
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
    read -ra fields <<<"${stat##*) }"
    [[ ${fields[0]} != [ZX] ]] && echo "${fields[19]}"
}

# pid_of NAME prints the pid of a service that runs.
pid_of() {
    local pid started
    { read -r pid started <"$dir/pid/$1"; } 2>/dev/null || return 1
    [[ $(start_time "$pid") == "$started" ]] && echo "$pid"
}

# start NAME [VARIABLE=VALUE…] PROGRAM… runs in its own session, with nothing of our environment: proxies, AWS_*, DOCKER_*
# and MINIO_* variables change what these programs do.
start() {
    local name=$1
    shift
    log=$dir/log/$name.log
    setsid env -i --default-signal PATH="$PATH" HOME="$dir/home" LANG=C.UTF-8 "$@" </dev/null >>"$log" 2>&1 &
    echo "$! $(start_time $!)" >"$dir/pid/$name"
}

# stop NAME ends a service, then what is left of its process group (dockerd's unpacking children outlive it a little).
stop() {
    local pid
    if pid=$(pid_of "$1"); then
        kill -TERM "$pid" 2>/dev/null || true
        if ! poll 20 stopped "$1"; then
            step "$1 does not end: killed"
            kill -KILL "$pid" 2>/dev/null || true
            poll 10 stopped "$1" || true
        fi
        poll 3 group_is_empty "$pid" || kill -KILL -- "-$pid" 2>/dev/null || true
    fi
    rm -f "$dir/pid/$1"
}

stopped() { ! pid_of "$1"; }
# But for what has ended and only waits for its parent to notice.
group_is_empty() { ! pgrep --pgroup "$1" --runstates D,I,R,S,T,t; }

# poll SECONDS COMMAND… waits until the command succeeds.
poll() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < deadline)) || return 1
        sleep 0.1
    done
}

# ready SECONDS NAME COMMAND… waits until the command succeeds, but no longer than the service lives.
ready() {
    local seconds=$1 name=$2
    shift 2
    log=$dir/log/$name.log
    poll "$seconds" settled "$name" "$@" || die "$name is not ready after $seconds s"
    pid_of "$name" >/dev/null || die "$name ended while starting"
}

settled() {
    local name=$1
    shift
    "$@" || stopped "$name"
}

http() { curl --disable --silent --show-error --fail --noproxy '*' --max-time 5 "$@"; }

# stop_in_turn NAME… ends services one after the other: who talks to another one goes first.
stop_in_turn() {
    local name
    for name; do
        stop "$name"
    done
}

random_hex() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }
