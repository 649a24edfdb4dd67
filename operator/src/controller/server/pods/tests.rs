use std::collections::BTreeSet;

use portcullis_crds::{ClientId, revision::Revision};

use super::*;
use crate::probe::Left;

#[test]
fn a_pod_that_serves_a_revision_that_was_published_again_is_behind_until_it_was_seen_with_what_came_between() {
    let at = |second| Timestamp::from_second(second).unwrap();
    let [suspended, restored] = ["suspended", "restored"].map(|content| Revision::of(content).unwrap());
    let bot: BTreeSet<ClientId> = ["bot".parse().unwrap()].into();
    let clients = Some(bot.clone());
    let first = Changes::default().publish(None, &suspended, None, at(100));
    let second = first.publish(Some(&suspended), &restored, clients.clone(), at(200));
    let policy = second.publish(Some(&restored), &suspended, clients, at(203));
    let changes = DocumentChanges { policy, credentials: Changes::default() };
    let target = Revisions { policy: Some(suspended.to_string()), credentials: Some("c".into()) };
    let since = |left: &LeftRevisions| changes.since(&target, Some(&target), left, at(204));
    let only_bot = Behind::Only(bot);
    assert_eq!(since(&LeftRevisions::default()), (only_bot, Some(at(203))));
    assert_eq!(changes.doubtful_for(at(204)), Some(Duration::from_secs(90)));
    let left = Some(Left { revision: restored.to_string(), seen_at: at(201) });
    assert_eq!(since(&LeftRevisions { policy: left, credentials: None }), (Behind::Nobody, None));
}
