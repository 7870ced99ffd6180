# shellcheck shell=bash disable=SC2154
# Sourced by tests/services.sh: daemons that hold images, and the programs that come with some of them.

# --- of this machine's own package -------------------------------------------------------------------------------------

# Docker with the classic image store.
#
# Both have a containerd of their own. The daemon `far` lives in a network namespace with nothing but a loopback: its API
# answers on its socket, as that of a daemon in a VM does, and what listens on our loopback it cannot reach.

# start_containerd NAME FOLDER STATE
start_containerd() {
    local name=$1 folder=$2 state=$3
    cat >"$dir/$name.toml" <<TOML
version = 2
root = "$folder"
state = "$state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "$dir/run/$name.sock"
[plugins."io.containerd.internal.v1.opt"]
path = "$folder/opt"
TOML
    start "$name" containerd --config "$dir/$name.toml"
    ready 30 "$name" test -S "$dir/run/$name.sock"
}

overlay_works() {
    local at=$dir/overlay works=no
    mkdir -p "$at"/{lower,upper,work,merged}
    if mount -t overlay overlay -o "lowerdir=$at/lower,upperdir=$at/upper,workdir=$at/work" "$at/merged" 2>/dev/null; then
        works=yes
        umount "$at/merged"
    fi
    rm -rf --one-file-system "$at"
    [[ $works == yes ]]
}

# start_dockerd NAME CONTAINERD SOCKET DATA EXEC [COMMAND…] starts a daemon, under the command if there is one.
start_dockerd() {
    local name=$1 containerd=$2 socket=$3 data=$4 exec=$5
    shift 5
    docker_driver=vfs
    if overlay_works; then docker_driver=overlay2; fi
    # The file also keeps dockerd from reading the machine's /etc/docker/daemon.json.
    echo '{"features": {"containerd-snapshotter": false}}' >"$dir/docker.json"
    start "$name" "$@" dockerd --config-file "$dir/docker.json" --host "unix://$socket" \
        --containerd "$dir/run/$containerd.sock" --data-root "$data" --exec-root "$exec" \
        --pidfile "$dir/run/$name.pid" --storage-driver "$docker_driver" \
        --iptables=false --ip6tables=false --bridge=none
}

# await_dockerd NAME SOCKET
await_dockerd() {
    ready 60 "$1" http --unix-socket "$2" http://localhost/info
    step "$1 runs ($docker_driver)"
}

start_docker() {
    start_containerd containerd "$dir/containerd" "$dir/run/c"
    start_dockerd dockerd containerd "$dir/docker.sock" "$dir/docker" "$dir/run/d"
}
await_docker() { await_dockerd dockerd "$dir/docker.sock"; }

# The namespaces have no names: they end with the daemon.
start_far() {
    start_containerd far-containerd "$dir/far/containerd" "$dir/run/e"
    # shellcheck disable=SC2016 # expanded by that shell
    start_dockerd far-dockerd far-containerd "$dir/far.sock" "$dir/far/docker" "$dir/run/f" \
        unshare --net --mount --propagation private sh -c 'ip link set lo up && exec "$@"' sh
}
await_far() {
    await_dockerd far-dockerd "$dir/far.sock"
    exports+=(DOCKER_FAR_HOST "unix://$dir/far.sock")
}

# --- from Debian unstable ----------------------------------------------------------------------------------------------

# What runs out of the tree of Debian unstable: Docker 28 or newer with the containerd image store, podman's
# Docker-compatible socket, and the programs oras, crane and skopeo.
#
# The daemons run by chroot in a mount namespace, which the service `unstable` (a sleep) holds open. All mounts are made in
# there: this machine never sees them, and they end with the last process, so that nothing has to be unmounted and no
# `rm -rf` can follow one. The tree itself is bind-mounted, because containerd wants its root to be a mount point.
#
# $dir/unstable is /mnt in there: sockets, and everything that the daemons write. A daemon's files are to be handed over by
# its API, not by path.
#
# The programs run without the chroot, by the tree's own dynamic loader: paths, loopback, HOME and the working directory mean
# for them what they mean for their caller.

