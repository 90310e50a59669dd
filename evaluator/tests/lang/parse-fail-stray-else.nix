# A condition without a beginning.
1 else 2
