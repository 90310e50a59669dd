# URIs without quotes are strings.
[ http://example.org/a?b=c&d http://a:80/x mailto:x@y x:y ]
