# Runs the phases in the order of nixpkgs' `stdenv`, in one shell: each is a function, or the text of
# a variable. Like there, the working directory of a phase is that of the next.
set -u
export PATH=/usr/bin:/bin

unpackPhase() {
  cp -r --preserve=timestamps "$src" source
  chmod -R u+w source
  cd "${sourceRoot:-source}"
}
patchPhase() { :; }
configurePhase() { :; }
buildPhase() { make; }
checkPhase() { :; }
installPhase() { :; }
fixupPhase() { :; }

for phase in ${prePhases-} unpackPhase patchPhase ${preConfigurePhases-} configurePhase \
  ${preBuildPhases-} buildPhase checkPhase ${preInstallPhases-} installPhase fixupPhase ${postPhases-}; do
  eval "${!phase:-$phase}"
done
exit 0
