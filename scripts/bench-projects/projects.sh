# shellcheck shell=bash disable=SC2034,SC2154
# The projects of `scripts/bench-incremental` and `scripts/demo`. Sourced, never run.
#
# For each NAME: fetch_NAME puts the sources into ./src; settings_NAME prints what
# `levain.lib.incremental` is told, set_NAME the directory that it keeps; compile_NAME prints a script
# that builds in the current directory and sets `results`; edit_NAME NUMBER DIR edits one file.

readonly projects="lua redis cargo rxjs" job=x86_64-linux.app

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
      levainProject = levain.lib.mkProject { incremental.enable = true; };
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

# fetch_debian PACKAGE: the sources of a Debian source package, without Debian's changes.
fetch_debian() {
  mkdir -p lists/partial cache/partial
  # From where the machine has its packages, in lists of its own, so that the machine's are left alone.
  # shellcheck disable=SC2016 # apt's variables, not the shell's
  apt-get indextargets --format 'deb-src $(REPO_URI) $(CODENAME) $(COMPONENT)' \
    'Created-By: Packages' 'Origin: Debian' | sort -u >list
  local apt=(apt-get -qq -o Dir::Etc::SourceList="$PWD/list" -o Dir::Etc::SourceParts=/dev/null
    -o Dir::State::Lists="$PWD/lists" -o Dir::Cache="$PWD/cache" -o APT::Sandbox::User=)
  "${apt[@]}" update
  "${apt[@]}" source --download-only "$1"
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

# levain's own store and cache, with all that they depend on from the package registry.
fetch_cargo() {
  local crate
  mkdir src
  for crate in store cache; do cp -r "$root/$crate" src; done
  cp "$root/Cargo.lock" src
  rm -rf src/*/tests
  sed -e 's/^members = .*/members = ["store", "cache"]/' -e '/^levain-\(evaluator\|actions\|engine\) /d' \
    "$root/Cargo.toml" >src/Cargo.toml
  # Which also leaves out of the lock file what the rest of levain needs.
  (cd src && cargo vendor --quiet --versioned-dirs ../vendor >/dev/null)
}
settings_cargo() { echo "levain.lib.settings.cargo { }"; }
set_cargo() { echo target; }
compile_cargo() {
  cat <<END
export PATH=$rustc:/usr/bin:/bin CARGO_INCREMENTAL=0
test -n "\${NIX_BUILD_TOP-}" && export HOME=\$NIX_BUILD_TOP
export CARGO_HOME=$bench/cargo-home
cargo build --offline --config 'source.crates-io.replace-with="vendored"' --config 'source.vendored.directory="$bench/fetched/cargo/vendor"'
results=target/debug/levain-cache
END
}
edit_cargo() {
  printf '\n/// Measured.\npub fn bench_%s() -> u32 {\n    %s\n}\n' "$1" "$1" >>"$2/cache/src/lib.rs"
}

# rxjs, a library of some two hundred TypeScript files, which its package brings.
fetch_rxjs() {
  need npm
  npm install --silent --no-audit --no-fund --prefix . typescript@5.4.5 rxjs@7.8.1
  mkdir src
  cp -r node_modules/rxjs/src src/src
  rm -f src/src/tsconfig*.json
  rm -rf src/src/umd.ts
  cat >src/tsconfig.json <<'END'
{
  "compilerOptions": {
    "incremental": true,
    "tsBuildInfoFile": "dist/.tsbuildinfo",
    "outDir": "dist",
    "rootDir": "src",
    "target": "ES2019",
    "module": "commonjs",
    "moduleResolution": "node",
    "lib": ["ES2020", "DOM"],
    "declaration": true,
    "sourceMap": true,
    "types": []
  },
  "include": ["src"]
}
END
}
settings_rxjs() { echo "levain.lib.settings.tsc { }"; }
set_rxjs() { echo dist; }
compile_rxjs() {
  cat <<END
export PATH=/usr/bin:/bin
node $bench/fetched/rxjs/node_modules/typescript/bin/tsc -p .
results=dist/index.js
END
}
edit_rxjs() {
  printf '\nexport const bench%s = %s;\n' "$1" "$1" >>"$2/src/internal/util/noop.ts"
}
