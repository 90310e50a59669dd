//! The bench itself must be able to fail: caches that lie are caught.

use crate::edit::Edit;
use crate::sequence::Sequence;
use crate::toolchains::{Toolchain, c};

/// make, without what it needs to be told about Makefiles and files that are gone.
const CARELESS: Toolchain = Toolchain {
    name: "careless",
    settings: r#"removeAttrs (levain.lib.settings.make { paths = [ "build" ]; }) [ "definitions" "gone" ]"#,
    ..c::MAKE
};

/// make, only if nothing is there yet.
const LIAR: Toolchain = Toolchain {
    name: "liar",
    settings: CARELESS.settings,
    build: "test -e build/app || make -s CC=$compiler\ncp build/app $out\n./build/app > $out/printed",
    ..c::MAKE
};

#[track_caller]
fn difference(toolchain: &Toolchain, edits: &[Edit]) -> String {
    let mut sequence = Sequence::new(toolchain, 1);
    let (last, before) = edits.split_last().unwrap();
    for edit in before {
        sequence.step(*edit).unwrap();
    }
    sequence.step(*last).unwrap_err()
}

#[test]
fn an_unseen_flag_is_a_difference() {
    let found = difference(&CARELESS, &[Edit::SameSize, Edit::Flag]);
    assert!(found.contains("careless, step 2: app: differs from the clean build"), "{found}");
}

#[test]
fn what_stays_of_a_deleted_file_is_a_difference() {
    let found = difference(&CARELESS, &[Edit::Delete]);
    assert!(found.contains("files: differs from the clean build"), "{found}");
}

#[test]
fn an_old_result_is_a_difference() {
    let found = difference(&LIAR, &[Edit::Rebuild, Edit::SameSize]);
    assert!(found.contains("liar, step 2: app: differs from the clean build"), "{found}");
    assert!(found.contains("printed: differs from the clean build"), "{found}");
}

#[test]
fn an_old_result_instead_of_a_failure_is_a_difference() {
    let found = difference(&LIAR, &[Edit::Rebuild, Edit::Missing]);
    assert!(found.contains("liar, step 2: built although a file is missing"), "{found}");
}
