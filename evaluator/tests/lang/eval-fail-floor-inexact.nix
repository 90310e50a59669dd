# since 2.34
builtins.floor (-9007199254740993)
