# shellcheck shell=bash
# Sourced by tests/services.sh and bench/run.sh.

# free_port prints a port of this machine that nothing listens at.
free_port() {
    local port
    while port=$((20000 + RANDOM % 12000)); do
        [[ -n $(ss -Hltn "sport = :$port") ]] || break
    done
    echo "$port"
}
