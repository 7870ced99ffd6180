#!/usr/bin/env bash
# Makes hello.tar, a few KB in the format of `docker save`: the image hello:v1 for linux/amd64, which says hello and ends.
# Needs gcc for x86-64 Linux, GNU tar and sha256sum. The same compiler makes the same bytes.
#
#   examples/make-hello.sh [FILE]      default: hello.tar beside this script
set -euo pipefail

out=$(realpath -m -- "${1:-$(dirname -- "${BASH_SOURCE[0]}")/hello.tar}")
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
cd -- "$work"

# No libc: two system calls are all it takes.
cat >hello.c <<'C'
static const char greeting[] = "Hello from oci-store!\n";

static long call(long number, long a, const void *b, long c) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}

void _start(void) {
    call(1, 1, greeting, sizeof greeting - 1); /* write to standard output */
    call(60, 0, 0, 0);                         /* exit */
    for (;;) {
    }
}
C
gcc -Os -nostdlib -static -fno-pie -no-pie -fno-asynchronous-unwind-tables -fno-stack-protector -fcf-protection=none -fno-ident \
    -Wl,--build-id=none -Wl,-z,max-page-size=4096 -Wl,-z,noseparate-code -Wl,-z,norelro -Wl,-z,noexecstack -s \
    -o hello hello.c

# Everything that differs between two runs or two users is fixed; a small blocking factor keeps the padding small.
pack() {
    tar --create --file "$1" --format=ustar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --blocking-factor=2 "${@:2}"
}
digest() {
    sha256sum "$1" | cut -d' ' -f1
}

chmod 755 hello
pack layer.tar hello
layer=$(digest layer.tar)
printf '%s' '{"architecture":"amd64","os":"linux","created":"1970-01-01T00:00:00Z","config":{"Cmd":["/hello"]},' \
    "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:$layer\"]}," \
    '"history":[{"created":"1970-01-01T00:00:00Z","created_by":"examples/make-hello.sh"}]}' >config
config=$(digest config)
mkdir image image/layer
mv layer.tar image/layer/layer.tar
mv config "image/$config.json"
printf '[{"Config":"%s.json","RepoTags":["hello:v1"],"Layers":["layer/layer.tar"]}]' "$config" >image/manifest.json
chmod 644 image/*.json image/layer/layer.tar
pack "$out" -C image "$config.json" layer/layer.tar manifest.json
