# Nothing at all.
# only a comment
