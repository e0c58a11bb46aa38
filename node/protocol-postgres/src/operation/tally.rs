//! A count of everything in a tree that can reach data, made without knowing the tree's types.
//!
//! The walk knows every kind of node it judges; this counts by the names of the structures alone, through serde. When
//! the two disagree, the walk has overlooked a place where a relation, a call or a query can stand, and the statement
//! is judged as the widest class. So a new field in a new version of the grammar cannot open a hole.

use serde::Serialize;
use serde::ser::{self, Impossible};

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) relations: u32,
    pub(super) calls: u32,
    pub(super) queries: u32,
}

impl Tally {
    pub(super) fn of(node: &impl Serialize) -> Option<Tally> {
        let mut counter = Counter(Tally::default());
        node.serialize(&mut counter).ok()?;
        Some(counter.0)
    }
}

struct Counter(Tally);

/// Serializing into a counter cannot fail; serde wants a type for it all the same.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unexpected(String);

impl ser::Error for Unexpected {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Unexpected(message.to_string())
    }
}

type Done = Result<(), Unexpected>;

macro_rules! ignore {
    ($($method:ident: $type:ty),*) => {
        $(fn $method(self, _: $type) -> Done { Ok(()) })*
    };
}

impl ser::Serializer for &mut Counter {
    type Ok = ();
    type Error = Unexpected;
    type SerializeSeq = Self;
    type SerializeTuple = Impossible<(), Unexpected>;
    type SerializeTupleStruct = Impossible<(), Unexpected>;
    type SerializeTupleVariant = Impossible<(), Unexpected>;
    type SerializeMap = Impossible<(), Unexpected>;
    type SerializeStruct = Self;
    type SerializeStructVariant = Impossible<(), Unexpected>;

    ignore!(
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_f32: f32,
        serialize_f64: f64, serialize_char: char, serialize_str: &str, serialize_bytes: &[u8], serialize_unit_struct: &'static str
    );

    fn serialize_none(self) -> Done {
        Ok(())
    }

    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Done {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Done {
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Done {
        Ok(())
    }

    fn serialize_newtype_struct<T: ?Sized + Serialize>(self, _: &'static str, value: &T) -> Done {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: ?Sized + Serialize>(self, _: &'static str, _: u32, _: &'static str, value: &T) -> Done {
        value.serialize(self)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self, Unexpected> {
        Ok(self)
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Self, Unexpected> {
        match name {
            "RangeVar" => self.0.relations += 1,
            "FuncCall" => self.0.calls += 1,
            "SelectStmt" | "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt" => self.0.queries += 1,
            _ => {}
        }
        Ok(self)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Unexpected> {
        Err(ser::Error::custom("no tuple stands in a tree"))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, Unexpected> {
        Err(ser::Error::custom("no tuple stands in a tree"))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Unexpected> {
        Err(ser::Error::custom("no tuple stands in a tree"))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Unexpected> {
        Err(ser::Error::custom("no map stands in a tree"))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Unexpected> {
        Err(ser::Error::custom("no such variant stands in a tree"))
    }
}

impl ser::SerializeSeq for &mut Counter {
    type Ok = ();
    type Error = Unexpected;

    fn serialize_element<T: ?Sized + Serialize>(&mut self, value: &T) -> Done {
        value.serialize(&mut **self)
    }

    fn end(self) -> Done {
        Ok(())
    }
}

impl ser::SerializeStruct for &mut Counter {
    type Ok = ();
    type Error = Unexpected;

    fn serialize_field<T: ?Sized + Serialize>(&mut self, _: &'static str, value: &T) -> Done {
        value.serialize(&mut **self)
    }

    fn end(self) -> Done {
        Ok(())
    }
}
