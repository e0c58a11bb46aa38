//! How a domain type and its stored form belong together: the [`Wire`] trait, its impls for the basic types, and
//! three macros that write down a stored form once and give both directions.
//!
//! The stored forms are protobuf messages, private to this module. A field's tag is never given another meaning, a
//! variant's tag never reused: bytes written by an old build are read by every later one.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::DecodeError;
use crate::id::{
    BootId, BreakGlassId, Digest, GrantId, HoldId, Index, LockId, Name, NodeId, PolicyId, ProposalId, RequestId, ReviewId, RevocationId,
    RunId, TokenId,
};
use crate::operation::Verb;
use crate::sink::{EventKind, StreamedLog};
use crate::time::LogTime;

/// A domain type with a stored form.
pub(super) trait Wire: Sized {
    type Stored;

    fn store(&self) -> Self::Stored;
    fn load(stored: Self::Stored) -> Result<Self, DecodeError>;
}

/// Stored as itself.
macro_rules! plain {
    ($($type:ty),*) => {$(
        impl Wire for $type {
            type Stored = $type;

            fn store(&self) -> $type {
                self.clone()
            }

            fn load(stored: $type) -> Result<Self, DecodeError> {
                Ok(stored)
            }
        }
    )*};
}

plain!(bool, u32, u64, String, Vec<u8>, BTreeMap<String, String>);

/// Newtypes of `u64`.
macro_rules! numbers {
    ($($type:ident),*) => {$(
        impl Wire for $type {
            type Stored = u64;

            fn store(&self) -> u64 {
                self.0
            }

            fn load(stored: u64) -> Result<Self, DecodeError> {
                Ok($type(stored))
            }
        }
    )*};
}

numbers!(Index, LogTime, NodeId, BootId, GrantId, RequestId, ReviewId, LockId, TokenId, RevocationId, PolicyId, BreakGlassId, HoldId);

/// Strings that are checked when they are read.
macro_rules! checked {
    ($($type:ident),*) => {$(
        impl Wire for $type {
            type Stored = String;

            fn store(&self) -> String {
                self.as_str().to_owned()
            }

            fn load(stored: String) -> Result<Self, DecodeError> {
                $type::from_str(&stored).map_err(|e| DecodeError::Value(e.to_string()))
            }
        }
    )*};
}

checked!(Name, ProposalId, RunId);

impl Wire for Arc<str> {
    type Stored = String;

    fn store(&self) -> String {
        self.as_ref().to_owned()
    }

    fn load(stored: String) -> Result<Self, DecodeError> {
        Ok(stored.into())
    }
}

impl Wire for Arc<[u8]> {
    type Stored = Vec<u8>;

    fn store(&self) -> Vec<u8> {
        self.to_vec()
    }

    fn load(stored: Vec<u8>) -> Result<Self, DecodeError> {
        Ok(stored.into())
    }
}

impl<const N: usize> Wire for [u8; N] {
    type Stored = Vec<u8>;

    fn store(&self) -> Vec<u8> {
        self.to_vec()
    }

    fn load(stored: Vec<u8>) -> Result<Self, DecodeError> {
        let length = stored.len();
        stored.try_into().map_err(|_| DecodeError::Value(format!("{N} bytes expected, {length} found")))
    }
}

impl Wire for Digest {
    type Stored = Vec<u8>;

    fn store(&self) -> Vec<u8> {
        self.0.to_vec()
    }

    fn load(stored: Vec<u8>) -> Result<Self, DecodeError> {
        Wire::load(stored).map(Digest)
    }
}

/// Nanoseconds; what does not fit (584 years) is stored as the largest that does.
impl Wire for Duration {
    type Stored = u64;

    fn store(&self) -> u64 {
        u64::try_from(self.as_nanos()).unwrap_or(u64::MAX)
    }

    fn load(stored: u64) -> Result<Self, DecodeError> {
        Ok(Duration::from_nanos(stored))
    }
}

impl<T: Wire> Wire for Box<T> {
    type Stored = T::Stored;

    fn store(&self) -> Self::Stored {
        T::store(self)
    }

    fn load(stored: Self::Stored) -> Result<Self, DecodeError> {
        T::load(stored).map(Box::new)
    }
}

impl<T: Wire> Wire for Arc<T> {
    type Stored = T::Stored;

    fn store(&self) -> Self::Stored {
        T::store(self)
    }

    fn load(stored: Self::Stored) -> Result<Self, DecodeError> {
        T::load(stored).map(Arc::new)
    }
}

impl<T: Wire> Wire for Option<T> {
    type Stored = Option<T::Stored>;

    fn store(&self) -> Self::Stored {
        self.as_ref().map(Wire::store)
    }

    fn load(stored: Self::Stored) -> Result<Self, DecodeError> {
        stored.map(T::load).transpose()
    }
}

impl<T: Wire> Wire for Vec<T> {
    type Stored = Vec<T::Stored>;

    fn store(&self) -> Self::Stored {
        self.iter().map(Wire::store).collect()
    }

