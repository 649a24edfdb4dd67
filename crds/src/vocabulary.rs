//! Closed vocabularies: enums whose words are written to status, logs and metrics, each with the sentence that documents it.

/// Defines an enum with its words and its documentation.
///
/// A variant is spelled as its name, or as the string after `=`. The enum gets `ALL` (in the order of the reference pages),
/// `as_str` (the word), `sentence` (the documentation), `words` (all words with their sentences) and `Display`.
#[macro_export]
macro_rules! vocabulary {
    ($(#[$meta:meta])* pub enum $name:ident {
        $($(#[doc = $sentence:literal])+ $variant:ident $(= $word:literal)?,)+
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[doc = $sentence])+ $variant,)+ }

        impl $name {
            /// All words, in the order of the reference page.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word as it is written.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $crate::vocabulary!(@word $variant $($word)?),)+ }
            }

            /// The sentence that documents it.
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$variant => concat!($($sentence),+).trim_ascii(),)+ }
            }

            /// Each word with the sentence that documents it.
            pub fn words() -> Vec<(&'static str, &'static str)> {
                Self::ALL.iter().map(|word| (word.as_str(), word.sentence())).collect()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
    (@word $variant:ident) => { stringify!($variant) };
    (@word $variant:ident $word:literal) => { $word };
}

#[cfg(test)]
mod tests {
    vocabulary! {
        /// Why a door is shut.
        pub enum Shut {
            /// Somebody
            /// locked it.
            Locked,
            /// The wind moved it.
            Blown = "blown_shut",
        }
    }

    #[test]
    fn a_word_is_the_name_of_its_variant_or_the_one_that_is_given() {
        assert_eq!(Shut::words(), [("Locked", "Somebody locked it."), ("blown_shut", "The wind moved it.")]);
        assert_eq!((Shut::ALL, Shut::Blown.to_string()), (&[Shut::Locked, Shut::Blown][..], "blown_shut".to_owned()));
    }
}
