#!/bin/sh
# Stands before a program that starts whatever the settings of a repository say: git runs its filters, Mercurial its
# hooks. A flake can put a repository with such settings into the store, and have Nix read it. So nothing in the store is
# taken for a repository.
check() {
  place=${1#file://}
  place=$(CDPATH='' cd -P -- "$place" 2>/dev/null && pwd -P) || return 0
  for store in @STORES@; do
    case $place/ in
      "$store"/*)
        echo "error: '$place' is in the store, and no repository" >&2
        exit 128
        ;;
    esac
  done
}
check .
if [ -n "${GIT_DIR:-}" ]; then check "$GIT_DIR"; fi
for word; do
  check "$word"
  case $word in --*=*) check "${word#*=}" ;; esac
done
exec @PROGRAM@ "$@"
