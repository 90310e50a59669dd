# Without permission, and for what is not set, the empty string.
builtins.getEnv "LEVAIN_TEST_SURELY_NOT_SET"
