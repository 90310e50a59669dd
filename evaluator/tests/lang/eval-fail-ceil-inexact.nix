# since 2.34
# An integer that is no float: older versions rounded it.
builtins.ceil 9007199254740993
