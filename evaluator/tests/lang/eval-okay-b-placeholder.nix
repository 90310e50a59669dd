# What stands for an output's path within its own derivation.
[ (builtins.placeholder "out") (builtins.placeholder "dev") ]
