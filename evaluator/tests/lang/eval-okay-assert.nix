# Assertions give what follows them.
[ (assert true; 1) (assert 1 == 1; assert true; 2) (let x = assert true; 3; in x) ]
