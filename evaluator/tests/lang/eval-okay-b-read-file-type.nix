# The type of one file.
# since 2.14
[ (builtins.readFileType ./data) (builtins.readFileType ./data/text) ]
