# Nothing is downloaded; with a hash it may be in the store.
builtins.fetchTarball "https://forge.invalid/source.tar.gz"
