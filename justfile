# All that must hold before a commit.
check: fmt clippy test deny doc

fmt:
    cargo fmt --all --check

clippy:
    cargo clippy --workspace --all-targets --locked -- -D warnings

test:
    cargo test --workspace --locked

deny:
    cargo deny --locked check

doc:
    RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps --locked

# Every test, with the services that they need started on loopback.
all:
    tests/all.sh

# Against docker push, docker pull and Docker's registry; writes docs/performance.md. Rows may be named (see bench/README.md).
bench *rows:
    bench/run.sh {{rows}}

# The inner loops alone.
bench-loops:
    cargo bench --locked --workspace --bench inner_loops --bench compress
