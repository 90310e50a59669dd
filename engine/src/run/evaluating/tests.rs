//! What the base evaluation takes, for whatever an author has committed.

use super::*;

fn base(present: PlainFile) -> (BaseTree, String) {
    let dir = StoreDir::new("/nix/store").unwrap();
    let base = base_of(&dir, "ci/cache.nix", "0123456789ab", &present);
    (base.tree, base.notice.unwrap_or_default())
}

fn content(text: &str) -> PlainFile {
    PlainFile::Content(text.into())
}

#[test]
fn a_null_pointer_or_none_is_taken_as_it_is() {
    for present in [PlainFile::Nothing, content("null"), content("null\n"), content("# c\nnull")] {
        assert_eq!(base(present.clone()), (BaseTree::AsItIs, String::new()), "{present:?}");
    }
}

#[test]
fn a_committed_pointer_counts_as_null() {
    let path = r#""/nix/store/xvkp4j2ckk64igdl9gklmdj3cbv2kln0-x""#;
    for text in [path, "{ }", "{ a = 1; }"] {
        let (tree, notice) = base(content(text));
        assert_eq!(tree, BaseTree::NullPointer, "{text}");
        assert!(notice.starts_with("cache pointer rejected: commit 0123456789ab"), "{notice}");
    }
}

#[test]
fn what_is_no_pointer_costs_the_caches() {
    let (tree, notice) = base(content("{ pkgs }: pkgs.hello"));
    assert_eq!(tree, BaseTree::WithoutIncremental);
    assert!(
        notice.contains("`ci/cache.nix` of commit 0123456789ab is no cache pointer"),
        "{notice}"
    );
}

#[test]
fn what_is_no_file_is_replaced_and_told() {
    let at = |path: &str, found| PlainFile::Other { path: path.into(), found };
    for (present, told) in [
        (at("ci/cache.nix", "symbolic link"), "a symbolic link at `ci/cache.nix`"),
        (at("ci", "submodule"), "a submodule at `ci`"),
        (at("ci", "file"), "a file at `ci`"),
        (PlainFile::TooLarge, "a file too large for a cache pointer at `ci/cache.nix`"),
    ] {
        let (tree, notice) = base(present);
        assert_eq!(tree, BaseTree::NullPointer);
        assert_eq!(
            notice,
            format!(
                "commit 0123456789ab has {told}, where the shadow branch has the file `ci/cache.nix`; it is replaced there"
            )
        );
    }
}

#[test]
fn large_files_are_told_by_their_filter() {
    assert!(has_large_files(b"*.c text\n*.bin filter=lfs diff=lfs merge=lfs -text\n"));
    assert!(!has_large_files(b"# *.bin filter=lfs\n*.bin -filter\nfilter=lfs text\n"));
}

#[test]
fn submodules_are_entries_of_their_file() {
    assert!(has_submodules(b"[submodule \"vendor/x\"]\n\tpath = vendor/x\n"));
    assert!(has_submodules(b"# none\n  [submodule \"x\"]"));
    assert!(!has_submodules(b"# [submodule \"x\"]\n"));
    assert!(!has_submodules(b""));
}
