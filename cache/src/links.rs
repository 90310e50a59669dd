//! Where symbolic links lead, without touching the file system.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};

use crate::relative::RelativePath;

/// Links followed before giving up, as the kernel does.
const HOPS: usize = 40;

/// Where a link leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Leads {
    /// To a place in the tree, whether something is there or not.
    To(RelativePath),
    /// To a place outside that is allowed.
    Elsewhere,
    /// Out of the tree.
    Out,
    /// Round in a circle.
    Nowhere,
}

/// Follows a link of the tree in that directory; `link_at` says what other links of the tree say,
/// `elsewhere` which absolute places outside are allowed.
///
/// A link out of the tree and back in by its own name (`../tree/x`) counts as leading out.
pub(crate) fn follow(
    tree: &Path,
    link: &RelativePath,
    target: &[u8],
    link_at: &dyn Fn(&RelativePath) -> Option<Vec<u8>>,
    elsewhere: &dyn Fn(&Path) -> bool,
) -> Leads {
    let mut hops = 0;
    let mut place = link.parent().unwrap_or_else(RelativePath::root);
    let mut left: VecDeque<Vec<u8>> = VecDeque::new();
    let mut pending = Some(target.to_vec());
    loop {
        if let Some(text) = pending.take() {
            hops += 1;
            if hops > HOPS {
                return Leads::Nowhere;
            }
            let rest: &[u8] = if text.starts_with(b"/") {
                let inside = text
                    .strip_prefix(tree.as_os_str().as_bytes())
                    .filter(|rest| rest.is_empty() || rest.starts_with(b"/"));
                let Some(inside) = inside else {
                    let absolute = Path::new(OsStr::from_bytes(&text));
                    let climbs = absolute.components().any(|part| part == Component::ParentDir)
                        || left.iter().any(|name| name == b"..");
                    let allowed = !climbs && elsewhere(absolute);
                    return if allowed { Leads::Elsewhere } else { Leads::Out };
                };
                place = RelativePath::root();
                inside
            } else {
                &text
            };
            let names = rest.split(|&byte| byte == b'/');
            for name in names.filter(|name| !name.is_empty() && *name != b".").rev() {
                left.push_front(name.to_vec());
            }
        }
        let Some(name) = left.pop_front() else { return Leads::To(place) };
        if name == b".." {
            match place.parent() {
                Some(parent) => place = parent,
                None => return Leads::Out,
            }
            continue;
        }
        let next = place.child(&name);
        match link_at(&next) {
            Some(text) => pending = Some(text),
            None => place = next,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leads(link: &str, target: &str, links: &[(&str, &str)]) -> Leads {
        let path = |text: &str| RelativePath::parse(text.as_bytes()).unwrap();
        let link_at = |place: &RelativePath| {
            let found = links.iter().find(|(link, _)| path(link) == *place);
            found.map(|(_, target)| target.as_bytes().to_vec())
        };
        let elsewhere = |place: &Path| place.starts_with("/nix/store");
        follow(Path::new("/build/tree"), &path(link), target.as_bytes(), &link_at, &elsewhere)
    }

    fn to(text: &str) -> Leads {
        Leads::To(RelativePath::parse_or_root(text.as_bytes()).unwrap())
    }

    #[test]
    fn plain_links() {
        assert_eq!(leads("a/l", "b", &[]), to("a/b"));
        assert_eq!(leads("a/l", "../b/./c//d", &[]), to("b/c/d"));
        assert_eq!(leads("a/l", "..", &[]), to("."));
        assert_eq!(leads("a/l", "/build/tree/x", &[]), to("x"));
        assert_eq!(leads("a/l", "/build/treex", &[]), Leads::Out);
        assert_eq!(leads("a/l", "/etc/passwd", &[]), Leads::Out);
        assert_eq!(leads("a/l", "../../x", &[]), Leads::Out);
        assert_eq!(leads("l", "a/../../x", &[]), Leads::Out);
    }

    #[test]
    fn links_through_links() {
        assert_eq!(leads("l", "m/x", &[("m", "deep/er")]), to("deep/er/x"));
        // Lexically inside, really outside: `m` is two levels up from where it seems to be.
        assert_eq!(leads("a/b/l", "m/../../x", &[("a/b/m", "../../c")]), Leads::Out);
        assert_eq!(leads("l", "m", &[("m", "/etc")]), Leads::Out);
        assert_eq!(leads("l", "m", &[("m", "n"), ("n", "m")]), Leads::Nowhere);
    }

    #[test]
    fn links_to_allowed_places() {
        assert_eq!(leads("l", "/nix/store/x", &[]), Leads::Elsewhere);
        assert_eq!(leads("l", "m/lib", &[("m", "/nix/store/x")]), Leads::Elsewhere);
        assert_eq!(leads("l", "/nix/store/../../etc", &[]), Leads::Out);
        assert_eq!(leads("l", "m/../../..", &[("m", "/nix/store/x")]), Leads::Out);
        assert_eq!(leads("l", "/nix/stores", &[]), Leads::Out);
    }
}
