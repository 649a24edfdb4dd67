use portcullis_crds::contract::KeyDigest;
use serde_json::json;

use super::*;
use crate::{
    fixtures::{client, credentials, policy},
    protocol::headers::Pairs,
};

const NOW: Duration = Duration::from_secs(1_000);

/// A server whose clients are `bot`, one that is suspended and one that has expired. `gone` has a key, and is not a client.
fn snapshot() -> Snapshot {
    let expired = json!({"expiresAt": "1970-01-01T00:16:40Z"});
    let clients = [client("bot", &json!({})), client("idle", &json!({"suspended": true})), client("old", &expired)];
    crate::fixtures::snapshot(&policy(&clients), &credentials(&["bot", "idle", "old", "gone"]))
}

fn connection() -> ConnectionFacts {
    ConnectionFacts { peer: "192.0.2.1:1".parse().unwrap() }
}

/// The client and the credential, or why not.
fn identified(
    kinds: &[&dyn CredentialKind],
    sent: &[(&str, &str)],
) -> Result<(String, String), (String, &'static str)> {
    let snapshot = snapshot();
    let presented = Presented { headers: &Pairs(sent), connection: &connection() };
    match identify_by(kinds, &snapshot, &presented, NOW) {
        Ok(identity) => Ok((identity.client.id.to_string(), identity.credential.id.to_owned())),
        Err(refusal) => Err((
            refusal.message().to_owned(),
            match refusal {
                Refusal::Unauthenticated { reason, .. } => reason.as_str(),
                Refusal::ClientRefused { reason, .. } => reason.as_str(),
            },
        )),
    }
}

#[test]
fn the_api_key_decides_and_two_credentials_are_ambiguous() {
    let key = |id: &'static str| ("x-api-key", id);
    let bearer = ("authorization", "Bearer t");
    for (sent, expected) in [
        (&[key("key-of-bot")][..], Ok(("bot", "k-bot"))),
        (&[], Err(("API key required", "missing"))),
        (&[key("")], Err(("API key required", "missing"))),
        (&[bearer], Err(("API key required", "missing"))),
        (&[key("key-of-nobody")], Err(("Invalid API key", "unknown_key"))),
        (&[key("key-of-bot"), key("key-of-bot")], Err(("Invalid API key", "ambiguous"))),
        (&[key("key-of-bot"), bearer], Err(("Invalid API key", "ambiguous"))),
        (&[bearer, bearer], Err(("Invalid API key", "ambiguous"))),
        (&[key("key-of-gone")], Err(("Client not recognised", "not_recognised"))),
        (&[key("key-of-idle")], Err(("Client not recognised", "suspended"))),
        (&[key("key-of-old")], Err(("Client not recognised", "expired"))),
    ] {
        let expected = expected
            .map(|(client, credential)| (client.to_owned(), credential.to_owned()))
            .map_err(|(message, reason)| (message.to_owned(), reason));
        assert_eq!(identified(&KINDS, sent), expected, "{sent:?}");
    }
}

static LAST_RECORDED: AtomicU64 = AtomicU64::new(0);

/// A kind as a token would be: `Authorization: <client> <user> <expiry>` narrows the client to no tool at all.
struct Token;

impl CredentialKind for Token {
    fn is_offered(&self, _: &Snapshot) -> bool {
        true
    }

    fn header(&self) -> Option<&'static str> {
        Some(AUTHORIZATION)
    }

    fn required(&self) -> &'static str {
        "Token required"
    }

    fn invalid(&self) -> &'static str {
        "Invalid token"
    }

    fn identify<'s>(
        &self,
        snapshot: &'s Snapshot,
        presented: &Presented<'_>,
        _: Duration,
    ) -> Option<Result<Identity<'s>, Refusal<'s>>> {
        let mut words = presented.headers.get("authorization").text().ok()??.split(' ');
        let key = KeyDigest::of(format!("key-of-{}", words.next()?).as_bytes());
        let client = snapshot.api_key(&key)?.client.as_deref()?;
        let subject = Subject { issuer: "issuer".into(), name: words.next()?.into(), pseudonym: "p".into() };
        let mut identity = Identity::of_client(client, Credential { id: "token", last_recorded: &LAST_RECORDED });
        identity.fingerprint = client.fingerprint.and(&[&subject.issuer, &subject.name]);
        identity.subject = Some(subject);
        identity.narrowing = Some(Narrowing::default());
        identity.expires = words.next()?.parse().ok();
        Some(Ok(identity))
    }
}

#[test]
fn another_kind_of_credential_may_name_a_user_narrow_the_tools_and_expire() {
    let kinds: [&dyn CredentialKind; 2] = [&Token, &api_key::ApiKey];
    let snapshot = snapshot();
    let identity = |token: &str| {
        let headers = [("authorization", token)];
        let presented = Presented { headers: &Pairs(&headers), connection: &connection() };
        let identity = identify_by(&kinds, &snapshot, &presented, NOW)?;
        Ok((identity.fingerprint, identity.client.fingerprint, identity.admits(&"greet".parse().unwrap())))
    };
    let (ann, client, admits_greet) = identity("bot ann 1001").unwrap();
    let (bob, ..) = identity("bot bob 1001").unwrap();
    assert!(ann != bob && ann != client && !admits_greet);
    assert_eq!(
        identity("bot ann 1000"),
        Err(Refusal::ClientRefused { client: "bot", credential: "token", reason: ClientRefusal::Expired })
    );
    // The first kind that is offered words the refusals, and a key is still identified by its own kind.
    assert_eq!(identified(&kinds, &[]), Err(("Token required".into(), "missing")));
    assert_eq!(identified(&kinds, &[("x-api-key", "key-of-bot")]), Ok(("bot".into(), "k-bot".into())));
}
