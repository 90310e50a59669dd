# since 2.24
# set extra-experimental-features pipe-operators
[
  (1 |> (x: x + 1) |> toString)
  (toString <| builtins.add 1 <| 2)
  ([ 3 4 ] |> map (x: x * 2) |> builtins.head)
]
