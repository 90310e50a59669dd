//! Makes an expression that shows a difference as small as it gets.

use super::mutate::tokens;

/// Removes and simplifies tokens as long as `still` says that the difference is there.
pub(crate) fn shrink(text: &str, mut still: impl FnMut(&str) -> bool) -> String {
    let mut best = text.to_owned();
    let mut attempts = 150;
    let mut chunk = tokens(&best).len() / 2;
    while chunk > 0 && attempts > 0 {
        let mut at = 0;
        let mut progress = false;
        loop {
            let pieces = tokens(&best);
            if at >= pieces.len() || attempts == 0 {
                break;
            }
            let end = (at + chunk).min(pieces.len());
            let replaced = [pieces[..at].concat(), String::new(), pieces[end..].concat()];
            let blanks = pieces[at..end].iter().all(|piece| piece.trim().is_empty());
            let candidates = [replaced.concat(), format!("{}1{}", replaced[0], replaced[2])];
            let found = candidates.into_iter().find(|candidate| {
                attempts -= 1;
                !blanks && candidate.len() < best.len() && still(candidate)
            });
            match found {
                Some(smaller) => {
                    best = smaller;
                    progress = true;
                }
                None => at += chunk,
            }
            if attempts <= 1 {
                attempts = 0;
            }
        }
        if !progress {
            chunk /= 2;
        }
    }
    best
}
