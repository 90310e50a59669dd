# Elements that have no order.
[ 1 ] < [ "a" ]
