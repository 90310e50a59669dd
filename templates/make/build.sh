# Builds the program. The working directory is a copy of the sources, which may be written to.
export PATH=/usr/bin:/bin
jobs=${NIX_BUILD_CORES:-1}
if [ "$jobs" = 0 ]; then jobs=$(nproc); fi
make --jobs="$jobs" build/app || exit
mkdir -p "$out/bin"
cp build/app "$out/bin/app"
exit 0
