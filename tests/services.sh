#!/usr/bin/env bash
# The real parts the tests talk to, on loopback: a Docker daemon (classic image store) and an S3 server (MinIO), beside
# the programs Docker's registry and skopeo, which the tests start themselves. Debian or Ubuntu, as root.
#
#   tests/services.sh up DIR      install what is missing, start, and write DIR/env (to be sourced)
#   tests/services.sh down DIR    stop what `up` started; `rm -rf DIR` works afterwards
#
# All state lives under DIR. What the environment already points to is used and not started:
#   OCI_STORE_TEST_DOCKER_HOST    a Docker daemon (unix://… or tcp://…)
#   OCI_STORE_TEST_S3_ENDPOINT    an S3 server, with OCI_STORE_TEST_S3_BUCKET, _S3_ACCESS_KEY and _S3_SECRET_KEY
#   OCI_STORE_TEST_REGISTRY, OCI_STORE_TEST_SKOPEO    programs
# OCI_STORE_TEST_CACHE is where the built MinIO is kept between runs (default: ~/.cache/oci-store-tests).
set -euo pipefail

readonly minio_version=v0.0.0-20260212201848-7aac2a2c5b7c

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/go/bin
HOME=${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}
export PATH HOME

readonly cache=${OCI_STORE_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/oci-store-tests}
readonly minio=$cache/bin/minio-${minio_version##*-}

began=${EPOCHREALTIME/[.,]/}
log=       # of the step at work: its end is shown when the step fails
building=  # pid, and process group, of MinIO's build

step() {
    local tenths=$(((${EPOCHREALTIME/[.,]/} - began) / 100000))
    printf 'services: %4d.%ds  %s\n' $((tenths / 10)) $((tenths % 10)) "$*" >&2
}

die() {
    printf 'services: error: %s\n' "$*" >&2
    exit 1
}

# --- processes ---------------------------------------------------------------------------------------------------------

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
group_is_empty() { ! kill -0 -- "-$1"; }

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

# --- what has to be installed ------------------------------------------------------------------------------------------

# program:package, for what the tests and this script call
wanted_programs() {
    echo curl:curl ss:iproute2 ps:procps docker:docker.io unpigz:pigz htpasswd:apache2-utils time:time
    [[ -n ${OCI_STORE_TEST_DOCKER_HOST-} ]] || echo dockerd:docker.io containerd:docker.io iptables:iptables
    [[ -n ${OCI_STORE_TEST_REGISTRY-} ]] || echo docker-registry:docker-registry
    [[ -n ${OCI_STORE_TEST_SKOPEO-} ]] || echo skopeo:skopeo
}

missing_packages() {
    local pair
    for pair in $(wanted_programs); do
        type -P "${pair%:*}" >/dev/null || echo "${pair#*:}"
    done | sort -u
    [[ -s /etc/ssl/certs/ca-certificates.crt ]] || echo ca-certificates
}

install_packages() {
    local packages
    mapfile -t packages < <(missing_packages)
    ((${#packages[@]})) || return 0
    type -P apt-get >/dev/null || die "missing, and no apt-get to install it: ${packages[*]}"
    log=$dir/log/apt.log
    step "installing ${packages[*]}"
    hold_services
    {
        apt-get update
        # since Debian 13 docker.io no longer contains the client
        if [[ " ${packages[*]} " == *' docker.io '* ]] && apt-cache show docker-cli >/dev/null 2>&1; then
            packages+=(docker-cli)
        fi
        DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=300 "${packages[@]}"
    } >"$log" 2>&1 </dev/null
    release_services
    mapfile -t packages < <(missing_packages)
    ((${#packages[@]} == 0)) || die "still missing after apt-get install: ${packages[*]}"
}

# Debian starts what it installs; these packages' own daemons would only be in the way.
readonly policy=/usr/sbin/policy-rc.d
policy_is_ours=
hold_services() {
    [[ ! -e $policy ]] || return 0
    policy_is_ours=yes
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
}
release_services() {
    [[ -z $policy_is_ours ]] || rm -f "$policy"
    policy_is_ours=
}

# MinIO publishes no binaries any more. Runs in the background, one build at a time for all who share the cache.
build_minio() {
    exec </dev/null >"$dir/log/minio-build.log" 2>&1 9>"$cache/minio.lock"
    flock 9
    [[ ! -x $minio ]] || return 0
    # Go's own caches where there are some, else ours
    [[ -n ${GOCACHE-} || -d $(go env GOCACHE) ]] || export GOCACHE=$cache/go/build
    [[ -n ${GOPATH-} || -d $(go env GOMODCACHE) ]] || export GOPATH=$cache/go
    rm -rf "$cache/bin.new"
    GOBIN=$cache/bin.new go install "github.com/minio/minio@$minio_version"
    mkdir -p "$cache/bin"
    mv "$cache/bin.new/minio" "$minio"
    rm -r "$cache/bin.new"
}

begin_minio_build() {
    [[ ! -x $minio ]] || return 0
    mkdir -p "$cache"
    step "building MinIO (some minutes)"
    set -m # its own process group, to be ended as a whole
    build_minio &
    building=$!
    set +m
}

await_minio_build() {
    [[ -n $building ]] || return 0
    log=$dir/log/minio-build.log
    wait "$building" || die "MinIO could not be built with $(go version 2>&1); it needs Go 1.24 or newer"
    building=
    step "MinIO built"
}

# --- the services ------------------------------------------------------------------------------------------------------

start_containerd() {
    cat >"$dir/containerd.toml" <<TOML
version = 2
root = "$dir/containerd"
state = "$dir/run/c"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "$dir/run/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
path = "$dir/containerd/opt"
TOML
    start containerd containerd --config "$dir/containerd.toml"
    ready 30 containerd test -S "$dir/run/containerd.sock"
}

overlay_works() {
    local at=$dir/overlay works=no
    mkdir -p "$at"/{lower,upper,work,merged}
    if mount -t overlay overlay -o "lowerdir=$at/lower,upperdir=$at/upper,workdir=$at/work" "$at/merged" 2>/dev/null; then
        works=yes
        umount "$at/merged"
    fi
    rm -rf "$at"
    [[ $works == yes ]]
}

start_dockerd() {
    local driver=vfs
    if overlay_works; then driver=overlay2; fi
    # The file also keeps dockerd from reading the machine's /etc/docker/daemon.json.
    echo '{"features": {"containerd-snapshotter": false}}' >"$dir/docker.json"
    start dockerd dockerd --config-file "$dir/docker.json" --host "unix://$dir/docker.sock" \
        --containerd "$dir/run/containerd.sock" --data-root "$dir/docker" --exec-root "$dir/run/d" \
        --pidfile "$dir/run/dockerd.pid" --storage-driver "$driver" \
        --iptables=false --ip6tables=false --bridge=none
    docker_driver=$driver
}

docker_answers() { http --unix-socket "$dir/docker.sock" http://localhost/info; }

# A bucket that exists already is fine: an attempt whose answer was lost is repeated.
make_bucket() {
    local status
    status=$(http --no-fail --output /dev/null --write-out '%{http_code}' --request PUT "$s3_endpoint/$s3_bucket" \
        --aws-sigv4 aws:amz:us-east-1:s3 --config - <<<"user = $s3_access_key:$s3_secret_key")
    [[ $status == 200 || $status == 409 ]]
}

free_port() {
    local port
    while port=$((20000 + RANDOM % 12000)); do
        [[ -n $(ss -Hltn "sport = :$port") ]] || break
    done
    echo "$port"
}

start_minio() {
    local port attempt
    s3_bucket=oci-store-test
    s3_access_key=test-$(random_hex 4)
    s3_secret_key=$(random_hex 20)
    for attempt in 1 2 3 4 5; do
        port=$(free_port)
        s3_endpoint=http://127.0.0.1:$port
        start minio MINIO_ROOT_USER="$s3_access_key" MINIO_ROOT_PASSWORD="$s3_secret_key" MINIO_BROWSER=off MINIO_UPDATE=off \
            "$minio" server "$dir/minio" --address "127.0.0.1:$port"
        poll 60 settled minio http "$s3_endpoint/minio/health/live" || true
        if pid_of minio >/dev/null || ! grep -qi 'already in use' "$log"; then break; fi
        step "port $port was taken meanwhile (attempt $attempt)"
    done
    ready 60 minio http "$s3_endpoint/minio/health/live"
    ready 30 minio make_bucket
}

random_hex() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }

# --- up and down -------------------------------------------------------------------------------------------------------

check_preconditions() {
    if [[ -z ${OCI_STORE_TEST_DOCKER_HOST-} ]]; then
        [[ $(id -u) == 0 ]] || die "a Docker daemon is started as root only (or set OCI_STORE_TEST_DOCKER_HOST)"
        # the kernel's limit for a socket's path is 107; this is the longest one that dockerd makes
        local longest=$dir/run/d/libnetwork/0123456789ab.sock
        ((${#longest} <= 107)) || die "$dir is too long a path for sockets: at most $((${#dir} + 107 - ${#longest})) characters"
    fi
    if [[ -n ${OCI_STORE_TEST_S3_ENDPOINT-} ]]; then
        : "${OCI_STORE_TEST_S3_BUCKET:?goes with OCI_STORE_TEST_S3_ENDPOINT}"
        : "${OCI_STORE_TEST_S3_ACCESS_KEY:?goes with OCI_STORE_TEST_S3_ENDPOINT}"
        : "${OCI_STORE_TEST_S3_SECRET_KEY:?goes with OCI_STORE_TEST_S3_ENDPOINT}"
    elif [[ ! -x $minio ]]; then
        type -P go >/dev/null || die "building MinIO needs Go 1.24 or newer on PATH or in /usr/local/go" \
            "(the distribution's golang-go may be older); or set OCI_STORE_TEST_S3_ENDPOINT to an S3 server that runs"
    fi
}

# Only a folder that is new, empty or made by us is touched.
claim_dir() {
    if [[ ! -e $dir/.oci-store-services ]]; then
        mkdir -p "$dir"
        [[ -z $(ls -A "$dir") ]] || die "$dir is not empty and was not made by this script"
        touch "$dir/.oci-store-services"
    fi
    clear_dir
    rm -rf "${dir:?}"/{env,docker,containerd,minio,home,run,pid,log}
    mkdir -p "$dir"/{minio,home,run,pid,log}
}

is_up() {
    [[ -s $dir/env ]] || return 1
    local pid_file
    for pid_file in "$dir"/pid/*; do
        [[ ! -e $pid_file ]] || pid_of "${pid_file##*/}" >/dev/null || return 1
    done
}

write_env() {
    (
        umask 077
        while (($#)); do
            printf 'export OCI_STORE_TEST_%s=%q\n' "$1" "$2"
            shift 2
        done >"$dir/env.new"
    )
    mv "$dir/env.new" "$dir/env"
}

up() {
    if is_up; then
        step "already up in $dir"
        return
    fi
    check_preconditions
    claim_dir
    trap 'undo $?' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP

    local own_docker=yes own_s3=yes
    [[ -z ${OCI_STORE_TEST_DOCKER_HOST-} ]] || own_docker=
    [[ -z ${OCI_STORE_TEST_S3_ENDPOINT-} ]] || own_s3=

    # the build takes longest and goes on while the rest is installed and started
    if [[ -n $own_s3 ]]; then
        [[ -s /etc/ssl/certs/ca-certificates.crt ]] || install_packages
        begin_minio_build
    fi
    install_packages
    if [[ -n $own_docker ]]; then
        start_containerd
        step "containerd runs"
        start_dockerd
    fi
    if [[ -n $own_s3 ]]; then
        await_minio_build
        start_minio
        step "MinIO runs at $s3_endpoint"
    else
        s3_endpoint=$OCI_STORE_TEST_S3_ENDPOINT s3_bucket=$OCI_STORE_TEST_S3_BUCKET
        s3_access_key=$OCI_STORE_TEST_S3_ACCESS_KEY s3_secret_key=$OCI_STORE_TEST_S3_SECRET_KEY
    fi
    if [[ -n $own_docker ]]; then
        ready 60 dockerd docker_answers
        step "dockerd runs ($docker_driver)"
    fi

    write_env \
        DOCKER_HOST "${OCI_STORE_TEST_DOCKER_HOST:-unix://$dir/docker.sock}" \
        S3_ENDPOINT "$s3_endpoint" S3_BUCKET "$s3_bucket" \
        S3_ACCESS_KEY "$s3_access_key" S3_SECRET_KEY "$s3_secret_key" \
        REGISTRY "${OCI_STORE_TEST_REGISTRY:-$(type -P docker-registry)}" \
        SKOPEO "${OCI_STORE_TEST_SKOPEO:-$(type -P skopeo)}"
    trap - EXIT
    step "up: source $dir/env"
}

# What `up` leaves when it does not come to its end: nothing that runs.
undo() {
    trap '' INT TERM HUP
    release_services
    if [[ -n $building ]]; then
        kill -TERM -- "-$building" 2>/dev/null || true
        wait "$building" 2>/dev/null || true
    fi
    if [[ -s $log ]]; then
        printf 'services: the end of %s:\n' "$log" >&2
        tail -n 30 "$log" >&2
    fi
    clear_dir
    exit "$1"
}

clear_dir() {
    local stopping mounted
    stop minio &
    stopping=$!
    stop dockerd
    stop containerd
    wait "$stopping"
    rm -f "$dir/env"
    while read -r mounted; do
        umount "$mounted" || umount --lazy "$mounted" || true
    done < <(awk -v under="$dir/" 'index($5, under) == 1 { print $5 }' /proc/self/mountinfo | sort -r)
}

down() {
    [[ -e $dir/.oci-store-services ]] || return 0
    clear_dir
    step "down: $dir"
}

if [[ $# != 2 || $1 != @(up|down) ]]; then
    echo "usage: tests/services.sh up DIR | down DIR" >&2
    exit 2
fi
dir=$(realpath -m -- "$2")
[[ $dir =~ ^/[A-Za-z0-9._/-]+$ ]] || die "DIR may consist of letters, digits and . _ - / only: $dir"
"$1"
