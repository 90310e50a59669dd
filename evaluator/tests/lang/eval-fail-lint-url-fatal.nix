# since 2.34
# set lint-url-literals fatal
{ url = http://example.com/a?b=c; }