start_unstable() {
    mkdir -p "$dir"/unstable/{containerd,docker,podman} "$dir/root"
    touch "$dir/unstable/mounted"
    # shellcheck disable=SC2016 # expanded by that shell
    start unstable unshare --mount --propagation private sh -euc '
        mount --bind "$1" "$2"
        mount -t tmpfs tmpfs "$2/run"
        mount -t tmpfs tmpfs "$2/tmp"
        mount --rbind /proc "$2/proc"
        mount --rbind /sys "$2/sys"
        mount --rbind /dev "$2/dev"
        mount -t tmpfs tmpfs "$2/dev/shm" # podman keeps its locks there
        mount --bind "$3" "$2/mnt"
        exec chroot "$2" sleep infinity
    ' sh "$tree" "$dir/root" "$dir/unstable"
    ready 20 unstable inside test -e /mnt/mounted
    start_c8d_containerd
    start_c8d_dockerd
    start_podman
    exports+=(ORAS "$(wrapper oras)" CRANE "$(wrapper crane)" SKOPEO_NEW "$(wrapper skopeo --policy "$tree/etc/containers/policy.json")")
}

await_unstable() {
    ready 60 c8d-dockerd http --unix-socket "$dir/unstable/docker.sock" http://localhost/info
    step "c8d-dockerd runs ($(c8d_version), containerd image store)"
    ready 60 podman http --unix-socket "$dir/unstable/podman.sock" http://localhost/version
    step "podman runs ($podman_driver)"
    exports+=(DOCKER_C8D_HOST "unix://$dir/unstable/docker.sock" PODMAN_HOST "unix://$dir/unstable/podman.sock")
}

# inside COMMAND… runs a command where `unstable` is.
inside() { nsenter --target "$(pid_of unstable)" --mount --root --wd=/ "$@"; }
# start_inside NAME COMMAND…
start_inside() {
    local name=$1
    shift
    start "$name" HOME=/root nsenter --target "$(pid_of unstable)" --mount --root --wd=/ "$@"
}

start_c8d_containerd() {
    cat >"$dir/unstable/containerd.toml" <<'TOML'
version = 3
root = "/mnt/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime", "io.containerd.internal.v1.opt"]
[grpc]
address = "/run/containerd.sock"
TOML
    start_inside c8d-containerd containerd --config /mnt/containerd.toml
    ready 30 c8d-containerd inside test -S /run/containerd.sock
}

start_c8d_dockerd() {
    echo '{"features": {"containerd-snapshotter": true}}' >"$dir/unstable/docker.json"
    start_inside c8d-dockerd dockerd --config-file /mnt/docker.json --host unix:///mnt/docker.sock \
        --containerd /run/containerd.sock --data-root /mnt/docker --exec-root /run/docker --pidfile /run/docker.pid \
        --iptables=false --ip6tables=false --bridge=none
}

c8d_version() {
    http --unix-socket "$dir/unstable/docker.sock" http://localhost/version | sed -E 's/.*"Version":"([^"]*)","ApiVersion".*/\1/'
}

start_podman() {
    podman_driver=vfs
    if overlay_works; then podman_driver=overlay; fi
    start_inside podman env PODMAN_IGNORE_CGROUPSV1_WARNING=1 podman --root /mnt/podman --runroot /run/podman \
        --tmpdir /run/podman-tmp --storage-driver "$podman_driver" --cgroup-manager cgroupfs --events-backend file \
        system service --time 0 unix:///mnt/podman.sock
}

# wrapper PROGRAM [OPTION…] writes a script that runs the tree's program, and prints its path.
wrapper() {
    local program=$1 script=$dir/bin/$1 loaders libraries
    shift
    loaders=("$tree"/usr/lib*/ld-linux*.so.*)
    libraries=("$tree"/usr/lib/*-linux-gnu*/)
    mkdir -p "$dir/bin"
    {
        echo '#!/bin/sh'
        echo "# Debian unstable's $program, written by tests/services.sh"
        printf 'exec %q --library-path %q %q' "${loaders[0]}" "${libraries[0]}" "$tree/usr/bin/$program"
        (($# == 0)) || printf ' %q' "$@"
        echo ' "$@"'
    } >"$script"
    chmod +x "$script"
    echo "$script"
}