    fn load(stored: Self::Stored) -> Result<Self, DecodeError> {
        stored.into_iter().map(T::load).collect()
    }
}

/// Sets, in their order. Not for every `T`: sets of columns are stored as a message, see `parts`.
macro_rules! sets {
    ($($type:ident),*) => {$(
        impl Wire for BTreeSet<$type> {
            type Stored = Vec<<$type as Wire>::Stored>;

            fn store(&self) -> Self::Stored {
                self.iter().map(Wire::store).collect()
            }

            fn load(stored: Self::Stored) -> Result<Self, DecodeError> {
                stored.into_iter().map($type::load).collect()
            }
        }
    )*};
}

sets!(Name, String, Verb, EventKind, StreamedLog);

/// An enum without data, stored as a number. Zero is never used, so a missing field is an error.
macro_rules! stored_code {
    ($domain:ident { $($code:literal $variant:ident),* $(,)? }) => {
        impl $crate::encoding::wire::Wire for $domain {
            type Stored = u32;

            fn store(&self) -> u32 {
                match self {
                    $($domain::$variant => $code,)*
                }
            }

            fn load(stored: u32) -> Result<Self, $crate::encoding::DecodeError> {
                match stored {
                    $($code => Ok($domain::$variant),)*
                    code => Err($crate::encoding::DecodeError::Unknown { what: stringify!($domain), code }),
                }
            }
        }
    };
}

/// A struct, stored as a message: `field: StoredType [prost attributes]`.
macro_rules! stored_struct {
    ($stored:ident = $domain:ident { $($field:ident: $type:ty [$($attribute:tt)*]),* $(,)? }) => {
        #[derive(Clone, PartialEq, prost::Message)]
        pub(crate) struct $stored {
            $(#[prost($($attribute)*)] pub(crate) $field: $type,)*
        }

        impl $crate::encoding::wire::Wire for $domain {
            type Stored = $stored;

            fn store(&self) -> $stored {
                $stored { $($field: $crate::encoding::wire::Wire::store(&self.$field)),* }
            }

            fn load(stored: $stored) -> Result<Self, $crate::encoding::DecodeError> {
                Ok($domain {
                    $($field: $crate::encoding::wire::field(stringify!($domain), stringify!($field), stored.$field)?),*
                })
            }
        }
    };
}

/// An enum with data, stored as a message with one `oneof`: `tag Variant { field: StoredType [prost attributes] }`.
/// A field of a tuple variant is written with its place: `field(0): …`.
macro_rules! stored_enum {
    ($module:ident = $domain:ident { $($tag:literal $variant:ident { $($field:ident $(($place:tt))?: $type:ty [$($attribute:tt)*]),* $(,)? }),* $(,)? }) => {
        pub(crate) mod $module {
            #[allow(unused_imports, reason = "a module of unit variants uses none of them")]
            use super::*;

            $(
                #[derive(Clone, PartialEq, prost::Message)]
                pub(crate) struct $variant {
                    $(#[prost($($attribute)*)] pub(crate) $field: $type,)*
                }
            )*

            #[derive(Clone, PartialEq, prost::Oneof)]
            #[allow(clippy::large_enum_variant, reason = "lives for one encoding")]
            pub(crate) enum Kind {
                $(#[prost(message, tag = $tag)] $variant($variant),)*
            }

            #[derive(Clone, PartialEq, prost::Message)]
            pub(crate) struct Stored {
                #[prost(oneof = "Kind", tags($($tag),*))]
                pub(crate) kind: Option<Kind>,
            }
        }

        impl $crate::encoding::wire::Wire for $domain {
            type Stored = $module::Stored;

            fn store(&self) -> $module::Stored {
                let kind = match self {
                    $($domain::$variant { $($($place:)? $field),* } => $module::Kind::$variant($module::$variant {
                        $($field: $crate::encoding::wire::Wire::store($field)),*
                    }),)*
                };
                $module::Stored { kind: Some(kind) }
            }

            fn load(stored: $module::Stored) -> Result<Self, $crate::encoding::DecodeError> {
                // A variant this build does not know is read by prost as no variant at all.
                match stored.kind.ok_or($crate::encoding::DecodeError::Unknown { what: stringify!($domain), code: 0 })? {
                    $($module::Kind::$variant(_stored) => {
                        $(let $field = $crate::encoding::wire::field(stringify!($variant), stringify!($field), _stored.$field)?;)*
                        Ok($domain::$variant { $($($place:)? $field),* })
                    })*
                }
            }
        }
    };
}

pub(super) use {stored_code, stored_enum, stored_struct};

/// Loads a field; an error names where it stands.
pub(super) fn field<T: Wire>(owner: &'static str, name: &'static str, stored: T::Stored) -> Result<T, DecodeError> {
    T::load(stored).map_err(|error| match error {
        DecodeError::Value(message) => DecodeError::Value(format!("{owner}.{name}: {message}")),
        other => other,
    })
}
