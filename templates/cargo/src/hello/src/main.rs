//! Greets.

fn main() {
    println!("{}", greeting::greeting());
}
