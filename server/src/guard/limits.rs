//! What a call or another request counts against, made from the identity and its client.
//!
//! A client's own rates hold for each of its identities; its share of the global limit is one pool for all of them.

use std::ops::Deref;

use crate::{
    config::Tool,
    identity::Identity,
    limiter::{Dimension, Key, Rate},
};

/// The most limits of one request: a tool, the client's own rates (at most two in a policy), its share, all calls.
const MOST: usize = 8;

/// The limits of one request. They are kept by value: a request allocates nothing for them.
#[derive(Clone, Debug)]
pub struct Dimensions {
    items: [Dimension; MOST],
    length: usize,
}

impl Dimensions {
    fn new() -> Self {
        let unused = Dimension { key: Key::Global, rate: Rate { requests: 0, per: std::time::Duration::ZERO } };
        Self { items: [unused; MOST], length: 0 }
    }

    fn push(&mut self, key: Key, rate: Rate) {
        assert!(self.length < MOST, "a client must have at most two rates of its own");
        self.items[self.length] = Dimension { key, rate };
        self.length += 1;
    }
}

impl Deref for Dimensions {
    type Target = [Dimension];

    fn deref(&self) -> &[Dimension] {
        &self.items[..self.length]
    }
}

/// The limits of a call.
pub fn of_call(identity: &Identity<'_>, tool: &Tool) -> Dimensions {
    let limits = &identity.client.limits;
    let mut dimensions = Dimensions::new();
    if let Some(rate) = tool.expensive {
        dimensions.push(Key::Tool { identity: identity.fingerprint, tool: tool.fingerprint }, rate);
    }
    for rate in &limits.own {
        dimensions.push(Key::Identity(identity.fingerprint), *rate);
    }
    dimensions.push(Key::Pool(identity.client.fingerprint), limits.share);
    dimensions.push(Key::Global, limits.global);
    dimensions
}

/// The limits of a request that is not an admitted call.
pub fn of_request(identity: &Identity<'_>) -> Dimensions {
    let mut dimensions = Dimensions::new();
    for rate in &identity.client.limits.allowance {
        dimensions.push(Key::Other(identity.fingerprint), *rate);
    }
    dimensions
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::guard::fixtures::{client, identity, tool};

    #[test]
    fn the_users_of_a_client_have_rates_of_their_own_and_one_share() {
        let client = client(&json!({"limits": [{"requests": 5, "per": "1s"}, {"requests": 60, "per": "1m"}]}));
        let mut user = identity(&client);
        user.fingerprint = client.fingerprint.and(&["issuer", "ann"]);
        let tool = tool(&json!({"expensive": true}));

        let keys = |dimensions: &Dimensions| dimensions.iter().map(|dimension| dimension.key).collect::<Vec<_>>();
        let own = Key::Identity(user.fingerprint);
        assert_eq!(
            keys(&of_call(&user, &tool)),
            [
                Key::Tool { identity: user.fingerprint, tool: tool.fingerprint },
                own,
                own,
                Key::Pool(client.fingerprint),
                Key::Global,
            ]
        );
        assert_eq!(keys(&of_request(&user)), [Key::Other(user.fingerprint); 2]);
    }
}
