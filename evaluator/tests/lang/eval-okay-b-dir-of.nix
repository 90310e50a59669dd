# All but the last part; a string stays a string.
[ (dirOf "a/b") (dirOf "/a") (dirOf "a") (dirOf "a/b/") (dirOf /a/b) (dirOf /a) (dirOf "/a/b/c") ]
