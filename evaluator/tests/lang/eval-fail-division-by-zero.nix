# Numbers.
1 / 0
