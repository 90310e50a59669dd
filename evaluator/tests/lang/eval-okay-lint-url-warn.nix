# set lint-url-literals warn
[ http://example.com "http://example.com" (x:y) ]
