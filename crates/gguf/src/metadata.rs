//! The key–value part of a file.

use std::ops::Range;

use crate::cursor::Cursor;
use crate::error::printable;
use crate::value::{Array, FromValue, StrArray, Value, ValueType};
use crate::{Error, Result};

/// Least bytes of a pair: an empty key's length, the type, a one-byte value.
const MIN_PAIR_BYTES: usize = 8 + 4 + 1;

/// Where each value lies; checked, so that values decode without failing.
#[derive(Debug, Default)]
pub(crate) struct MetadataTable {
    /// In file order.
    pairs: Vec<(Box<str>, Stored)>,
    /// Indices into `pairs`, sorted by key.
    by_key: Vec<usize>,
}

/// A checked value. Ranges are file offsets.
#[derive(Debug)]
enum Stored {
    Number(Value<'static>),
    String(Range<usize>),
    Array { element: ValueType, len: usize, range: Range<usize> },
}

impl MetadataTable {
    /// Reads and checks `found` pairs.
    pub(crate) fn parse(cursor: &mut Cursor<'_>, found: u64) -> Result<Self> {
        let n_pairs = cursor.count(found, MIN_PAIR_BYTES, &"metadata pairs")?;
        let mut pairs: Vec<(Box<str>, Stored)> = Vec::new();
        for i in 0..n_pairs {
            let key = cursor.str(&format_args!("the key of metadata pair {i}"))?;
            pairs.push((key.into(), Stored::parse(cursor, key)?));
        }
        let mut by_key: Vec<usize> = (0..n_pairs).collect();
        by_key.sort_unstable_by_key(|&i| &pairs[i].0);
        if let Some(pair) = by_key.windows(2).find(|pair| pairs[pair[0]].0 == pairs[pair[1]].0) {
            return Err(Error::DuplicateKey { key: printable(&pairs[pair[0]].0) });
        }
        Ok(Self { pairs, by_key })
    }

    /// The table together with the bytes its ranges point into.
    pub(crate) fn view<'a>(&'a self, file: &'a [u8]) -> Metadata<'a> {
        Metadata { table: self, file }
    }
}

impl Stored {
    fn parse(cursor: &mut Cursor<'_>, key: &str) -> Result<Self> {
        let what = &format_args!("the value of metadata '{}'", Printable(key));
        let id = cursor.u32(what)?;
        let value_type = value_type(id, key)?;
        Ok(match value_type {
            ValueType::String => {
                let len = cursor.str(what)?.len();
                Self::String(cursor.pos() - len..cursor.pos())
            }
            ValueType::Array => Self::parse_array(cursor, key)?,
            _ => Self::Number(parse_number(cursor, value_type, key)?),
        })
    }

    fn parse_array(cursor: &mut Cursor<'_>, key: &str) -> Result<Self> {
        let what = &format_args!("the array of metadata '{}'", Printable(key));
        let element = value_type(cursor.u32(what)?, key)?;
        let found = cursor.u64(what)?;
        if element == ValueType::Array {
            return Err(Error::NestedArray { key: printable(key) });
        }
        let elements = &format_args!("elements of metadata '{}'", Printable(key));
        let len = cursor.count(found, element.min_bytes(), elements)?;
        let start = cursor.pos();
        match element {
            ValueType::String => {
                for i in 0..len {
                    cursor.str(&format_args!("string {i} of metadata '{}'", Printable(key)))?;
                }
            }
            _ => {
                let bytes = cursor.take((len * element.min_bytes()) as u64, what)?;
                if element == ValueType::Bool
                    && let Some(&found) = bytes.iter().find(|&&byte| byte > 1)
                {
                    return Err(Error::BadBool { key: printable(key), found });
                }
            }
        }
        Ok(Self::Array { element, len, range: start..cursor.pos() })
    }

    fn view<'a>(&self, file: &'a [u8]) -> Value<'a> {
        match self {
            Self::Number(value) => *value,
            Self::String(range) => Value::String(
                std::str::from_utf8(&file[range.clone()])
                    .expect("strings are checked when the file is opened"),
            ),
            Self::Array { element, len, range } => {
                Value::Array(Array::new(*element, *len, &file[range.clone()]))
            }
        }
    }
}

/// Checks and views a value as it stands in a file, its type first.
pub(crate) fn parse_value<'a>(bytes: &'a [u8], key: &str) -> Result<Value<'a>> {
    Ok(Stored::parse(&mut Cursor::new(bytes), key)?.view(bytes))
}

