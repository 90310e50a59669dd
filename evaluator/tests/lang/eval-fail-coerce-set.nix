# A set that cannot become a string.
"${{ }}"
