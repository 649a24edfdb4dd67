//! The name of an image, as <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests> restricts it.

use std::{fmt, str::FromStr};

/// The registry, and maybe a folder in it.
#[derive(Clone, Debug)]
pub struct Repository(String);

/// What tells the versions of an image apart.
#[derive(Clone, Debug)]
pub struct Tag(String);

/// The full name of an image.
#[derive(Clone, Debug)]
pub struct Reference {
    pub repository: Repository,
    pub name: &'static str,
    pub tag: Tag,
}

impl FromStr for Repository {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (host, folders) = text.split_once('/').map_or((text, None), |(host, folders)| (host, Some(folders)));
        let (name, port) = host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port)));
        // Without one of these the first part is a folder on Docker Hub.
        let is_host = name == "localhost" || name.contains('.') || port.is_some();
        let is_valid = is_host
            && name.split('.').all(|part| is_part(part, &['-']))
            && port.is_none_or(|port| port.parse::<u16>().is_ok())
            && folders.is_none_or(|folders| folders.split('/').all(|part| is_part(part, &['-', '_', '.'])));
        is_valid.then(|| Self(text.to_owned())).ok_or("it should be like registry.example/folder, in lower case")
    }
}

/// Whether it is of lower case letters and digits, and in between separators.
fn is_part(text: &str, separators: &[char]) -> bool {
    let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(is_inner)
        && text.ends_with(is_inner)
        && text.chars().all(|c| is_inner(c) || separators.contains(&c))
}

impl FromStr for Tag {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_inner = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let is_valid = (1..=128).contains(&text.len())
            && text.starts_with(is_inner)
            && text.chars().all(|c| is_inner(c) || matches!(c, '.' | '-'));
        is_valid.then(|| Self(text.to_owned())).ok_or("it should be of letters, digits, `_`, `.` and `-`, at most 128")
    }
}

impl Tag {
    /// The tag of a version, in which a tag may have all but `+`.
    pub fn of_version(version: &str) -> Self {
        Self(version.replace('+', "-"))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}:{}", self.repository.0, self.name, self.tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_no_registry_takes_are_refused() {
        for valid in ["localhost", "localhost:5000", "registry.example/portcullis", "r.example:443/a_b/c.d-e"] {
            assert!(valid.parse::<Repository>().is_ok(), "{valid}");
        }
        for invalid in [
            "",
            "portcullis",
            "Registry.example",
            "registry.example/",
            "registry.example:x",
            "r.example/A",
            "r.example/-a",
        ] {
            assert!(invalid.parse::<Repository>().is_err(), "{invalid}");
        }
        for valid in ["0.1.0", "v1", "_x", "a-b.c", &"x".repeat(128)] {
            assert!(valid.parse::<Tag>().is_ok(), "{valid}");
        }
        for invalid in ["", ".1", "-1", "a:b", "a/b", "1.0+x", &"x".repeat(129)] {
            assert!(invalid.parse::<Tag>().is_err(), "{invalid}");
        }
        assert_eq!(Tag::of_version("1.0.0-rc.1+build").to_string(), "1.0.0-rc.1-build");
    }
}
