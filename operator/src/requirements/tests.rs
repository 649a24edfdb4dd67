use std::sync::{LazyLock, Mutex};

use serde_json::json;

use super::*;
use crate::{
    cluster::{
        fence::Fence,
        testing::{Answer, Request, in_process, refusal},
    },
    lease, rbac,
    sync::lock,
};

static DEFINITIONS: LazyLock<Vec<Value>> = LazyLock::new(|| {
    manifest::all().into_iter().map(|(_, definition)| serde_json::to_value(definition).unwrap()).collect()
});

/// A cluster that lacks what a test says: definitions by their names, and rights as they are printed.
#[derive(Default)]
struct Lacks {
    definitions: Vec<&'static str>,
    rights: Vec<String>,
    is_away: bool,
    /// How a review of a right is refused.
    review: Option<u16>,
    is_unsure: bool,
}

fn answer(lacks: &Lacks, request: &Request) -> Answer {
    if lacks.is_away {
        return Some(refusal(503));
    }
    if request.path.contains("selfsubjectaccessreviews") {
        if let Some(code) = lacks.review {
            return Some(refusal(code));
        }
        let asked = &request.body["spec"]["resourceAttributes"];
        let text = |field: &str| asked[field].as_str().map(str::to_owned);
        let right = Right {
            verb: text("verb").unwrap(),
            group: text("group").unwrap(),
            resource: text("resource").unwrap(),
            subresource: text("subresource"),
            name: text("name"),
            namespace: text("namespace"),
        };
        let is_allowed = !lacks.rights.contains(&right.to_string());
        return Some((
            201,
            json!({"status": {"allowed": is_allowed, "evaluationError": if lacks.is_unsure { "failed" } else { "" }}}),
        ));
    }
    let name = request.path.split('?').next()?.rsplit('/').next()?;
    if name == "forbidden" {
        return Some(refusal(403));
    }
    if lacks.definitions.contains(&name) {
        let details = json!({"name": name, "kind": "customresourcedefinitions"});
        return Some((
            404,
            json!({"kind": "Status", "code": 404, "reason": "NotFound", "message": "", "details": details}),
        ));
    }
    let mut definition = DEFINITIONS.iter().find(|it| it["metadata"]["name"] == name)?.clone();
    definition["status"] = json!({"conditions": [{"type": "Established", "status": "True"}]});
    Some((200, definition))
}

/// The check of a cluster, which runs; what the cluster lacks; and `/readyz`.
fn start(lacks: Lacks) -> (Arc<Requirements>, Arc<Mutex<Lacks>>, Supervisor, tokio::task::JoinSet<()>) {
    let lacks = Arc::new(Mutex::new(lacks));
    let of_cluster = Arc::clone(&lacks);
    let client = in_process(move |request| answer(&lock(&of_cluster), request));
    let (cluster, supervisor) = (Cluster::new(client, Fence::open()), Supervisor::default());
    let requirements =
        Arc::new(Requirements::new(cluster, rbac::rights(lease::NAMESPACE), Gate::default(), &supervisor));
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(Arc::clone(&requirements).keep());
    (requirements, lacks, supervisor, tasks)
}

async fn seconds(count: u64) {
    sleep(Duration::from_secs(count)).await;
}

#[tokio::test(start_paused = true)]
async fn each_right_that_is_missing_is_named_by_itself() {
    let rights = rbac::rights(lease::NAMESPACE);
    assert!(rights.len() > 30);
    for right in rights {
        let lacks = Lacks { rights: vec![right.to_string()], ..Lacks::default() };
        let (requirements, _, supervisor, _tasks) = start(lacks);
        requirements.usable().await;
        let words = format!("requirements: the account of the operator lacks the rights to {right}; ");
        assert!(supervisor.unready()[0].starts_with(&words), "{:?}", supervisor.unready());
    }
}

