# Shortcuts. The commands themselves are in .ci/run, ./test and ./demo.

# Run all checks of CI, or only the named steps
check *STEPS:
    .ci/run {{STEPS}}

# Format the code
format:
    cargo fmt

# Run all tests, or only the matching ones
test *FILTER:
    ./test {{FILTER}}

# Run the unit tests, which need nothing installed
unit:
    cargo test --lib --locked

# Run one benchmark of benches/
bench NAME *ARGUMENTS:
    cargo bench --bench {{NAME}} -- {{ARGUMENTS}}

# Run cvsync with a simulated VDAB, without configuration
demo *ARGUMENTS:
    ./demo {{ARGUMENTS}}
