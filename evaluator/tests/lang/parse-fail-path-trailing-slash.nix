# A path that ends with a slash.
/a/
