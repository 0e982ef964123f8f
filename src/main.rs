//! The `cvsync` binary.

fn main() {}
