# shellcheck shell=bash
# Root directories of other Debian releases, to run programs with the versions of Nix that are in them.
#
# Sourced, never run. Needs root and debootstrap. Source `scripts/lib.sh` before.

# make_chroot SUITE DIR PACKAGE...: installs SUITE with those packages in DIR, once.
make_chroot() {
  local suite=$1 dir=$2
  shift 2
  # What is installed there; with another list of packages it is completed.
  if [ "$(cat "$dir/.ready" 2>/dev/null)" = "$*" ]; then return; fi
  say "installing $suite in $dir"
  [ -e "$dir/debootstrap" ] && rm -rf "$dir"
  [ -e "$dir/usr" ] || debootstrap --variant=minbase "$suite" "$dir" >&2
  # debootstrap does not know what a package provides; apt-get does. A mirror may lag behind the
  # date in its own list of packages.
  enter_chroot "$dir" apt-get -o Acquire::Check-Valid-Until=false update --quiet >&2
  enter_chroot "$dir" env DEBIAN_FRONTEND=noninteractive \
    apt-get install --yes --quiet --no-install-recommends "$@" >&2
  echo "$*" >"$dir/.ready"
}

# enter_chroot DIR COMMAND...: runs COMMAND as the root of namespaces of its own, with DIR as its root
# directory. Each path in the array `binds` is visible there at the same path. Ends everything that
# COMMAND started when it ends. The root is pivoted: below a plain `chroot`, Nix and bubblewrap
# cannot make namespaces of their own.
enter_chroot() {
  local dir=$1
  shift
  # shellcheck disable=SC2016 # the inner shell expands them
  CHROOT=$dir BINDS="${binds[*]:-}" unshare --mount --pid --ipc --uts --fork --kill-child --propagation private \
    bash -euc '
      mount --bind "$CHROOT" "$CHROOT"
      mount --rbind --make-rprivate /dev "$CHROOT/dev"
      mount --rbind --make-rprivate /sys "$CHROOT/sys"
      mount -t proc proc "$CHROOT/proc"
      cp /etc/resolv.conf "$CHROOT/etc/resolv.conf"
      # Not every release makes one at its installation.
      [ -e "$CHROOT/etc/hosts" ] || echo "127.0.0.1 localhost" >"$CHROOT/etc/hosts"
      for path in $BINDS; do
        if [ -d "$path" ]; then
          mkdir -p "$CHROOT$path"
        else
          mkdir -p "$(dirname "$CHROOT$path")"
          touch "$CHROOT$path"
        fi
        mount --bind "$path" "$CHROOT$path"
      done
      cd "$CHROOT"
      pivot_root . .
      umount -l .
      cd /
      exec env -i HOME=/root LC_ALL=C.UTF-8 TERM=dumb \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
    ' enter "$@"
}
