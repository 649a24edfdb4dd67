//! Host names (RFC 1123, RFC 5890) and email addresses (RFC 5321, RFC 6531).

use std::net::{Ipv4Addr, Ipv6Addr};

/// Which characters a name may have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Script {
    Ascii,
    /// Those of ASCII names, and letters, digits and marks of any script.
    Any,
}

/// The longest host name, in characters.
const LONGEST: usize = 253;

pub(super) fn is_hostname(text: &str, script: Script) -> bool {
    // U+3002 and its like separate labels of internationalised names.
    let is_dot = |c: char| c == '.' || (script == Script::Any && matches!(c, '\u{3002}' | '\u{ff0e}' | '\u{ff61}'));
    // A longer text is not read.
    text.len() <= LONGEST * 4
        && text.chars().count() <= LONGEST
        && text.split(is_dot).all(|label| is_label(label, script))
}

fn is_label(label: &str, script: Script) -> bool {
    let is_ascii = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let is_allowed = |c: char| is_ascii(c) || (script == Script::Any && !c.is_ascii() && is_name_character(c));
    let has_hyphens = label.chars().skip(2).take(2).eq("--".chars());
    let is_punycode = label.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("xn--")) && label.len() > 4;
    !label.is_empty()
        && label.chars().count() <= 63
        && label.chars().all(is_allowed)
        && !label.starts_with('-')
        && !label.ends_with('-')
        && (!has_hyphens || is_punycode)
}

/// Letters, digits and marks; the joiners and dots that names of some scripts need are among them.
fn is_name_character(c: char) -> bool {
    !c.is_control()
        && !c.is_whitespace()
        && !matches!(c, '\u{302e}' | '\u{302f}' | '\u{2000}'..='\u{200b}' | '\u{fffd}')
}

pub(super) fn is_email(text: &str, script: Script) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let is_local = if let Some(quoted) = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        is_quoted(quoted, script)
    } else {
        local.split('.').all(|atom| !atom.is_empty() && atom.chars().all(|c| is_atom_character(c, script)))
    };
    local.len() <= 64 && is_local && is_domain(domain, script)
}

fn is_atom_character(c: char, script: Script) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || (script == Script::Any && !c.is_ascii())
}

fn is_quoted(text: &str, script: Script) -> bool {
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        let is_allowed = match c {
            '"' => false,
            '\\' => characters.next().is_some_and(|c| (' '..='~').contains(&c)),
            _ => (' '..='~').contains(&c) || (script == Script::Any && !c.is_ascii()),
        };
        if !is_allowed {
            return false;
        }
    }
    true
}

fn is_domain(domain: &str, script: Script) -> bool {
    if let Some(literal) = domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return match literal.strip_prefix("IPv6:") {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None => literal.parse::<Ipv4Addr>().is_ok(),
        };
    }
    is_hostname(domain, script)
}
