//! Metadata values: numbers by value, strings and arrays as views on the file.

use std::fmt;

use crate::cursor::Cursor;

/// The type of a metadata value. The discriminant is its number in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // The name says it all.
pub enum ValueType {
    U8 = 0,
    I8 = 1,
    U16 = 2,
    I16 = 3,
    U32 = 4,
    I32 = 5,
    F32 = 6,
    Bool = 7,
    String = 8,
    Array = 9,
    U64 = 10,
    I64 = 11,
    F64 = 12,
}

impl ValueType {
    const ALL: [Self; 13] = {
        use ValueType::*;
        [U8, I8, U16, I16, U32, I32, F32, Bool, String, Array, U64, I64, F64]
    };

    pub(crate) fn from_id(id: u32) -> Option<Self> {
        Self::ALL.get(usize::try_from(id).ok()?).copied()
    }

    pub(crate) fn id(self) -> u32 {
        self as u32
    }

    /// Name of the type: `u32`, `string`.
    pub fn name(self) -> &'static str {
        ["u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string", "array", "u64", "i64", "f64"]
            [self as usize]
    }

    /// Bytes of an element in an array; for strings the least, their length.
    pub(crate) fn min_bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 | Self::String => 8,
            Self::Array => 12,
        }
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A metadata value.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs)] // The name says it all.
pub enum Value<'a> {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    String(&'a str),
    Array(Array<'a>),
    U64(u64),
    I64(i64),
    F64(f64),
}

impl<'a> Value<'a> {
    /// The value's type.
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::U8(_) => ValueType::U8,
            Self::I8(_) => ValueType::I8,
            Self::U16(_) => ValueType::U16,
            Self::I16(_) => ValueType::I16,
            Self::U32(_) => ValueType::U32,
            Self::I32(_) => ValueType::I32,
            Self::F32(_) => ValueType::F32,
            Self::Bool(_) => ValueType::Bool,
            Self::String(_) => ValueType::String,
            Self::Array(_) => ValueType::Array,
            Self::U64(_) => ValueType::U64,
            Self::I64(_) => ValueType::I64,
            Self::F64(_) => ValueType::F64,
        }
    }

    /// The value as an integer, if it is one of any width.
    pub fn as_integer(&self) -> Option<i128> {
        Some(match *self {
            Self::U8(v) => v.into(),
            Self::I8(v) => v.into(),
            Self::U16(v) => v.into(),
            Self::I16(v) => v.into(),
            Self::U32(v) => v.into(),
            Self::I32(v) => v.into(),
            Self::U64(v) => v.into(),
            Self::I64(v) => v.into(),
            _ => return None,
        })
    }

    /// Type and, for numbers, value, for a message: `i32 -1`, `array of 3 string`.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Array(array) => format!("array of {} {}", array.len(), array.element_type()),
            Self::String(_) => "string".to_string(),
            Self::F32(v) => format!("f32 {v}"),
            Self::F64(v) => format!("f64 {v}"),
            Self::Bool(v) => format!("bool {v}"),
            _ => format!("{} {}", self.value_type(), self.as_integer().expect("all others are integers")),
        }
    }

    /// Decodes an element that was checked when the file was opened.
    fn decode_checked(element: ValueType, cursor: &mut Cursor<'a>) -> Self {
        fn get<const N: usize>(cursor: &mut Cursor<'_>) -> [u8; N] {
            cursor.array(&"an element").expect("arrays are checked when the file is opened")
        }
        match element {
            ValueType::U8 => Self::U8(u8::from_le_bytes(get(cursor))),
            ValueType::I8 => Self::I8(i8::from_le_bytes(get(cursor))),
            ValueType::U16 => Self::U16(u16::from_le_bytes(get(cursor))),
            ValueType::I16 => Self::I16(i16::from_le_bytes(get(cursor))),
            ValueType::U32 => Self::U32(u32::from_le_bytes(get(cursor))),
            ValueType::I32 => Self::I32(i32::from_le_bytes(get(cursor))),
            ValueType::F32 => Self::F32(f32::from_le_bytes(get(cursor))),
            ValueType::Bool => Self::Bool(u8::from_le_bytes(get(cursor)) != 0),
            ValueType::U64 => Self::U64(u64::from_le_bytes(get(cursor))),
            ValueType::I64 => Self::I64(i64::from_le_bytes(get(cursor))),
            ValueType::F64 => Self::F64(f64::from_le_bytes(get(cursor))),
            ValueType::String => {
                Self::String(cursor.str(&"an element").expect("strings are checked when the file is opened"))
            }
            ValueType::Array => unreachable!("arrays of arrays are refused when the file is opened"),
        }
    }
}

/// A metadata array, still in the file: elements are decoded as they are asked for.
#[derive(Clone, Copy)]
pub struct Array<'a> {
    element: ValueType,
    len: usize,
    bytes: &'a [u8],
}

impl<'a> Array<'a> {
    /// A view on `bytes`, which hold `len` elements and were checked.
    pub(crate) fn new(element: ValueType, len: usize, bytes: &'a [u8]) -> Self {
        Self { element, len, bytes }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Type of the elements.
    pub fn element_type(&self) -> ValueType {
        self.element
    }

    /// The elements, in order.
    pub fn iter(&self) -> ValueIter<'a> {
        ValueIter { element: self.element, left: self.len, cursor: Cursor::new(self.bytes) }
    }

    /// The elements as the file holds them.
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

impl fmt::Debug for Array<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}; {}]", self.element, self.len)
    }
}

impl PartialEq for Array<'_> {
    fn eq(&self, other: &Self) -> bool {
        (self.element, self.len, self.bytes) == (other.element, other.len, other.bytes)
    }
}