#[tokio::test(start_paused = true)]
async fn a_right_that_is_missing_at_the_start_ends_the_process_within_10_s() {
    let (requirements, ..) = &start(Lacks { rights: vec!["create secrets".to_owned()], ..Lacks::default() });
    let began = Instant::now();
    let lacking = requirements.gave_up().await.to_string();
    assert!(lacking.contains("lacks the rights to create secrets; "), "{lacking}");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn nothing_begins_without_a_definition_and_it_begins_once_the_definition_is_there() {
    let missing = "mcpclients.portcullis.dev";
    let (requirements, lacks, supervisor, _tasks) = start(Lacks { definitions: vec![missing], ..Lacks::default() });
    assert!(timeout(Duration::from_secs(5), requirements.usable()).await.is_err());
    assert!(supervisor.unready()[0].contains("CustomResourceDefinition mcpclients.portcullis.dev is missing"));
    lock(&lacks).definitions.clear();
    timeout(Duration::from_secs(2), requirements.usable()).await.unwrap();
    assert_eq!(supervisor.unready(), [] as [&str; 0]);
    assert!(timeout(Duration::from_secs(600), requirements.gave_up()).await.is_err());

    lock(&lacks).definitions.push(missing);
    let lacking = timeout(LOOK + Duration::from_secs(10), requirements.gave_up()).await.unwrap();
    assert!(lacking.to_string().contains("mcpclients.portcullis.dev is missing"), "{lacking}");
}

#[tokio::test(start_paused = true)]
async fn what_was_read_under_other_definitions_is_not_written_also_if_a_right_is_missing_once_they_are_back() {
    for right in [None, Some("get secrets")] {
        let (requirements, lacks, _supervisor, _tasks) = start(Lacks::default());
        requirements.usable().await;
        lock(&lacks).definitions.push("mcpclients.portcullis.dev");
        requirements.reached(|state| matches!(state, State::Unusable)).await;
        {
            let mut lacks = lock(&lacks);
            lacks.definitions.clear();
            lacks.rights.extend(right.map(str::to_owned));
        }
        lock(&requirements.history).rights_due = Instant::now();
        let mut states = requirements.state.subscribe();
        let next = states.wait_for(|state| !matches!(state, State::Unusable));
        let next = timeout(Duration::from_secs(5), next).await.unwrap().unwrap().clone();
        assert!(matches!(next, State::GaveUp(_)), "{right:?}: {next:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_right_that_is_taken_away_is_said_and_ends_nothing_and_a_refusal_leads_to_a_check() {
    let (requirements, lacks, supervisor, _tasks) = start(Lacks::default());
    requirements.usable().await;
    seconds(10).await;
    lock(&lacks).rights.push("get secrets".to_owned());
    seconds(5).await;
    assert_eq!(supervisor.unready(), [] as [&str; 0], "no check is due");
    let refused = requirements.cluster.definition("forbidden").await;
    assert_eq!(refused.unwrap_err().status_code(), Some(403));
    seconds(1).await;
    assert!(supervisor.unready()[0].contains("lacks the rights to get secrets; "), "{:?}", supervisor.unready());
    assert!(timeout(Duration::from_secs(600), requirements.gave_up()).await.is_err());
    lock(&lacks).rights.clear();
    seconds(6).await;
    assert_eq!(supervisor.unready(), [] as [&str; 0]);
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_away_is_no_finding() {
    let (requirements, lacks, supervisor, _tasks) = start(Lacks { is_away: true, ..Lacks::default() });
    assert!(timeout(Duration::from_secs(600), requirements.usable()).await.is_err());
    assert_eq!(*requirements.state.borrow(), State::Unchecked);
    assert!(supervisor.unready()[0].contains("the API server failed"), "{:?}", supervisor.unready());
    lock(&lacks).is_away = false;
    seconds(31).await;
    assert_eq!(supervisor.unready(), [] as [&str; 0]);
}

#[tokio::test(start_paused = true)]
async fn definitions_are_judged_whatever_becomes_of_the_reviews() {
    for code in [403, 503] {
        let (requirements, ..) =
            &start(Lacks { definitions: vec!["mcpclients.portcullis.dev"], review: Some(code), ..Lacks::default() });
        assert!(timeout(Duration::from_secs(5), requirements.usable()).await.is_err());
        timeout(Duration::from_secs(5), requirements.gave_up()).await.unwrap();
    }
    let (requirements, _, supervisor, _tasks) = start(Lacks { review: Some(403), ..Lacks::default() });
    requirements.usable().await;
    assert_eq!(supervisor.unready(), [] as [&str; 0], "rights that cannot be asked for are no finding");
}

#[tokio::test(start_paused = true)]
async fn a_denial_of_an_authorizer_that_failed_ends_nothing() {
    let lacks = Lacks { rights: vec!["create secrets".to_owned()], is_unsure: true, ..Lacks::default() };
    let (requirements, _, supervisor, _tasks) = start(lacks);
    assert!(timeout(Duration::from_secs(600), requirements.gave_up()).await.is_err());
    assert!(supervisor.unready()[0].contains("create secrets"), "{:?}", supervisor.unready());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_once_a_definition_is_missing() {
    let (requirements, lacks, _, _tasks) = start(Lacks::default());
    requirements.usable().await;
    let fence = Gate(requirements.state.clone()).fence(Fence::open());
    assert!(fence.remaining().is_some());
    lock(&lacks).definitions.push("mcpclients.portcullis.dev");
    seconds(6).await;
    assert_eq!(fence.remaining(), None);
}
