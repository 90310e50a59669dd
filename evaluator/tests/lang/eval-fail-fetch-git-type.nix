builtins.fetchGit { type = "git"; url = "https://forge.invalid/source"; }
