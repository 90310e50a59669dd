# Builds the program. The working directory is a copy of the sources, which may be written to.
export PATH="$rust/bin:/usr/bin:/bin" CARGO_HOME="$NIX_BUILD_TOP/cargo" CARGO_TERM_COLOR=never
cargo build --release --offline --locked || exit
mkdir -p "$out/bin"
cp target/release/hello "$out/bin/hello"
exit 0