fn value_type(id: u32, key: &str) -> Result<ValueType> {
    ValueType::from_id(id).ok_or_else(|| Error::UnknownValueType { key: printable(key), found: id })
}

fn parse_number(cursor: &mut Cursor<'_>, value_type: ValueType, key: &str) -> Result<Value<'static>> {
    let what = &format_args!("the value of metadata '{}'", Printable(key));
    Ok(match value_type {
        ValueType::U8 => Value::U8(cursor.array(what).map(u8::from_le_bytes)?),
        ValueType::I8 => Value::I8(cursor.array(what).map(i8::from_le_bytes)?),
        ValueType::U16 => Value::U16(cursor.array(what).map(u16::from_le_bytes)?),
        ValueType::I16 => Value::I16(cursor.array(what).map(i16::from_le_bytes)?),
        ValueType::U32 => Value::U32(cursor.u32(what)?),
        ValueType::I32 => Value::I32(cursor.array(what).map(i32::from_le_bytes)?),
        ValueType::F32 => Value::F32(cursor.array(what).map(f32::from_le_bytes)?),
        ValueType::U64 => Value::U64(cursor.u64(what)?),
        ValueType::I64 => Value::I64(cursor.array(what).map(i64::from_le_bytes)?),
        ValueType::F64 => Value::F64(cursor.array(what).map(f64::from_le_bytes)?),
        ValueType::Bool => match cursor.array(what)? {
            [0] => Value::Bool(false),
            [1] => Value::Bool(true),
            [found] => return Err(Error::BadBool { key: printable(key), found }),
        },
        ValueType::String | ValueType::Array => unreachable!("not a number"),
    })
}

/// Escapes a key only when a message is really made.
struct Printable<'a>(&'a str);

impl std::fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&printable(self.0))
    }
}

/// The metadata of a file: keys in file order, values decoded when asked for.
#[derive(Clone, Copy)]
pub struct Metadata<'a> {
    table: &'a MetadataTable,
    file: &'a [u8],
}

impl<'a> Metadata<'a> {
    /// Number of keys.
    pub fn len(&self) -> usize {
        self.table.pairs.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.table.pairs.is_empty()
    }

    /// Keys and values, in file order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&'a str, Value<'a>)> + use<'a> {
        let file = self.file;
        self.table.pairs.iter().map(move |(key, stored)| (&**key, stored.view(file)))
    }

    /// The value of `key`, whatever its type.
    pub fn value(&self, key: &str) -> Option<Value<'a>> {
        let pairs = &self.table.pairs;
        let at = self.table.by_key.binary_search_by(|&i| (*pairs[i].0).cmp(key)).ok()?;
        Some(pairs[self.table.by_key[at]].1.view(self.file))
    }

    /// The value of `key` as a `T`, `None` if there is no such key: `find::<f32>("qwen2.rope.freq_base")`.
    ///
    /// # Errors
    /// [`Error::WrongType`] if the value is no `T`.
    pub fn find<T: FromValue<'a>>(&self, key: &str) -> Result<Option<T>> {
        let Some(value) = self.value(key) else { return Ok(None) };
        T::from_value(value).map(Some).ok_or_else(|| Error::WrongType {
            key: printable(key),
            found: value.describe(),
            wanted: T::wanted(),
        })
    }

    /// The value of `key` as a `T`: `get::<Vec<i32>>("tokenizer.ggml.token_type")`.
    ///
    /// # Errors
    /// [`Error::MissingKey`] if there is no such key, [`Error::WrongType`] if its value is no `T`.
    pub fn get<T: FromValue<'a>>(&self, key: &str) -> Result<T> {
        self.find(key)?.ok_or_else(|| Error::MissingKey { key: printable(key), wanted: T::wanted() })
    }

    /// The value of `key`, an integer of any width that fits.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn u32(&self, key: &str) -> Result<u32> {
        self.get(key)
    }

    /// The value of `key`, a float of either width.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn f32(&self, key: &str) -> Result<f32> {
        self.get(key)
    }

    /// The value of `key`, a boolean.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn bool(&self, key: &str) -> Result<bool> {
        self.get(key)
    }

    /// The value of `key`, a string borrowed from the file.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn str(&self, key: &str) -> Result<&'a str> {
        self.get(key)
    }

    /// The value of `key`, an array of strings borrowed from the file.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn strs(&self, key: &str) -> Result<StrArray<'a>> {
        self.get(key)
    }
}

impl std::fmt::Debug for Metadata<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}
