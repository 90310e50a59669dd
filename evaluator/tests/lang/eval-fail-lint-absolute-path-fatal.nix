# since 2.34
# set lint-absolute-path-literals fatal
x: /tmp/${x}
