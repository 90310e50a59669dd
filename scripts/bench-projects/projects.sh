# shellcheck shell=bash disable=SC2034,SC2154
# The projects of `scripts/bench-incremental` and `scripts/demo`. Sourced, never run.
#
# For each NAME: fetch_NAME puts the sources into ./src; settings_NAME prints what
# `levain.lib.incremental` is told, set_NAME the directory that it keeps; compile_NAME prints a script
# that builds in the current directory and sets `results`; edit_NAME NUMBER DIR edits one file.

readonly projects="lua redis rxjs effect go cargo cargo_incremental" job=x86_64-linux.app

# fetch NAME DIR: its sources, in DIR/src; whatever else that takes is in DIR, too.
fetch() {
  local code
  mkdir -p "$2"
  # Not within a condition, where `set -e` would be of no effect.
  set +e
  (
    set -e
    cd "$2"
    "fetch_$1" >&2
  )
  code=$?
  set -e
  [ "$code" = 0 ] || fail "the sources of $1 cannot be fetched" "see what was printed above; the machine must reach its package mirror"
}

# write_project NAME SOURCES TOOL: makes the current directory a repository with one incremental job,
# on a topic branch. Another `nonce` makes another derivation of the same sources.
write_project() {
  cp -r "$root/lib" levain
  cp -r "$2" src
  "compile_$1" >compile.sh
  cat >flake.nix <<END
{
  outputs = { self }:
    let
      levain.lib = import ./levain;
    in
    {
      # What fails is shown as it fails from its cache.
      levainProject = levain.lib.mkProject { incremental = { enable = true; retryClean = false; }; };
      levainJobs.x86_64-linux.app = levain.lib.incremental
        {
          cache = ./cache.nix;
          job = "$job";
          tool = "$3";
          settings = $("settings_$1");
        }
        (derivation {
          name = "app";
          system = "x86_64-linux";
          builder = "/bin/sh";
          args = [ "-e" "-c" ". \${./compile.sh}; mkdir \$out; cp \$results \$out; exit 0" ];
          src = levain.lib.source ./src;
          nonce = builtins.readFile ./nonce;
        } // { levain.ignoreEnv = [ "nonce" ]; });
    };
}
END
  echo null >cache.nix
  : >commit.txt
  echo 0 >nonce
  git init --quiet
  git add --all --force
  git commit --quiet --message "The project"
  git checkout --quiet -b feature
}

# debian COMMAND...: apt-get, with lists of its own from where the machine has its packages, so that
# the machine's are left alone.
debian() {
  apt-get -qq -o Dir::Etc::SourceList="$PWD/list" -o Dir::Etc::SourceParts=/dev/null \
    -o Dir::State::Lists="$PWD/lists" -o Dir::Cache="$PWD/cache" -o APT::Sandbox::User= "$@"
}

# fetch_debian PACKAGE: the sources of a Debian source package, without Debian's changes.
fetch_debian() {
  local kind
  mkdir -p lists/partial cache/archives/partial
  for kind in deb deb-src; do
    # shellcheck disable=SC2016 # apt's variables, not the shell's
    apt-get indextargets --format "$kind"' $(REPO_URI) $(CODENAME) $(COMPONENT)' \
      'Created-By: Packages' 'Origin: Debian' | sort -u
  done >list
  debian update
  debian source --download-only "$1"
  mkdir src
  tar -xf "$1"_*.orig.tar.?z --strip-components=1 -C src
  # Nothing of it is ignored here.
  find src -name .gitignore -delete
}

# Lua: make, and some thirty files.
fetch_lua() { fetch_debian lua5.4; }
settings_lua() { echo "levain.lib.settings.make { }"; }
set_lua() { echo .; }
compile_lua() {
  cat <<'END'
export PATH=/usr/bin:/bin LC_ALL=C
make -j2 -C src linux CC=gcc
results=src/lua
END
}
edit_lua() {
  printf '\nint bench_%s(void) { return %s; }\n' "$1" "$1" >>"$2/src/ltable.c"
}

# redis: make, some hundred files, and libraries with Makefiles of their own.
fetch_redis() { fetch_debian redis; }
settings_redis() { echo "levain.lib.settings.make { }"; }
set_redis() { echo .; }
compile_redis() {
  cat <<'END'
export PATH=/usr/bin:/bin LC_ALL=C SOURCE_DATE_EPOCH=1
make -j2 V=1 MALLOC=libc OPTIMIZATION=-O1 redis-server
results=src/redis-server
END
}
edit_redis() {
  printf '\nint bench_%s(void) { return %s; }\n' "$1" "$1" >>"$2/src/t_zset.c"
}

# restic: a Go program with the libraries of several cloud providers.
fetch_go() {
  local libraries
  need go
  fetch_debian restic
  mkdir -p packages libraries restic/src/github.com/restic
  mv src restic/src/github.com/restic/restic
  mv restic src
  # What is not installed on this machine is unpacked here.
  libraries=$(debian --simulate build-dep restic | sed -n 's/^Inst \(golang-[^ ]*-dev\) .*/\1/p')
  # shellcheck disable=SC2086 # a list of packages
  (if [ -n "$libraries" ]; then debian download $libraries; fi)
  find . -maxdepth 1 -name 'golang-*.deb' -exec dpkg-deb -x {} libraries \;
  rm -f golang-*.deb
}
settings_go() { echo "levain.lib.settings.go { }"; }
set_go() { echo .go-cache; }
compile_go() {
  cat <<END
export PATH=/usr/bin:/bin HOME="\$PWD" GO111MODULE=off GOFLAGS=-trimpath
export GOCACHE="\${GOCACHE-\$PWD/.go-cache}"
export GOPATH="\$PWD:$bench/fetched/go/libraries/usr/share/gocode:/usr/share/gocode"
(cd src/github.com/restic/restic && go build -p 2 -o restic ./cmd/restic)
results=src/github.com/restic/restic/restic
END
}
edit_go() {
  printf '\n// Bench%s is measured.\nfunc Bench%s() int { return %s }\n' "$1" "$1" "$1" \
    >>"$2/src/github.com/restic/restic/internal/archiver/archiver.go"
}

# Some of levain's own crates, with all that they depend on from the package registry, and as cargo
# builds anything unless told otherwise: every crate without optimisation.
fetch_cargo() {
  local crate
  mkdir src
  for crate in store cache actions; do cp -r "$root/$crate" src; done
  cp "$root/Cargo.lock" src
  rm -rf src/*/tests src/*/benches
  sed -i '/^\[\[bench\]\]/,$d' src/*/Cargo.toml
  sed -e 's/^members = .*/members = ["store", "cache", "actions"]/' \
    -e '/^levain-\(evaluator\|engine\) /d' -e '/^\[profile/,/^$/d' "$root/Cargo.toml" >src/Cargo.toml
  # Which also leaves out of the lock file what the rest of levain needs.
  (cd src && cargo vendor --quiet --versioned-dirs ../vendor >/dev/null)
}
settings_cargo() { echo "levain.lib.settings.cargo { }"; }
set_cargo() { echo target; }
compile_cargo() {
  cat <<END
export PATH=$rustc:/usr/bin:/bin CARGO_INCREMENTAL=\${CARGO_INCREMENTAL-0}
test -n "\${NIX_BUILD_TOP-}" && export HOME=\$NIX_BUILD_TOP
export CARGO_HOME=$bench/cargo-home
cargo build --offline --config 'source.crates-io.replace-with="vendored"' --config 'source.vendored.directory="$bench/fetched/$name/vendor"'
results=target/debug/levain-cache
END
}
# One that nothing else depends on: that and the program are compiled and linked.
edit_cargo() {
  printf '\n/// Measured.\npub fn bench_%s() -> u32 {\n    %s\n}\n' "$1" "$1" >>"$2/cache/src/lib.rs"
}

# The same, with the compiler keeping parts of the crates, too.
fetch_cargo_incremental() { fetch_cargo; }
settings_cargo_incremental() { echo "levain.lib.settings.cargo { incremental = true; }"; }
set_cargo_incremental() { echo target; }
compile_cargo_incremental() {
  compile_cargo | sed 's/CARGO_INCREMENTAL-0/CARGO_INCREMENTAL-1/'
}
edit_cargo_incremental() { edit_cargo "$@"; }

# fetch_npm VERSIONED_PACKAGE...: TypeScript, and the sources that the first package brings.
fetch_npm() {
  need npm
  npm install --silent --no-audit --no-fund --prefix . "$@"
  mkdir src
  cp -r "node_modules/${1%@*}/src" src/src
  # Options of the package's own builds.
  find src/src -maxdepth 1 -name 'tsconfig*.json' -delete
}

# tsconfig OPTION...: a configuration that also keeps what was checked.
tsconfig() {
  printf '{\n  "compilerOptions": {\n'
  printf '    %s,\n' "$@" '"incremental": true' '"tsBuildInfoFile": "dist/.tsbuildinfo"' '"outDir": "dist"' \
    '"rootDir": "src"' '"declaration": true'
  printf '    "sourceMap": true\n  },\n  "include": ["src"]\n}\n'
}

# rxjs, a library of some two hundred TypeScript files: starting the compiler is most of the work.
fetch_rxjs() {
  fetch_npm rxjs@7.8.1 typescript@5.4.5
  rm -rf src/src/umd.ts
  tsconfig '"target": "ES2019"' '"module": "commonjs"' '"moduleResolution": "node"' \
    '"lib": ["ES2020", "DOM"]' '"types": []' >src/tsconfig.json
}
settings_rxjs() { echo "levain.lib.settings.tsc { }"; }
set_rxjs() { echo dist; }
compile_rxjs() {
  cat <<END
export PATH=/usr/bin:/bin
node $bench/fetched/$name/node_modules/typescript/bin/tsc -p .
results=dist/index.js
END
}
edit_rxjs() {
  printf '\nexport const bench%s = %s;\n' "$1" "$1" >>"$2/src/internal/util/noop.ts"
}

# effect, a library of some four hundred TypeScript files whose types take long to check.
fetch_effect() {
  fetch_npm effect@3.22.4 typescript@5.8.3 @types/node@20.19.0
  tsconfig '"target": "ES2022"' '"module": "NodeNext"' '"moduleResolution": "NodeNext"' \
    '"lib": ["ES2022", "DOM", "DOM.Iterable"]' '"strict": true' '"exactOptionalPropertyTypes": true' \
    '"moduleDetection": "force"' '"skipLibCheck": true' '"types": ["node"]' >src/tsconfig.json
}
settings_effect() { echo "levain.lib.settings.tsc { }"; }
set_effect() { echo dist; }
compile_effect() {
  compile_rxjs | sed "1a ln -sfn $bench/fetched/$name/node_modules node_modules"
}
edit_effect() {
  printf '\nexport const bench%s = %s;\n' "$1" "$1" >>"$2/src/internal/stm/tMap.ts"
}
