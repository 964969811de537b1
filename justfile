# The daily commands; `just` without a name lists them.

default:
    @just --list

# The main job: a small model on the built-in stories.
train *flags:
    cargo run --release -- train {{flags}}

# Everything CI runs.
ci:
    bash .ci/run

test:
    cargo test --workspace --locked

# The page of `foretoken serve` in Chromium; SHOTS=DIR keeps pictures of it.
browser:
    cargo build --locked -p foretoken-cli
    bash crates/serve/browser/run

fmt:
    cargo fmt --all

lint:
    cargo clippy --workspace --all-targets --locked -- -D warnings

doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

# Licences and sources of every dependency.
deny:
    cargo deny --all-features --locked check bans licenses sources

# Kernels at GPT-2 124M shapes, with the machine's limit first.
bench *filter:
    cargo bench -p foretoken-kernels {{filter}}
