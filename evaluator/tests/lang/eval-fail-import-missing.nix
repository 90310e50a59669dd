# An import of what is not there.
import ./surely-not-there.nix
