#!/bin/sh
# Builds ./src with make, from the cache of an earlier build if there is one.
#
# Everything in the Nix store has the time 1, so make cannot see by itself what has changed since
# the cache was made. The cache therefore holds a copy of the sources, and contents are compared:
# an unchanged file gets a time before the cached objects, a changed one stays later than them.
set -eu
: "${src:?} ${out:?} ${cache:?} ${previous?}"
export PATH=/usr/bin:/bin LC_ALL=C GCC_COLORS=

cp -r "$src" work
chmod -R u+w work
mkdir work/build

# What make does not see when it changes: the list of files (its wildcards), the recipe and the
# compiler. If any of it differs, the cache is not used.
write_definition() {
  cat "$0" "$src/Makefile"
  (cd "$src" && find . ! -type d -printf '%P %y %m %l\n' | sort)
  cc --version
}
write_definition >definition

if [ -n "$previous" ] && cmp -s definition "$previous/definition"; then
  cp -r "$previous/build" work
  chmod -R u+w work/build
  find work/build -exec touch -h -d 2001-01-02 {} +
  (cd work && find . -path ./build -prune -o -type f -print) | while read -r file; do
    if cmp -s "work/$file" "$previous/src/$file"; then
      touch -d 2001-01-01 "work/$file"
    else
      echo "changed: $file"
    fi
  done
elif [ -n "$previous" ]; then
  echo "the cache is not used: the list of files, the Makefile, the recipe or the compiler changed"
fi

jobs=${NIX_BUILD_CORES:-1}
if [ "$jobs" = 0 ]; then jobs=$(nproc); fi
make -C work -j "$jobs" --no-print-directory build/app

mkdir "$cache"
cp -r "$src" "$cache/src"
cp -r work/build "$cache/build"
cp definition "$cache/definition"
cp work/build/app "$out"
exit 0
