//! "Did you mean": the known name that is nearest to one that is unknown.
//!
//! The time of a look-up is bounded, whatever is compared: a long name has no suggestion, and not all of very many names are compared.

/// The longest name that is compared, in characters.
const LONGEST: usize = 64;
/// The most changes between a name and what is suggested for it.
const MOST_CHANGES: usize = 3;
/// How many characters one name must have of the other, at its beginning or end, to be suggested although it is far.
const PART: usize = 4;
/// The work of a look-up, at most: some hundreds of names. A unit is a pair of characters that are compared.
///
/// Many look-ups share it: how many unknown names a document has is its author's choice.
pub const WORK: usize = 8 * 1024;
/// The work of looking at a name.
const LOOK: usize = 8;

/// As [`nearest_within`], with as much work as a finding may take.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    nearest_within(name, known, &mut { WORK })
}

/// The known name that is nearest to `name`: with at most one character in three inserted, removed, replaced or exchanged with its
/// neighbour, or else one of which it is a part, or the reverse. Capital letters count as small ones. `None` if none is near, as far
/// as the work suffices, which is taken from what is left.
pub fn nearest_within<'a>(name: &str, known: impl IntoIterator<Item = &'a str>, work: &mut usize) -> Option<&'a str> {
    let wanted = folded(name)?;
    let mut best: Option<(usize, &str)> = None;
    let mut containing: Option<&str> = None;
    for candidate in known.into_iter().filter(|candidate| *candidate != name) {
        let Some(left) = work.checked_sub(LOOK) else { break };
        *work = left;
        let Some(compared) = folded(candidate) else { continue };
        let allowed = MOST_CHANGES.min(wanted.len().max(compared.len()) / 3);
        let allowed = best.map_or(allowed, |(changes, _)| allowed.min(changes.saturating_sub(1)));
        if let Some(changes) = changes(&wanted, &compared, allowed, work)
            && best.is_none_or(|(least, _)| changes < least)
        {
            best = Some((changes, candidate));
        }
        let is_part = wanted.len() >= PART && (compared.starts_with(&wanted) || compared.ends_with(&wanted));
        if containing.is_none() && (is_part || compared.len() >= PART && wanted.starts_with(&compared)) {
            containing = Some(candidate);
        }
    }
    best.map(|(_, candidate)| candidate).or(containing)
}

/// ` (did you mean X?)` for the nearest name, or nothing.
pub fn suggestion<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    suggestion_within(name, known, &mut { WORK })
}

/// The same, as far as the work suffices, which is taken from what is left.
pub fn suggestion_within<'a>(name: &str, known: impl IntoIterator<Item = &'a str>, work: &mut usize) -> String {
    nearest_within(name, known, work).map_or_else(String::new, |nearest| format!(" (did you mean `{nearest}`?)"))
}

/// Its characters as small letters; `None` if there are too many.
fn folded(name: &str) -> Option<Vec<char>> {
    if name.is_empty() || name.len() > 4 * LONGEST {
        return None;
    }
    let characters: Vec<_> = name.chars().flat_map(char::to_lowercase).take(LONGEST + 1).collect();
    (characters.len() <= LONGEST).then_some(characters)
}

/// The number of changes from one text to another (optimal string alignment), if it is at most `most`.
fn changes(a: &[char], b: &[char], most: usize, work: &mut usize) -> Option<usize> {
    if a.len().abs_diff(b.len()) > most {
        return None;
    }
    let far = most + 1;
    let (mut before, mut above) = ([far; LONGEST + 1], std::array::from_fn(|n| far.min(n)));
    for i in 1..=a.len() {
        // Only what lies near the diagonal can be near.
        let (from, to) = (i.saturating_sub(most).max(1), (i + most).min(b.len()));
        *work = work.checked_sub(to.saturating_sub(from) + 1)?;
        let mut row = [far; LONGEST + 1];
        row[0] = i.min(far);
        let mut least_of_row = row[0];
        for j in from..=to {
            let replaced = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before[j - 2] + 1);
            }
            row[j] = least.min(far);
            least_of_row = least_of_row.min(least);
        }
        // Two rows, because an exchange reaches over one.
        if least_of_row >= far && above.iter().all(|changes| *changes >= far) {
            return None;
        }
        (before, above) = (above, row);
    }
    above.get(b.len()).copied().filter(|changes| *changes <= most)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_nearest_name_is_found_if_it_is_near() {
        let known = ["get_deals", "get_leads", "list_contacts", "maxRecordsPerQuery", "url", "id"];
        for (name, expected) in [
            ("get_deal", Some("get_deals")),
            ("get_laeds", Some("get_leads")),
            ("GET_LEADS", Some("get_leads")),
            ("list-contact", Some("list_contacts")),
            ("maxRecordsPerQeury", Some("maxRecordsPerQuery")),
            ("maxRecords", Some("maxRecordsPerQuery")),
            ("contacts", Some("list_contacts")),
            ("list_contacts_of_team", Some("list_contacts")),
            ("urls", Some("url")),
            ("urk", Some("url")),
            ("ids", Some("id")),
            ("ID", Some("id")),
            ("x", None),
            ("", None),
            ("delete_all", None),
            ("url", None),
        ] {
            assert_eq!(nearest(name, known), expected, "{name}");
        }
        assert_eq!(suggestion("get_deal", known), " (did you mean `get_deals`?)");
        assert_eq!(suggestion("delete_all", known), "");
    }

    #[test]
    fn a_look_up_is_bounded() {
        let long = "a".repeat(1_000_000);
        assert_eq!(nearest(&long, [long.as_str(), "a"]), None);
        assert_eq!(nearest("aaaa", [long.as_str(), "aaab"]), Some("aaab"));
        let many: Vec<_> = (0..1_000_000).map(|n| format!("{}{n:07}", "a".repeat(50))).collect();
        assert_eq!(nearest(&"a".repeat(57), many.iter().map(String::as_str)), None);
        // As many tools as a server usually has are all compared.
        let tools: Vec<_> = (0..300).map(|n| format!("tool_{n:03}_of_the_server")).chain(["last_one".into()]).collect();
        assert_eq!(nearest("lats_one", tools.iter().map(String::as_str)), Some("last_one"));
    }

    proptest! {
        #[test]
        fn the_distance_is_that_of_all_ways(a in "[ab]{1,6}", b in "[ab]{1,6}", most in 0..4_usize) {
            let [a, b]: [Vec<char>; 2] = [a, b].map(|text| text.chars().collect());
            let exact = exact(&a, &b);
            prop_assert_eq!(changes(&a, &b, most, &mut 1_000), (exact <= most).then_some(exact));
        }
    }

    /// By its definition, without bounds.
    fn exact(a: &[char], b: &[char]) -> usize {
        let (Some((x, a_rest)), Some((y, b_rest))) = (a.split_last(), b.split_last()) else { return a.len() + b.len() };
        let mut least =
            (exact(a_rest, b_rest) + usize::from(x != y)).min(exact(a_rest, b) + 1).min(exact(a, b_rest) + 1);
        if let ([a_rest @ .., p, q], [b_rest @ .., r, s]) = (a, b)
            && (p, q) == (s, r)
        {
            least = least.min(exact(a_rest, b_rest) + 1);
        }
        least
    }
}