impl<'a> IntoIterator for Array<'a> {
    type Item = Value<'a>;
    type IntoIter = ValueIter<'a>;

    fn into_iter(self) -> ValueIter<'a> {
        self.iter()
    }
}

/// The elements of an [`Array`].
#[derive(Debug, Clone)]
pub struct ValueIter<'a> {
    element: ValueType,
    left: usize,
    cursor: Cursor<'a>,
}

impl<'a> Iterator for ValueIter<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        self.left = self.left.checked_sub(1)?;
        Some(Value::decode_checked(self.element, &mut self.cursor))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for ValueIter<'_> {}

/// A metadata array of strings, still in the file. Walk it with [`StrArray::iter`]; there is no index.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StrArray<'a>(Array<'a>);

impl<'a> StrArray<'a> {
    /// Number of strings.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no string.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The strings, in order, borrowed from the file.
    pub fn iter(&self) -> StrIter<'a> {
        StrIter(self.0.iter())
    }
}

impl<'a> IntoIterator for StrArray<'a> {
    type Item = &'a str;
    type IntoIter = StrIter<'a>;

    fn into_iter(self) -> StrIter<'a> {
        self.iter()
    }
}

/// The strings of a [`StrArray`].
#[derive(Debug, Clone)]
pub struct StrIter<'a>(ValueIter<'a>);

impl<'a> Iterator for StrIter<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        match self.0.next()? {
            Value::String(text) => Some(text),
            _ => unreachable!("only arrays of strings become a StrArray"),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for StrIter<'_> {}

/// What a metadata value can be asked for as.
///
/// Integers convert from any integer type if the value fits (converters disagree on widths), `f32` and
/// `f64` from both; nothing else converts.
pub trait FromValue<'a>: Sized {
    /// Name of the wanted type, for a message.
    fn wanted() -> String;

    /// The value, if it is of that type.
    fn from_value(value: Value<'a>) -> Option<Self>;
}

macro_rules! from_value {
    ($($wanted:literal $type:ty: $pattern:pat => $value:expr;)*) => { $(
        impl<'a> FromValue<'a> for $type {
            fn wanted() -> String {
                $wanted.to_string()
            }

            fn from_value(value: Value<'a>) -> Option<Self> {
                match value {
                    $pattern => $value,
                    #[allow(unreachable_patterns)]
                    _ => None,
                }
            }
        }
    )* };
}

from_value! {
    "u8" u8: value => value.as_integer()?.try_into().ok();
    "u32" u32: value => value.as_integer()?.try_into().ok();
    "i32" i32: value => value.as_integer()?.try_into().ok();
    "u64" u64: value => value.as_integer()?.try_into().ok();
    "i64" i64: value => value.as_integer()?.try_into().ok();
    "u64" usize: value => value.as_integer()?.try_into().ok();
    "f32" f32: value => f64::from_value(value).map(|v| v as f32);
    "bool" bool: Value::Bool(v) => Some(v);
    "string" &'a str: Value::String(v) => Some(v);
    "string" String: Value::String(v) => Some(v.to_string());
    "array" Array<'a>: Value::Array(v) => Some(v);
}

impl<'a> FromValue<'a> for f64 {
    fn wanted() -> String {
        "f64".to_string()
    }

    fn from_value(value: Value<'a>) -> Option<Self> {
        match value {
            Value::F32(v) => Some(v.into()),
            Value::F64(v) => Some(v),
            _ => None,
        }
    }
}

impl<'a> FromValue<'a> for StrArray<'a> {
    fn wanted() -> String {
        "array of string".to_string()
    }

    fn from_value(value: Value<'a>) -> Option<Self> {
        match value {
            Value::Array(array) if array.element_type() == ValueType::String => Some(Self(array)),
            _ => None,
        }
    }
}

impl<'a, T: FromValue<'a>> FromValue<'a> for Vec<T> {
    fn wanted() -> String {
        format!("array of {}", T::wanted())
    }

    fn from_value(value: Value<'a>) -> Option<Self> {
        match value {
            Value::Array(array) => array.iter().map(T::from_value).collect(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_number_leads_back_to_its_type() {
        for (id, value_type) in ValueType::ALL.into_iter().enumerate() {
            assert_eq!(value_type.id() as usize, id);
            assert_eq!(ValueType::from_id(id as u32), Some(value_type));
        }
        assert_eq!(ValueType::from_id(13), None);
    }

    #[test]
    fn integers_convert_where_they_fit() {
        assert_eq!(u32::from_value(Value::U64(7)), Some(7));
        assert_eq!(u32::from_value(Value::I32(-1)), None);
        assert_eq!(u32::from_value(Value::U64(1 << 32)), None);
        assert_eq!(i64::from_value(Value::I8(-3)), Some(-3));
        assert_eq!(u32::from_value(Value::F32(1.0)), None);
        assert_eq!(u32::from_value(Value::Bool(true)), None);
    }

    #[test]
    fn floats_convert_between_widths_only() {
        assert_eq!(f32::from_value(Value::F64(0.5)), Some(0.5));
        assert_eq!(f64::from_value(Value::F32(0.5)), Some(0.5));
        assert_eq!(f32::from_value(Value::U32(1)), None);
    }

    #[test]
    fn arrays_decode_element_by_element() {
        let array = Value::Array(Array::new(ValueType::I32, 2, &[1, 0, 0, 0, 255, 255, 255, 255]));
        assert_eq!(Vec::<i32>::from_value(array), Some(vec![1, -1]));
        assert_eq!(Vec::<u32>::from_value(array), None);
        assert_eq!(StrArray::from_value(array), None);
    }
}
