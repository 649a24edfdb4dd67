//! The limits that a call or another request is counted against, made from the identity and its client.
//!
//! A client's own rates hold for each of its identities; its share of the global limit is one pool for all of them.

use crate::{
    config::Tool,
    identity::Identity,
    limiter::{Dimensions, LimitKey, TooManyLimits},
};

/// The limits of a call.
///
/// # Errors
/// Returns an error if there are more than a request has room for.
pub fn of_call(identity: &Identity<'_>, tool: &Tool, replicas: u16) -> Result<Dimensions, TooManyLimits> {
    let limits = &identity.client.limits;
    let mut dimensions = Dimensions::new(replicas);
    if let Some(rate) = tool.expensive {
        dimensions.push(LimitKey::Tool { identity: identity.fingerprint, tool: tool.fingerprint }, rate)?;
    }
    for rate in &limits.own {
        dimensions.push(LimitKey::Identity(identity.fingerprint), *rate)?;
    }
    dimensions.push(LimitKey::Pool(identity.client.fingerprint), limits.share)?;
    dimensions.push(LimitKey::Global, limits.global)?;
    Ok(dimensions)
}

/// The limits of a request that is not an admitted call.
///
/// # Errors
/// Returns an error if there are more than a request has room for.
pub fn of_request(identity: &Identity<'_>, replicas: u16) -> Result<Dimensions, TooManyLimits> {
    let mut dimensions = Dimensions::new(replicas);
    for rate in &identity.client.limits.allowance {
        dimensions.push(LimitKey::RequestAllowance(identity.fingerprint), *rate)?;
    }
    Ok(dimensions)
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
        let own = LimitKey::Identity(user.fingerprint);
        assert_eq!(
            keys(&of_call(&user, &tool, 1).unwrap()),
            [
                LimitKey::Tool { identity: user.fingerprint, tool: tool.fingerprint },
                own,
                own,
                LimitKey::Pool(client.fingerprint),
                LimitKey::Global,
            ]
        );
        assert_eq!(keys(&of_request(&user, 1).unwrap()), [LimitKey::RequestAllowance(user.fingerprint); 2]);
    }

    #[test]
    fn a_request_for_whose_limits_there_is_no_room_is_refused() {
        let tool = tool(&json!({"expensive": true}));
        let are_refused = |limits: usize| {
            let client = client(&json!({"limits": vec![json!({"requests": 1, "per": "1s"}); limits]}));
            let identity = identity(&client);
            [of_call(&identity, &tool, 1).is_err(), of_request(&identity, 1).is_err()]
        };
        assert_eq!(
            [5, 6, 8, 9, 100].map(are_refused),
            [[false; 2], [true, false], [true, false], [true; 2], [true; 2]]
        );
    }
}
