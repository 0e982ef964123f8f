# Shortcuts. The commands themselves are in .ci/run, ./test and ./demo.

# Check everything that CI checks, or only the named steps
check *STEPS:
    .ci/run {{STEPS}}

# Format the code
format:
    cargo fmt

# Run the tests, or only those that match
test *FILTER:
    ./test {{FILTER}}

# Run the unit tests, which need nothing installed
unit:
    cargo test --lib --locked

# Run one benchmark of benches/
bench NAME *ARGUMENTS:
    cargo bench --bench {{NAME}} -- {{ARGUMENTS}}

# Show cvsync at work with nothing configured
demo *ARGUMENTS:
    ./demo {{ARGUMENTS}}
