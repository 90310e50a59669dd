//! Deliveries are kept once, and what became of them.

use levain_server::deliveries::{DeliveryState, Kept, NewDelivery};
use levain_server::projects::{NewProject, ProjectError, ProjectId};

use crate::support::{GITHUB, databases, now, project};

fn new(project: ProjectId, key: &str, body: &[u8]) -> NewDelivery {
    NewDelivery {
        project,
        key: key.to_owned(),
        received_at: now(),
        event: Some("push".to_owned()),
        body: body.to_vec(),
    }
}

#[tokio::test]
async fn the_first_of_a_key_is_kept() {
    for test in databases().await {
        let database = test.open().await;
        let a = project(&database, "a", GITHUB).await.id;
        let b = project(&database, "b", GITHUB).await.id;
        let Kept::New(id) = database.keep_delivery(new(a, "k", b"1\0\xff")).await.unwrap() else {
            panic!("it is new");
        };
        let again = database.keep_delivery(new(a, "k", b"1\0\xff")).await.unwrap();
        assert_eq!(again, Kept::Again(id));
        let other = database.keep_delivery(new(a, "k", b"2")).await.unwrap();
        assert_eq!(other, Kept::Conflict(id));
        let elsewhere = database.keep_delivery(new(b, "k", b"2")).await.unwrap();
        assert!(matches!(elsewhere, Kept::New(other) if other > id), "{elsewhere:?}");
        let delivery = database.delivery(id).await.unwrap().unwrap();
        assert_eq!((delivery.repeats, delivery.conflicts), (1, 1));
        assert_eq!(delivery.body, b"1\0\xff");
        assert_eq!((delivery.project, delivery.sender), (a, GITHUB));
        assert_eq!(delivery.event.as_deref(), Some("push"));
    }
}

#[tokio::test]
async fn the_last_ones_are_listed_without_what_they_say() {
    for test in databases().await {
        let database = test.open().await;
        let a = project(&database, "a", GITHUB).await.id;
        let b = project(&database, "b", GITHUB).await.id;
        // One of them says nothing at all.
        for (id, key, body) in [(a, "1", &b"a body"[..]), (b, "2", b"a body"), (a, "3", b"")] {
            let Kept::New(id) = database.keep_delivery(new(id, key, body)).await.unwrap() else {
                panic!("it is known")
            };
            assert_eq!(database.delivery(id).await.unwrap().unwrap().body, body);
        }
        for (project, limit, expected) in
            [(None, 9, &["3", "2", "1"][..]), (Some(a), 9, &["3", "1"]), (None, 1, &["3"])]
        {
            let listed = database.last_deliveries(project, limit).await.unwrap();
            let keys: Vec<&str> = listed.iter().map(|delivery| delivery.key.as_str()).collect();
            assert_eq!(keys, expected);
            assert!(listed.iter().all(|delivery| delivery.body.is_empty()));
        }
    }
}

#[tokio::test]
async fn what_became_of_it_is_noted_once_and_can_be_undone() {
    for test in databases().await {
        let database = test.open().await;
        let id = project(&database, "a", GITHUB).await.id;
        for key in ["1", "2", "3"] {
            database.keep_delivery(new(id, key, b"")).await.unwrap();
        }
        let waiting = || async {
            let waiting = database.waiting_deliveries(10).await.unwrap();
            waiting.into_iter().map(|delivery| delivery.key).collect::<Vec<_>>()
        };
        assert_eq!(waiting().await, ["1", "2", "3"]);
        let two = database.waiting_deliveries(10).await.unwrap()[1].id;
        let settle = |state, why: &str| database.settle_delivery(two, state, why.to_owned());
        assert!(settle(DeliveryState::Ignored, "nothing to do").await.unwrap());
        assert!(!settle(DeliveryState::Acted, "too late").await.unwrap());
        assert_eq!(waiting().await, ["1", "3"]);
        let delivery = database.delivery(two).await.unwrap().unwrap();
        assert_eq!(delivery.state, DeliveryState::Ignored);
        assert_eq!(delivery.outcome.as_deref(), Some("nothing to do"));
        assert!(database.replay_delivery(two).await.unwrap());
        assert_eq!(waiting().await, ["1", "2", "3"]);
        // Only what is done with is forgotten.
        assert!(settle(DeliveryState::Acted, "").await.unwrap());
        let later = levain_server::clock::Timestamp::from_millis(now().millis() + 1);
        assert_eq!(database.forget_deliveries(later).await.unwrap(), 1);
        assert_eq!(database.delivery(two).await.unwrap(), None);
        assert!(!database.replay_delivery(two).await.unwrap());
        assert_eq!(waiting().await, ["1", "3"]);
    }
}

#[tokio::test]
async fn one_that_fails_does_not_undo_the_others() {
    for test in databases().await {
        let database = test.open().await;
        let a = project(&database, "a", GITHUB).await.id;
        // All at once, so that they are committed together; a project that there is not is refused.
        let gone = {
            let other = project(&database, "b", GITHUB).await.id;
            let mut connection = test.connect().await;
            sqlx::query("DELETE FROM projects WHERE name = 'b'")
                .execute(&mut connection)
                .await
                .unwrap();
            other
        };
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..400 {
            let database = database.clone();
            let project = if number % 10 == 3 { gone } else { a };
            tasks.spawn(async move {
                let kept = database.keep_delivery(new(project, &number.to_string(), b"x")).await;
                (project, kept)
            });
        }
        let mut kept = 0;
        while let Some(result) = tasks.join_next().await {
            let (project, result) = result.unwrap();
            assert_eq!(result.is_ok(), project == a, "{result:?}");
            kept += usize::from(result.is_ok());
        }
        assert_eq!(kept, 360);
        assert_eq!(database.waiting_deliveries(1000).await.unwrap().len(), 360);
    }
}

#[tokio::test]
async fn what_was_accepted_is_there_after_the_end() {
    for test in databases().await {
        let database = test.open().await;
        let id = project(&database, "a", GITHUB).await.id;
        database.keep_delivery(new(id, "k", b"body")).await.unwrap();
        // Not closed: as if the process had been killed.
        std::mem::forget(database);
        let waiting = test.open().await.waiting_deliveries(10).await.unwrap();
        assert_eq!(waiting.len(), 1);
    }
}

#[tokio::test]
async fn names_of_projects_are_taken_once() {
    for test in databases().await {
        let database = test.open().await;
        let first = project(&database, "a", GITHUB).await;
        let new = NewProject::new("a", GITHUB, "x");
        let error = database.add_project(new).await.unwrap_err();
        assert!(matches!(error, ProjectError::NameTaken { name } if name == "a"));
        let second = project(&database, "b", GITHUB).await;
        assert_ne!(first.hook, second.hook);
        assert_ne!(first.secret, second.secret);
        assert_eq!((first.hook.as_str().len(), first.secret.len()), (32, 64));
        assert!(database.hooked("nothing").await.unwrap().is_none());
    }
}
