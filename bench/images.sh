# shellcheck shell=bash disable=SC2154
# Sourced by bench/run.sh: the images, made of files that this machine has, and what the daemons know of them.
#
# An image is a folder in the format of `docker save`, written once and loaded whenever a row needs it.

readonly images=$work/images
readonly label=oci-store-bench

# mib N prints N MiB in bytes, at the scale of this run.
mib() { awk -v n="$1" -v scale="$scale" 'BEGIN { printf "%d", n * scale * 1048576 }'; }

# layer_of FILE MIB FOLDER… packs files of those folders that exist, in the order of their names, up to so many MiB.
layer_of() {
    local file=$1 limit
    limit=$(mib "$2")
    shift 2
    { find "$@" -xdev -type f -readable -printf '%s\t%p\n' 2>/dev/null || true; } | LC_ALL=C sort --key=2 |
        awk -F'\t' -v limit="$limit" 'sum + $1 <= limit { sum += $1; print substr($2, 2) }' |
        tar --create --file "$file" --directory / --numeric-owner --no-recursion \
            --verbatim-files-from --files-from -
}

# layer_of_noise FILE MIB
layer_of_noise() {
    head -c "$(mib "$2")" /dev/urandom >"$work/noise"
    tar --create --file "$1" --directory "$work" --numeric-owner noise
    rm "$work/noise"
}

# write_image FOLDER NAME describes the layers FOLDER/*.tar, and those whose diffIDs are given before them, as an image.
write_image() {
    local folder=$1 name=$2 ids=() layers=() layer
    shift 2
    for layer; do
        ids+=("$layer")
        # the daemon has it, and looks at no file
        layers+=("absent-${#ids[@]}.tar")
    done
    for layer in "$folder"/*.tar; do
        ids+=("sha256:$(sha256sum "$layer" | cut -d' ' -f1)")
        layers+=("${layer##*/}")
    done
    printf '{"architecture":"amd64","os":"linux","created":"2000-01-01T00:00:00Z","config":{"Labels":{"%s":"%s"}},"rootfs":{"type":"layers","diff_ids":[%s]}}' \
        "$label" "$name" "$(quoted "${ids[@]}")" >"$folder/config.json"
    printf '[{"Config":"config.json","RepoTags":["%s"],"Layers":[%s]}]' "$name" "$(quoted "${layers[@]}")" >"$folder/manifest.json"
    printf '%s\n' "${ids[@]}" >"$folder/ids"
}

quoted() { printf '"%s",' "$@" | sed 's/,$//'; }

# make_image NAME writes the image's folder, once.
make_image() {
    local folder=$images/$1 libraries=/usr/lib docs=/usr/share/doc
    [[ ! -e $folder/manifest.json ]] || return 0
    step "makes the image $1"
    mkdir -p "$folder"
    case $1 in
    mixed)
        layer_of "$folder/1-libraries.tar" 450 "$libraries"
        layer_of "$folder/2-docs.tar" 120 "$docs" /usr/share/man /usr/share/locale
        layer_of "$folder/3-go.tar" 300 "$(go env GOROOT 2>/dev/null || echo /usr/share)"
        layer_of "$folder/4-node.tar" 330 "$cache"/azurite-*/node_modules /usr/lib/node_modules /usr/share/nodejs /usr/bin
        layer_of_noise "$folder/5-noise.tar" 3
        ;;
    big) layer_of "$folder/1.tar" 1024 /usr /opt "$cache" ;;
    tiny)
        printf 'hello\n' >"$work/hello"
        tar --create --file "$folder/1.tar" --directory "$work" hello
        ;;
    *) die "there is no image $1" ;;
    esac
    write_image "$folder" "bench/$1:v1"
    step "$1 has $(du --total --bytes "$folder"/*.tar | awk 'END { print $1 }') bytes in $(wc -l <"$folder/ids") layers"
}

# need_image NAME has the daemon know an image.
need_image() {
    make_image "$1"
    docker image inspect "bench/$1:v1" >/dev/null 2>&1 || load_folder "$images/$1"
}

load_folder() { tar --create --directory "$1" --exclude ids . | docker load --quiet >/dev/null; }

# add_layer NAME adds a new layer of 20 MiB to the image mixed, under another name.
add_layer() {
    local folder=$images/$1 ids
    rm -rf "$folder"
    mkdir -p "$folder"
    layer_of_noise "$folder/1.tar" 20
    mapfile -t ids <"$images/mixed/ids"
    write_image "$folder" "bench/$1:v1" "${ids[@]}"
    load_folder "$folder"
}

# forget_images takes all images of ours out of the daemon, with their layers.
forget_images() {
    local ids
    mapfile -t ids < <(docker image ls --all --quiet --no-trunc --filter "label=$label" | sort --unique)
    ((${#ids[@]} == 0)) || docker image rm --force "${ids[@]}" >/dev/null
}

# forget_digests takes from the daemon what it knows of the layers' digests, as if it had never pushed or pulled any. The
# classic image store keeps that in files of their own and reads them anew each time; images and layers stay.
forget_digests() {
    local root
    root=$(docker info --format '{{.DockerRootDir}}')
    rm -rf "$root"/image/*/distribution/{v2metadata-by-diffid,diffid-by-digest}
}
