//! Unions: objects of which exactly one member may be set.

use std::fmt;

/// None, or more than one, of a union's members is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotExactlyOne(Vec<&'static str>);

impl fmt::Display for NotExactlyOne {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [] => f.write_str("exactly one member must be set"),
            [only] => write!(f, "{only} must be set"),
            [others @ .., last] => write!(f, "exactly one of {} and {last} must be set", others.join(", ")),
        }
    }
}

impl std::error::Error for NotExactlyOne {}

/// The one member that is set.
///
/// # Errors
/// Returns an error that names the members if none or more than one is set.
pub fn exactly_one<T, const N: usize>(members: [(&'static str, Option<T>); N]) -> Result<T, NotExactlyOne> {
    let names = members.each_ref().map(|(name, _)| *name);
    let mut set = members.into_iter().filter_map(|(_, member)| member);
    match (set.next(), set.next()) {
        (Some(member), None) => Ok(member),
        _ => Err(NotExactlyOne(names.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_or_several_members_are_refused_with_their_names() {
        assert_eq!(exactly_one([("a", None), ("b", Some(2))]), Ok(2));
        for members in [[("a", None), ("b", None), ("c", None)], [("a", Some(1)), ("b", None), ("c", Some(3))]] {
            let refused = exactly_one(members).unwrap_err();
            assert_eq!(refused.to_string(), "exactly one of a, b and c must be set");
        }
    }
}
