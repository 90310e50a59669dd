//! A repository whose HEAD leads nowhere: wherever its project is shown, that is said, with what mends it.

use levain_actions::forge::webhook::Sender;
use levain_server::Database;
use levain_server::doctor::Severity;
use levain_server::projects::ProjectId;
use levain_server::reconcile::Head;

use crate::pages::Browsing;
use crate::support::{GITHUB, databases, note, now, project};

const SAID: &str = "nothing tells which is the default branch";

/// Returns the pages of a project on which it is said, and what the doctor says to do.
async fn said(database: &Database, server: &Browsing, name: &str) -> (Vec<String>, Vec<String>) {
    let mut pages = Vec::new();
    for path in ["/".to_owned(), format!("/projects/{name}"), format!("/projects/{name}/settings")]
    {
        if server.page(&path).await.contains(SAID) {
            pages.push(path);
        }
    }
    let findings = database.examine(now()).await.unwrap();
    let of = format!("default branch of {name}");
    let findings = findings.into_iter().filter(|finding| finding.check == of);
    let fixes = findings.map(|finding| {
        assert_eq!((finding.severity, finding.found.contains(SAID)), (Severity::Bad, true));
        finding.fix.unwrap()
    });
    (pages, fixes.collect())
}

async fn push(database: &Database, id: ProjectId, branches: &[&str]) {
    let heads = branches.iter().enumerate().map(|(number, name)| {
        let commit = format!("{:040x}", number + 1).parse().unwrap();
        (format!("heads/{name}").parse().unwrap(), Head::branch(commit))
    });
    note(database, id, heads.collect()).await;
    database.note_look(id, None).await.unwrap();
}

#[tokio::test]
async fn a_head_that_leads_nowhere_is_said_wherever_the_project_is_shown() {
    for test in databases().await {
        let database = test.open().await;
        let server = Browsing::new(&database).await;
        let bare = project(&database, "bare", Sender::Git).await.id;
        let forge = project(&database, "forge", GITHUB).await.id;
        let nothing = (Vec::new(), Vec::new());
        // Nobody looked yet, and then nothing was there.
        assert_eq!(said(&database, &server, "bare").await, nothing);
        push(&database, bare, &[]).await;
        assert_eq!(said(&database, &server, "bare").await, nothing);
        push(&database, bare, &["main", "topic"]).await;
        let (pages, fixes) = said(&database, &server, "bare").await;
        assert_eq!(pages, ["/", "/projects/bare", "/projects/bare/settings"]);
        let [fix] = &*fixes else { panic!("{fixes:?}") };
        assert!(fix.contains("`git symbolic-ref HEAD refs/heads/main`"), "{fix}");
        for path in ["/projects/bare", "/projects/bare/settings"] {
            let page = server.page(path).await;
            assert!(page.contains("<code>git symbolic-ref HEAD refs/heads/main</code>"), "{page}");
            let twin = server.twin(&format!("{path}.json")).await;
            assert_eq!(twin["noDefaultBranch"]["hint"], fix.as_str());
        }
        push(&database, forge, &["topic"]).await;
        let (pages, fixes) = said(&database, &server, "forge").await;
        assert_eq!((pages.len(), fixes.len()), (3, 1));
        assert!(fixes[0].contains("`topic`") && fixes[0].contains("settings"), "{fixes:?}");
        for id in [bare, forge] {
            database.note_default_branch(id, Some("topic".to_owned())).await.unwrap();
        }
        for name in ["bare", "forge"] {
            assert_eq!(said(&database, &server, name).await, nothing);
        }
    }
}
