# shellcheck shell=bash
# What the scripts share: saying what goes wrong, and installing what is missing.
#
# Sourced, never run. Nothing here touches what is installed already; on a machine where
# everything is there, neither root nor a package mirror is needed.

# Ends the script with a message, and what to do about it.
fail() {
  printf 'error: %s\n' "$1" >&2
  if [ $# -gt 1 ]; then printf 'hint: %s\n' "$2" >&2; fi
  exit 1
}

say() {
  printf '%s\n' "$*" >&2
}

# The Debian package that brings a program.
package_of() {
  case $1 in
    nix | nix-daemon) echo nix-bin ;;
    bwrap) echo bubblewrap ;;
    gcc) echo gcc libc6-dev ;;
    ninja) echo ninja-build ;;
    go) echo golang-go ;;
    dune) echo ocaml-dune ;;
    ocamlopt) echo ocaml ;;
    nm) echo binutils ;;
    ssh) echo openssh-client ;;
    sshd) echo openssh-server ;;
    ip) echo iproute2 ;;
    chromedriver) echo chromium-driver ;;
    chromium | cmake | curl | debootstrap | ghc | git | make | meson | perl | shellcheck | zstd) echo "$1" ;;
    *) fail "no package is known that brings \`$1\`" ;;
  esac
}

# Runs a command as root.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    fail "cannot install $missing: not root, and \`sudo\` is missing" \
      "as root, run: apt-get install --no-install-recommends $missing"
  fi
}

apt_install() {
  # shellcheck disable=SC2086 # $missing is a list of packages
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends $missing >&2
}

# need_packages PACKAGE...: installs packages, which are missing.
need_packages() {
  missing=$*
  command -v apt-get >/dev/null ||
    fail "missing: $missing" "install them with this system's package manager; Debian's names are given"
  say "installing $missing"
  # A machine's list of packages may be missing or out of date; then it is fetched once.
  apt_install || {
    as_root apt-get update --quiet >&2 && apt_install
  } || fail "cannot install $missing" "check that apt-get reaches a package mirror, or install them by hand"
  hash -r
}

# need PROGRAM...: installs the packages of those programs that are not on the PATH.
need() {
  local program packages=
  for program; do
    command -v "$program" >/dev/null || packages="$packages $(package_of "$program")"
  done
  if [ -z "$packages" ]; then return; fi
  # shellcheck disable=SC2086 # a list of packages
  need_packages $packages
  for program; do
    command -v "$program" >/dev/null || fail "\`$program\` is still missing after installing $packages"
  done
}

need_cargo() {
  if ! command -v cargo >/dev/null && [ -f "$HOME/.cargo/env" ]; then
    # shellcheck disable=SC1091 # written by rustup
    . "$HOME/.cargo/env"
  fi
  command -v cargo >/dev/null || fail "cargo is missing" "install Rust: https://rustup.rs"
}

# own_nix DIR: gives everything that is started from here a Nix store, a home and a git
# configuration of its own below DIR, which is made. Needs no root, and leaves nothing behind but DIR.
own_nix() {
  mkdir -p "$1/conf" "$1/home" "$1/tmp"
  cat >"$1/conf/nix.conf" <<END
experimental-features = nix-command flakes
substituters =
sandbox = false
build-users-group =
END
  # Git must not ask who commits, nor read anyone's settings.
  cat >"$1/home/.gitconfig" <<END
[user]
name = Alice
email = alice@example.org
[init]
defaultBranch = main
END
  # Cargo and rustup look below HOME unless they are told where they are.
  export CARGO_HOME="${CARGO_HOME:-$HOME/.cargo}" RUSTUP_HOME="${RUSTUP_HOME:-$HOME/.rustup}"
  export NIX_STORE_DIR="$1/store" NIX_STATE_DIR="$1/var" NIX_LOG_DIR="$1/log" NIX_CONF_DIR="$1/conf"
  export HOME="$1/home" TMPDIR="$1/tmp" LC_ALL=C.UTF-8
  unset NIX_REMOTE NIX_PATH NIX_USER_CONF_FILES XDG_CACHE_HOME XDG_STATE_HOME XDG_CONFIG_HOME
  unset LEVAIN_TOKEN LEVAIN_TOKEN_FILE LEVAIN_READ_ONLY GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE
}

# json FILE PATH: prints the value at a path such as `jobs.0.status`, a list line by line, `-` for none.
json() {
  # shellcheck disable=SC2016 # Perl's variables, not the shell's
  perl -MJSON::PP -e '
    my ($file, $path) = @ARGV;
    open(my $in, "<", $file) or die "$file: $!\n";
    local $/;
    my $value = JSON::PP->new->decode(<$in>);
    for my $key (split /\./, $path) {
      $value = ref $value eq "ARRAY" ? $value->[$key] : ref $value eq "HASH" ? $value->{$key} : undef;
    }
    print "$_\n" for ref $value eq "ARRAY" ? @$value : $value // "-";
  ' "$1" "$2"
}

# table: lines up the columns of lines like `a|b|c`, the first to the left, the others to the right.
table() {
  # shellcheck disable=SC2016 # Perl's variables, not the shell's
  perl -lne '
    my @row = split /\|/, $_, -1;
    push @rows, \@row;
    for (0 .. $#row) { my $l = length $row[$_]; $width[$_] = $l if $l > ($width[$_] // 0) }
    END {
      for my $row (@rows) {
        my $line = join "  ", map { sprintf $_ ? "%*s" : "%-*s", $width[$_], $row->[$_] // "" } 0 .. $#width;
        $line =~ s/\s+$//;
        print $line;
      }
    }'
}
