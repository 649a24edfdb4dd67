use std::sync::Arc;

use http::header::AUTHORIZATION;
use portcullis_crds::contract::{CredentialClient, Limits, PolicyClient};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::{
    identity::fixtures::{client, credentials},
    protocol::headers::Pairs,
};

const NOW: Duration = Duration::from_secs(1_000);

type Kinds = &'static [&'static dyn CredentialKind];

fn read<T: DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

/// Authenticators for the clients `bot`, one that is suspended and one that has expired. `gone` has a key, and is not a client.
fn authenticators(kinds: Kinds) -> Authenticators {
    let expired = json!({"expiresAt": "1970-01-01T00:16:40Z"});
    let clients = [client("bot", &json!({})), client("idle", &json!({"suspended": true})), client("old", &expired)];
    let clients: Vec<PolicyClient> = read(&json!(clients));
    let credentials: Vec<CredentialClient> = read(&credentials(&["bot", "idle", "old", "gone"])["clients"]);
    let clients = Clients::new(&clients, &Limits::default());
    let sources =
        Sources { realm: "crm", settings: &Authentication::default(), credentials: &credentials, clients: &clients };
    Authenticators::of(kinds, &sources)
}

fn connection() -> ConnectionFacts {
    ConnectionFacts { peer: "192.0.2.1:1".parse().unwrap() }
}

/// The client and the credential, or why not.
fn identified(kinds: Kinds, sent: &[(&str, &str)]) -> Result<(String, String), (String, &'static str)> {
    let presented = Presented { headers: &Pairs(sent), connection: &connection() };
    match authenticators(kinds).identify(&presented, NOW) {
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

#[test]
fn a_key_of_the_operators_making_may_be_a_bearer_token_where_the_policy_says_so() {
    const KEY: &str = "portcullis_BwcHBwcH";
    let digest = String::from(KeyDigest::of(KEY.as_bytes()));
    let credentials = json!([{"id": "bot", "uid": "u", "apiKeys": [{"id": "k", "sha256": digest}]}]);
    let credentials: Vec<CredentialClient> = read(&credentials);
    let clients = Clients::new(&read::<Vec<PolicyClient>>(&json!([client("bot", &json!({}))])), &Limits::default());
    let missing = Err(("API key required", "missing"));
    let cases = [
        ("authorization", format!("Bearer {KEY}"), [Ok("k"), missing, Ok("k")]),
        ("authorization", format!("bEaReR   {KEY}"), [Ok("k"), missing, Ok("k")]),
        (
            "authorization",
            format!("Bearer {KEY}x"),
            [Err(("Invalid API key", "unknown_key")), missing, Err(("Invalid API key", "unknown_key"))],
        ),
        ("authorization", format!("Bearer{KEY}"), [missing; 3]),
        ("authorization", format!("Basic {KEY}"), [missing; 3]),
        ("authorization", KEY.to_owned(), [missing; 3]),
        ("authorization", "Bearer eyJhbGciOiJub25lIn0.e30.".to_owned(), [missing; 3]),
        ("x-api-key", KEY.to_owned(), [Ok("k"), Ok("k"), missing]),
        (
            "x-api-key",
            format!("Bearer {KEY}"),
            [Err(("Invalid API key", "unknown_key")), Err(("Invalid API key", "unknown_key")), missing],
        ),
    ];
    for (index, (header, challenge)) in
        [("Any", "x-api-key"), ("XApiKey", "x-api-key"), ("Bearer", "authorization")].into_iter().enumerate()
    {
        let settings: Authentication = read(&json!({"apiKey": {"header": header}}));
        let sources = Sources { realm: "crm", settings: &settings, credentials: &credentials, clients: &clients };
        let authenticators = Authenticators::of(&KINDS, &sources);
        assert_eq!(authenticators.challenge(), format!(r#"ApiKey realm="crm", header="{challenge}""#));
        for (name, value, expected) in &cases {
            let headers = [(*name, value.as_str())];
            let presented = Presented { headers: &Pairs(&headers), connection: &connection() };
            let found = match authenticators.identify(&presented, NOW) {
                Ok(identity) => Ok(identity.credential.id),
                Err(Refusal::Unauthenticated { message, reason }) => Err((message, reason.as_str())),
                Err(refusal) => panic!("{refusal:?}"),
            };
            assert_eq!(found, expected[index], "{header}: {name}: {value}");
        }
        let both = [("x-api-key", KEY), ("authorization", cases[0].1.as_str())];
        let presented = Presented { headers: &Pairs(&both), connection: &connection() };
        let refusal = authenticators.identify(&presented, NOW).err();
        assert!(matches!(refusal, Some(Refusal::Unauthenticated { reason: AuthFailure::Ambiguous, .. })), "{header}");
    }
}

static LAST_RECORDED: AtomicU64 = AtomicU64::new(0);

/// A kind as a token would be: `Authorization: <client> <user> <expiry>` narrows the client to no tool at all.
struct Token;

impl CredentialKind for Token {
    fn headers(&self) -> &'static [HeaderName] {
        &[AUTHORIZATION]
    }

    fn challenge(&self, _: &Sources<'_>) -> String {
        "Token".into()
    }

    fn required(&self) -> &'static str {
        "Token required"
    }

    fn invalid(&self) -> &'static str {
        "Invalid token"
    }

    fn authenticator(&self, sources: &Sources<'_>) -> Option<Box<dyn Authenticator>> {
        Some(Box::new(Tokens(sources.clients.get(&"bot".parse().unwrap(), "u")?.clone())))
    }
}

/// Accepts tokens for one client.
struct Tokens(Arc<Client>);

impl Authenticator for Tokens {
    fn identify<'s>(&'s self, presented: &Presented<'_>, _: Duration) -> Option<Result<Identity<'s>, Refusal<'s>>> {
        let mut words = presented.headers.get(&AUTHORIZATION).text().ok()??.split(' ');
        words.next().filter(|name| *name == self.0.id.as_str())?;
        let subject = Subject { issuer: "issuer".into(), name: words.next()?.into(), pseudonym: "p".into() };
        let mut identity =
            Identity::of_client(&self.0, Credential { id: "token", digest: None, last_recorded: &LAST_RECORDED });
        identity.fingerprint = self.0.fingerprint.and(&[&subject.issuer, &subject.name]);
        identity.subject = Some(subject);
        identity.narrowing = Some(Narrowing::default());
        identity.expires = words.next()?.parse().ok();
        Some(Ok(identity))
    }

    fn identify_again<'s>(&'s self, _: &Identity<'_>) -> Option<Result<Identity<'s>, Refusal<'s>>> {
        None
    }
}

#[test]
fn another_kind_of_credential_may_name_a_user_narrow_the_tools_and_expire() {
    let kinds: Kinds = &[&Token, &api_key::ApiKey];
    let authenticators = authenticators(kinds);
    let identity = |token: &str| {
        let headers = [("authorization", token)];
        let presented = Presented { headers: &Pairs(&headers), connection: &connection() };
        let identity = authenticators.identify(&presented, NOW)?;
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
    assert_eq!(identified(kinds, &[]), Err(("Token required".into(), "missing")));
    assert_eq!(identified(kinds, &[("x-api-key", "key-of-bot")]), Ok(("bot".into(), "k-bot".into())));
}
