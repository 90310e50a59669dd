# since 2.34
# set lint-url-literals warn
# set lint-short-path-literals fatal
[ http://example.com test/subdir ]
